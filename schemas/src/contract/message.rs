//! A message as JSON Schema, once for both: what a record of the topic holds, and what a request may send.
//!
//! The two differ for a reason. A request says what is taken: any spelling of a phone or a time, null for a field
//! that may be missing, and no id with characters that nobody sees. A record says what Telex makes of it, in one
//! spelling, and what it wrote before the edge refused such ids. So each field has its type and limits once, and
//! where the two part, `Place::of` has the one beside the other.

use serde_json::{Value, json};

use super::pattern::{self, IDENTIFIER, NO_NUL, PHONE, SPELLED_PHONE, TIME, VISIBLE};
use crate::{
    address::Scheme,
    fields::ALIASES_MAX,
    ids::{ExternalClientId, ExternalMessageId, MessageText},
    scan::DEPTH_MAX,
};

/// The client of [`example`].
pub const EXAMPLE_CLIENT_ID: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

/// A message that is taken.
pub fn example() -> Value {
    let own = json!({ "client_phone": "+7 (000) 000-00-00", "sent_at": "2026-11-24T07:34:59.5+03:00" });
    example_with("wamid.1", own)
}

/// A message in the body of a request.
pub fn request() -> Value {
    let description = format!(
        "Members that are not named here travel to the topic as they came, to the last digit: Telex does not \
        look at them, beyond that they are JSON, nested at most {DEPTH_MAX} levels deep with the message \
        itself. A message sent again may have other ones: it is the same. None of the named fields may \
        stand twice."
    );
    let mut schema = with_one_address(Place::Request, json!([example()]));
    extend(&mut schema, json!({ "description": description }));
    schema
}

/// The value of a record of version 1 or 2.
pub(super) fn v2() -> Value {
    let own = json!({ "client_phone": "+70000000000", "sent_at": "2026-11-24T04:34:59.500000Z" });
    let required = ["external_client_id", "client_phone", "external_message_id", "text"];
    object(fields_of_version_2(Place::Record), &required, json!([example_with("wamid.1", own)]))
}

/// The value of a record of version 3.
pub(super) fn v3() -> Value {
    let without_phone = json!({ "client_address": "wa:GB.9000000001", "aliases": ["username:anna"] });
    let with_alias = json!({ "client_phone": "+70000000000", "aliases": ["wa:GB.9000000001"] });
    let examples = json!([example_with("wamid.1", without_phone), example_with("wamid.2", with_alias)]);
    with_one_address(Place::Record, examples)
}

/// Every scheme with what it stands for, in words.
const SCHEMES: &str = "wa: WhatsApp's business-scoped user id; wa-lid: WhatsApp's hidden id; tg: Telegram; viber; instagram; \
    messenger: Facebook's page-scoped id; vk; avito; sms: a sender without a number; sunshine: a user of Zendesk Sunshine; \
    chatwoot: a contact; teletype: a dialog; id: the source's own id; username: a user name, in aliases only.";

#[derive(Clone, Copy)]
enum Place {
    Record,
    Request,
}

impl Place {
    /// The rule of a record or that of a request; null is none.
    fn of(self, record: impl Into<Value>, request: impl Into<Value>) -> Value {
        match self {
            Self::Record => record.into(),
            Self::Request => request.into(),
        }
    }

    /// The type of a field that a message may do without: a request may say so with null.
    fn optional(self, json_type: &str) -> Value {
        self.of(json_type, json!([json_type, "null"]))
    }
}

/// The fields that all versions know.
fn fields_of_version_2(place: Place) -> Value {
    json!({
        "external_client_id": {
            "type": "string", "minLength": 1, "maxLength": ExternalClientId::CHARS_MAX,
            "pattern": place.of(IDENTIFIER, VISIBLE),
            "description": place.of(
                "The source: the outside system's account.",
                "The outside system's account (the source), kept as it is.",
            ),
        },
        "client_phone": {
            "type": place.optional("string"), "pattern": place.of(PHONE, SPELLED_PHONE),
            "description": place.of(
                "The client's phone, in E.164.",
                "E.164 with separators: the same number in another spelling is the same client. Not `+44 (0)20 …`: \
                    whether that zero belongs to the number, only its country knows.",
            ),
        },
        "external_message_id": {
            "type": "string", "minLength": 1, "maxLength": ExternalMessageId::CHARS_MAX,
            "pattern": place.of(IDENTIFIER, VISIBLE),
            "description": place.of(
                "The source's id of the message, unique per client.",
                "The outside system's id of the message, unique per client.",
            ),
        },
        "text": {
            "type": "string", "maxLength": MessageText::CHARS_MAX, "pattern": NO_NUL,
            "description": "What the client wrote; may be empty.",
        },
        "sent_at": {
            "type": place.optional("string"), "format": "date-time", "pattern": place.of(TIME, Value::Null),
            "description": place.of(
                "When it was sent, says the source. To show; the order is that of the offsets.",
                "When it was sent, according to the producer: from 2000 to a day from now. It is shown, and \
                    never decides the order. Another time is left out, and the answer says so.",
            ),
        },
    })
}

