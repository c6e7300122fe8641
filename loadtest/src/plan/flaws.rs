//! What invalid requests get wrong: one entry for every class that the ingest API answers with 400
//! or 422 for what stands in the body.
//!
//! A flaw is data: the reason that `schemas` gives for it, and an edit of a valid draft.

use rand::{rngs::Xoshiro256PlusPlus, seq::IndexedRandom as _};
use schemas::InvalidReason;
use serde_json::{Map, Value};

use super::Draft;

#[derive(Debug, PartialEq, Eq)]
pub struct Flaw {
    /// In words, for the report.
    pub name: &'static str,
    pub reason: InvalidReason,
    edit: Edit,
}

/// How a valid draft is made invalid.
#[derive(Debug, PartialEq, Eq)]
enum Edit {
    Replace(&'static [u8]),
    /// The first half.
    Cut,
    Wrap,
    Append(&'static [u8]),
    /// Without one member.
    Remove(&'static str),
    /// One member as these bytes.
    Member(&'static str, &'static [u8]),
    /// One member of this many letters.
    Overlong(&'static str, usize),
    /// These bytes as address, and no phone.
    Address(&'static [u8]),
    /// One member a second time.
    Twice(&'static str),
    /// A member of brackets within brackets.
    Nest(usize),
}

impl Flaw {
    /// The status that it must be refused with.
    pub fn status(&self) -> u16 {
        match self.reason {
            InvalidReason::MalformedJson => 400,
            _ => 422,
        }
    }

    pub(super) fn spoil(&self, draft: &Draft) -> Vec<u8> {
        match self.edit {
            Edit::Replace(body) => body.to_vec(),
            Edit::Cut => {
                let mut body = draft.to_json();
                body.truncate(body.len() / 2);
                body
            }
            Edit::Wrap => [b"[", draft.to_json().as_slice(), b"]"].concat(),
            Edit::Append(tail) => [draft.to_json().as_slice(), tail].concat(),
            Edit::Remove(name) => object(&without(draft, name), None),
            Edit::Member(name, value) => object(&without(draft, name), Some((name, value))),
            Edit::Address(value) => object(&without(draft, "client_phone"), Some(("client_address", value))),
            Edit::Overlong(name, letters) => {
                let value = format!("\"{}\"", "x".repeat(letters));
                object(&without(draft, name), Some((name, value.as_bytes())))
            }
            Edit::Twice(name) => object(&members(draft), Some((name, b"\"again\""))),
            Edit::Nest(depth) => {
                let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
                object(&members(draft), Some(("extra", value.as_bytes())))
            }
        }
    }
}

pub(super) fn pick(draws: &mut Xoshiro256PlusPlus) -> &'static Flaw {
    FLAWS.choose(draws).unwrap_or(&NOT_JSON)
}

fn members(draft: &Draft) -> Map<String, Value> {
    match serde_json::to_value(draft) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn without(draft: &Draft, name: &str) -> Map<String, Value> {
    let mut members = members(draft);
    members.remove(name);
    members
}

/// Writes an object whose last member may be bytes that `serde_json` would not write.
fn object(members: &Map<String, Value>, last: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = serde_json::to_vec(members).unwrap_or_default();
    if let Some((name, value)) = last {
        body.truncate(body.len().saturating_sub(1));
        body.extend_from_slice(format!(",\"{name}\":").as_bytes());
        body.extend_from_slice(value);
        body.push(b'}');
    }
    body
}

const NOT_JSON: Flaw = Flaw {
    name: "a form instead of JSON",
    reason: InvalidReason::MalformedJson,
    edit: Edit::Replace(b"client_phone=%2B70000000000&text=hello"),
};

pub const FLAWS: &[Flaw] = {
    use Edit::{Address, Append, Cut, Member, Nest, Overlong, Remove, Replace, Twice, Wrap};
    use InvalidReason::{
        AddressMalformed, ControlCharacter, DuplicateKey, Empty, InvisibleCharacter, LoneSurrogate,
        MalformedJson, MissingField, NulCharacter, PhoneNotE164, PhoneTrunkZero, SurroundingWhiteSpace,
        TimestampMalformed, TooDeep, TooLong, TwoAddresses, WrongType,
    };

    const fn flaw(name: &'static str, reason: InvalidReason, edit: Edit) -> Flaw {
        Flaw { name, reason, edit }
    }

    &[
        NOT_JSON,
        flaw("an empty body", MalformedJson, Replace(b"")),
        flaw("a body that ends early", MalformedJson, Cut),
        flaw("bytes after the document", MalformedJson, Append(b" x")),
        flaw("two documents", MalformedJson, Append(b"{}")),
        flaw("invalid UTF-8", MalformedJson, Member("text", b"\"\xff\xfe\"")),
        flaw("nesting without measure", TooDeep, Nest(200)),
        flaw("an array instead of an object", WrongType, Wrap),
        flaw("no source", MissingField, Remove("external_client_id")),
        flaw("no phone", MissingField, Remove("client_phone")),
        flaw("no message id", MissingField, Remove("external_message_id")),
        flaw("no text", MissingField, Remove("text")),
        flaw("a number as source", WrongType, Member("external_client_id", b"42")),
        flaw("null as phone", WrongType, Member("client_phone", b"null")),
        flaw("a number as message id", WrongType, Member("external_message_id", b"7")),
        flaw("a list as text", WrongType, Member("text", br#"["hello"]"#)),
        flaw("seconds as sent_at", WrongType, Member("sent_at", b"1700000000")),
        flaw("a field twice", DuplicateKey, Twice("text")),
        flaw("a field twice in another spelling", DuplicateKey, Member("te\\u0078t", b"\"again\"")),
        flaw("an empty source", Empty, Member("external_client_id", b"\"\"")),
        flaw("an empty message id", Empty, Member("external_message_id", b"\"\"")),
        flaw("an overlong source", TooLong, Overlong("external_client_id", 129)),
        flaw("an overlong message id", TooLong, Overlong("external_message_id", 257)),
        flaw("an overlong text", TooLong, Overlong("text", 16_385)),
        flaw("NUL in the text", NulCharacter, Member("text", br#""before \u0000 after""#)),
        flaw("half an emoji in the source", LoneSurrogate, Member("external_client_id", br#""\ud83d""#)),
        flaw(
            "a zero width space in the message id",
            InvisibleCharacter,
            Member("external_message_id", br#""a\u200bb""#),
        ),
        flaw("a line break in the source", ControlCharacter, Member("external_client_id", br#""a\nb""#)),
        flaw("white space before the source", SurroundingWhiteSpace, Member("external_client_id", b"\" a\"")),
        flaw("a phone without plus", PhoneNotE164, Member("client_phone", b"\"70000000000\"")),
        flaw("a phone that is too short", PhoneNotE164, Member("client_phone", b"\"+70000\"")),
        flaw("a phone that is too long", PhoneNotE164, Member("client_phone", b"\"+7000000000000000\"")),
        flaw("a zero in brackets", PhoneTrunkZero, Member("client_phone", b"\"+44 (0)20 7946 0958\"")),
        flaw("letters as phone", PhoneNotE164, Member("client_phone", b"\"+7000CALLNOW\"")),
        flaw(
            "a phone in Arabic digits",
            PhoneNotE164,
            Member("client_phone", br#""+7\u0660\u0660\u0660\u0660\u0660\u0660\u0660""#),
        ),
        flaw(
            "a right-to-left mark in the phone",
            PhoneNotE164,
            Member("client_phone", br#""\u200f+70000000000""#),
        ),
        flaw("a phone and an address", TwoAddresses, Member("client_address", b"\"tg:6001\"")),
        flaw("a phone as address", AddressMalformed, Address(b"\"+70000000000\"")),
        flaw("a scheme that nobody knows", AddressMalformed, Address(b"\"icq:6001\"")),
        flaw("a user name as address", AddressMalformed, Address(b"\"username:anna\"")),
        flaw("an address without an id", Empty, Address(b"\"tg:\"")),
        flaw("a zero width space in the address", InvisibleCharacter, Address(br#""tg:a\u200bb""#)),
        flaw("a word as aliases", WrongType, Member("aliases", b"\"tg:6001\"")),
        flaw("five aliases", TooLong, Member("aliases", br#"["tg:1","tg:2","tg:3","tg:4","tg:5"]"#)),
        flaw("yesterday as sent_at", TimestampMalformed, Member("sent_at", b"\"yesterday\"")),
    ]
};
