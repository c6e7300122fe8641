//! The quarantine's part of the AsyncAPI document. Its values have no schema: they are what a provider sent.

use serde_json::{Value, json};

use super::pattern::TIME;
use crate::{
    quarantine::{ITEM_QUARANTINED, headers as own},
    record::header,
};

pub(super) fn channel() -> Value {
    json!({
        "address": "telex.quarantine",
        "description": "What providers sent as messages and what can never be one, as their hooks are described. For the \
            operators of the hooks; no event of a client comes of it until it is read again.",
        "messages": { "itemQuarantined": { "$ref": "#/components/messages/itemQuarantined" } },
        "bindings": {
            "kafka": {
                "topic": "telex.quarantine",
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": 2_592_000_000_u64,
                    "max.message.bytes": 2_097_152,
                },
                "bindingVersion": "0.5.0",
            },
        },
    })
}

/// The one kind of record in it.
pub(super) fn message() -> Value {
    json!({
        "name": ITEM_QUARANTINED,
        "title": ITEM_QUARANTINED,
        "summary": "An item of a provider's webhook that can be no message as its hook is described.",
        "contentType": "application/octet-stream",
        "headers": headers(),
        "payload": {
            "description": "What came without the request's other items, in the media type that the header content-type \
                names. Personal data.",
        },
        "bindings": {
            "kafka": {
                "key": {
                    "type": "string",
                    "description": "The client id, if the item says who wrote it; otherwise the hook's name.",
                },
                "bindingVersion": "0.5.0",
            },
        },
    })
}

/// CloudEvents 1.0 in binary mode, and five of our own.
fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": [
            header::SPEC_VERSION, header::ID, header::SOURCE, header::TYPE, header::TIME, header::CONTENT_TYPE,
            header::REQUEST_ID, own::HOOK, own::PRODUCER, own::REASON, own::DETAIL,
        ],
        "properties": {
            header::SPEC_VERSION: { "const": "1.0" },
            header::ID: {
                "type": "string", "pattern": "/[0-9]+$",
                "description": "The request's id, a slash, and which of the request's items it is, from 0.",
            },
            header::SOURCE: { "type": "string", "pattern": "^urn:telex:hook:" },
            header::TYPE: { "const": ITEM_QUARANTINED },
            header::TIME: {
                "type": "string", "format": "date-time", "pattern": TIME,
                "description": "When the ingest API had the whole request.",
            },
            header::CONTENT_TYPE: text("What the value is: a media type."),
            header::REQUEST_ID: text("The HTTP request that brought it."),
            own::HOOK: text("The hook that read it."),
            own::PRODUCER: text("The producer that the hook belongs to."),
            own::REASON: text("Why it is no message: a stable code, such as no_address."),
            own::DETAIL: text("The same in words; never a value of the item."),
        },
        "additionalProperties": true,
        "examples": [{ own::HOOK: "whatsapp", own::REASON: "no_address", header::ID: "r-1/3" }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::RequestId, quarantine::Quarantined, time::Timestamp};

    #[test]
    fn every_header_that_is_written_is_described_and_required() {
        let item = Quarantined {
            client_id: None,
            hook: "whatsapp".to_owned(),
            producer: "meta".to_owned(),
            reason: "no_address".to_owned(),
            detail: "no place of phone or address holds something".to_owned(),
            document: Vec::new(),
            content_type: "application/json".to_owned(),
            received_at: Timestamp::EPOCH,
            request_id: RequestId::parse("r-1").unwrap(),
            item: 0,
        };
        let described = headers();
        let mut required: Vec<&str> =
            described["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let mut properties: Vec<&String> = described["properties"].as_object().unwrap().keys().collect();
        let encoded = item.encode();
        let mut written: Vec<&str> = encoded.headers.iter().map(|(name, _)| *name).collect();
        for names in [&mut required, &mut written] {
            names.sort_unstable();
        }
        properties.sort_unstable();
        assert_eq!(required, written);
        assert_eq!(properties, written);
    }
}