/// The fields that came with version 3: in older records, members of these names are the sender's.
fn fields_of_version_3(place: Place) -> Value {
    let chars_max = pattern::address_chars_max();
    let identity = |id| pattern::address(Scheme::ALL.into_iter().filter(|scheme| scheme.is_identity()), id);
    let any = pattern::address(Scheme::ALL.into_iter(), IDENTIFIER);
    json!({
        "client_address": {
            "type": place.optional("string"), "maxLength": chars_max,
            "pattern": place.of(identity(IDENTIFIER), identity(VISIBLE)),
            "description": place.of(
                format!("What a client without a phone is reached by: scheme:id, byte for byte. {SCHEMES}"),
                format!("The address of a client without a phone, byte for byte: a scheme, a colon, an id. {SCHEMES}"),
            ),
            "examples": place.of(Value::Null, json!(["wa:GB.9000000001"])),
        },
        "aliases": {
            "type": place.optional("array"), "minItems": place.of(1, Value::Null), "maxItems": ALIASES_MAX,
            "uniqueItems": place.of(true, Value::Null),
            "items": place.of(
                json!({ "type": "string", "maxLength": chars_max, "anyOf": [{ "pattern": PHONE }, { "pattern": any }] }),
                json!({ "type": "string" }),
            ),
            "description": place.of(
                "Other addresses of the same person, says the source: phones and scheme:id. To find who belongs together, \
                    and to show; the client is who the key says.",
                "Other addresses of the same person: phones and `scheme:id`, also `username:…`. They say who belongs \
                    together and are not part of the body. One that is not an address is left out, and the answer says so.",
            ),
            "examples": place.of(Value::Null, json!([["wa:GB.9000000001", "username:anna"]])),
        },
    })
}

/// An object with these fields, and with any others. A rule that is null is none.
fn object(mut fields: Value, required: &[&str], examples: Value) -> Value {
    let each = fields.as_object_mut().into_iter().flat_map(|fields| fields.values_mut());
    for rules in each.filter_map(Value::as_object_mut) {
        rules.retain(|_, rule| !rule.is_null());
    }
    json!({
        "type": "object",
        "required": required,
        "properties": fields,
        "additionalProperties": true,
        "examples": examples,
    })
}

/// An object with all fields. Of the two for an address it has one; in a request, the other may be null.
fn with_one_address(place: Place, examples: Value) -> Value {
    let with = |name: &str, other: &str| {
        let types = json!({ name: { "type": "string" }, other: { "type": "null" } });
        place.of(json!({ "required": [name] }), json!({ "required": [name], "properties": types }))
    };
    let one_of = [with("client_phone", "client_address"), with("client_address", "client_phone")];
    let mut fields = fields_of_version_2(place);
    extend(&mut fields, fields_of_version_3(place));
    let mut schema = object(fields, &["external_client_id", "external_message_id", "text"], examples);
    extend(&mut schema, json!({ "oneOf": one_of }));
    schema
}

/// Puts the members of one object into another; those that are there are replaced.
pub(super) fn extend(object: &mut Value, members: Value) {
    if let (Value::Object(object), Value::Object(members)) = (object, members) {
        object.extend(members);
    }
}

fn example_with(id: &str, own: Value) -> Value {
    let mut message = json!({
        "external_client_id": "client00000000000000000000000000", "external_message_id": id, "text": "Hello",
    });
    extend(&mut message, own);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fields::{Field, Fields, Known, List},
        message::Posted,
        record::{Envelope, encode_message},
        time::Timestamp,
    };

    #[test]
    fn the_parser_knows_the_fields_that_are_described_and_no_others() {
        let all = request()["properties"].to_string();
        for (schema, known) in [(v2(), Known::Five), (v3(), Known::All), (request(), Known::All)] {
            let described = schema["properties"].to_string();
            let (_, others) = Fields::read(described.as_bytes(), known).unwrap();
            assert_eq!(others.pieces().count(), 0, "{described}");
            let (fields, _) = Fields::read(all.as_bytes(), known).unwrap();
            let (found, absent) = found_and_absent(&fields);
            assert_eq!(found, schema["properties"].as_object().unwrap().len(), "{described}");
            assert!(absent == 0 || known == Known::Five, "the parser has a field that is not described");
        }
    }

    /// How many of the parser's fields a body has, and how many it has not.
    fn found_and_absent(fields: &Fields<'_>) -> (usize, usize) {
        // No `..`: a new field has to be counted.
        let Fields {
            external_client_id,
            client_phone,
            client_address,
            external_message_id,
            text,
            sent_at,
            aliases,
        } = fields;
        let texts = [external_client_id, client_phone, client_address, external_message_id, text, sent_at];
        let absent_texts = texts.iter().filter(|field| matches!(field, Field::Absent)).count();
        let absent = absent_texts + usize::from(matches!(aliases, List::Absent));
        (texts.len() + 1 - absent, absent)
    }

    #[test]
    fn the_examples_of_records_are_what_is_written() {
        let received_at = Timestamp::parse("2026-11-24T12:00:00Z").unwrap();
        let written = |example: &Value| {
            let body = example.to_string();
            let posted = Posted::parse(body.as_bytes(), received_at).unwrap();
            let envelope = Envelope { received_at, request_id: None, trace_parent: None };
            let record = encode_message(&posted.message, &posted.others, &envelope);
            (record.key, serde_json::from_slice::<Value>(&record.value).unwrap())
        };
        assert_eq!(written(&example()), (EXAMPLE_CLIENT_ID.to_owned(), v2()["examples"][0].clone()));
        for example in v3()["examples"].as_array().unwrap() {
            assert_eq!(written(example).1, *example);
        }
    }
}
