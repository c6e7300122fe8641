//! A message whose fields were found in something else than an object of the contract, such as a provider's
//! webhook: the same rules, and the same message.

use crate::{
    fields::{Field, Fields, List},
    message::Message,
    reason::{Invalid, Warning},
    time::Timestamp,
};

/// What a mapping found, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub external_client_id: String,
    /// This or `client_address`.
    pub client_phone: Option<String>,
    pub client_address: Option<String>,
    /// Phones and `scheme:id`, at most 4.
    pub aliases: Vec<String>,
    pub external_message_id: String,
    pub text: String,
    pub sent_at: Option<Timestamp>,
}

impl Message {
    /// Makes the message that posting the draft's fields as JSON makes; `received_at` bounds `sent_at`.
    ///
    /// # Errors
    /// The first violated rule, as [`Posted::parse`](crate::Posted::parse) has it; its pointer names the draft's
    /// field.
    pub fn from_draft(draft: Draft, received_at: Timestamp) -> Result<(Self, Vec<Warning>), Invalid> {
        let optional = |value: Option<String>| value.map_or(Field::Absent, text);
        let fields = Fields {
            external_client_id: text(draft.external_client_id),
            client_phone: optional(draft.client_phone),
            client_address: optional(draft.client_address),
            external_message_id: text(draft.external_message_id),
            text: text(draft.text),
            sent_at: Field::Absent,
            aliases: List::Items(draft.aliases.into_iter().map(text).collect()),
        };
        Self::at_the_edge(fields, Ok(draft.sent_at), received_at)
    }
}

fn text(value: String) -> Field<'static> {
    Field::Text(value.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::{InvalidReason, Posted};

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
    }

    fn as_json(draft: &Draft) -> String {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            body.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("external_client_id", Some(draft.external_client_id.as_str().into()));
        put("client_phone", draft.client_phone.as_deref().map(Value::from));
        put("client_address", draft.client_address.as_deref().map(Value::from));
        put("external_message_id", Some(draft.external_message_id.as_str().into()));
        put("text", Some(draft.text.as_str().into()));
        put("sent_at", draft.sent_at.map(|time| time.to_string().into()));
        put("aliases", Some(draft.aliases.as_slice().into()));
        Value::Object(body).to_string()
    }

    fn assert_is_what_posting_it_gives(draft: &Draft) -> Result<Message, Invalid> {
        let body = as_json(draft);
        let posted = Posted::parse(body.as_bytes(), now()).map(|posted| (posted.message, posted.warnings));
        let made = Message::from_draft(draft.clone(), now());
        assert_eq!(made, posted, "{body}");
        made.map(|(message, _)| message)
    }

    fn draft() -> Draft {
        Draft {
            external_client_id: "shop".to_owned(),
            client_address: Some("wa:GB.9000000001".to_owned()),
            aliases: vec!["+44 7700 900001".to_owned(), "username:anna".to_owned()],
            external_message_id: "m-1".to_owned(),
            ..Draft::default()
        }
    }

    #[test]
    fn a_draft_is_held_to_the_rules_of_the_edge() {
        let message = assert_is_what_posting_it_gives(&draft()).unwrap();
        assert_eq!(message.address().as_str(), "wa:GB.9000000001");
        for (change, reason) in [
            ((|draft| draft.client_address = None) as fn(&mut Draft), InvalidReason::MissingField),
            (|draft| draft.client_address = Some("wa:a\u{200b}".into()), InvalidReason::InvisibleCharacter),
            (|draft| draft.client_phone = Some("+70000000000".into()), InvalidReason::TwoAddresses),
            (|draft| draft.external_message_id = "a\u{ad}".into(), InvalidReason::InvisibleCharacter),
            (|draft| draft.text = "\0".into(), InvalidReason::NulCharacter),
            (|draft| draft.aliases = vec![String::new(); 5], InvalidReason::TooLong),
        ] {
            let mut draft = draft();
            change(&mut draft);
            assert_eq!(assert_is_what_posting_it_gives(&draft).unwrap_err().reason, reason);
        }
    }

    #[test]
    fn what_is_not_worth_the_message_is_left_out_with_a_warning() {
        let draft = Draft {
            sent_at: Timestamp::parse("1999-01-01T00:00:00Z").ok(),
            aliases: vec!["username:\u{200b}".to_owned(), "tg:7".to_owned()],
            ..draft()
        };
        let (message, warnings) = Message::from_draft(draft, now()).unwrap();
        assert_eq!(warnings, [Warning::SentAtOutOfRange, Warning::AliasLeftOut]);
        assert_eq!((message.sent_at(), message.aliases().len()), (None, 1));
    }

    proptest! {
        #[test]
        fn a_draft_is_the_message_that_posting_its_fields_makes(
            external_client_id in "[a-z \u{200b}]{0,3}|\\PC{0,140}",
            client_phone in prop::option::of("[+][1-9][0-9]{6,14}|[+ 0-9().-]{0,18}"),
            client_address in prop::option::of("(wa|tg|viber|username|id|x):[a-zA-Z0-9 :\\PC]{0,9}|.{0,9}"),
            aliases in prop::collection::vec("(wa|tg|username):[a-c]{0,2}|[+]7000000000|.{0,9}", 0..6),
            external_message_id in "[a-z0-9]{1,9}|.{0,270}",
            text in ".{0,40}",
            sent_at in prop::option::of(-62_135_596_800_000_000_i64..253_402_300_799_000_000),
        ) {
            let _outcome = assert_is_what_posting_it_gives(&Draft {
                external_client_id, client_phone, client_address, aliases, external_message_id, text,
                sent_at: sent_at.and_then(Timestamp::from_micros),
            });
        }
    }
}
