//! The contract as documents for those who read the topic in another language: a JSON Schema for each event
//! type, and an AsyncAPI document that binds them to topic, key and headers. Made from the limits and names
//! that the code checks by; committed under `schemas/contract/`, where a test compares them.
//!
//! The schemas are of draft 7: serialisers, code generators and AsyncAPI itself read it without being told.

pub mod message;
mod pattern;
mod quarantine;

use serde_json::{Value, json};

pub use self::pattern::CLIENT_ID;
use self::pattern::TIME;
use crate::record::{DIALOG_CLOSE, MESSAGE_RECEIVED_V1, MESSAGE_RECEIVED_V2, MESSAGE_RECEIVED_V3, header};

/// The contract's version. Within a major, only optional fields are added.
pub const VERSION: &str = "1.2.0";

/// Every document: the file's name, and what it holds.
pub fn documents() -> [(&'static str, Value); 5] {
    [
        ("telex.message.received.v1.schema.json", schema(MESSAGE_RECEIVED_V1, OF_VERSION_1, message::v2())),
        ("telex.message.received.v2.schema.json", schema(MESSAGE_RECEIVED_V2, OF_VERSION_2, message::v2())),
        ("telex.message.received.v3.schema.json", schema(MESSAGE_RECEIVED_V3, OF_VERSION_3, message::v3())),
        ("telex.dialog.close.v1.schema.json", schema(DIALOG_CLOSE, OF_A_CLOSE, dialog_close())),
        ("asyncapi.json", async_api()),
    ]
}

const OF_VERSION_1: &str = "A client wrote something. The value of a record whose ce_type is this title. The same \
    message may come in several records: the first one counts. Written no more since version 2.";

const OF_VERSION_2: &str = "A client wrote something. The value of a record whose ce_type is this title. The same \
    message may come in several records: the first one counts. Members that are not named here are the sender's, \
    as they came: checked for syntax and depth only, so that a name may stand twice among them, and numbers and \
    escapes in them may be more than your parser can hold.";

const OF_VERSION_3: &str = "A client wrote something, who has an address and no phone, or of whose person the source named other addresses. \
    Everything else is as in telex.message.received.v2, and the two are one stream: the same message may come as either, \
    and the first one counts.";

const OF_A_CLOSE: &str = "The client's active dialog is closed, at this place among the client's messages. Without an active \
    dialog it means nothing.";

/// The schema of an event type, whose value is such an object.
fn schema(event_type: &str, description: &str, mut value: Value) -> Value {
    let about = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": format!("urn:telex:schema:{event_type}"),
        "title": event_type,
        "description": description,
    });
    message::extend(&mut value, about);
    value
}

fn dialog_close() -> Value {
    json!({
        "type": "object",
        "required": ["client_id"],
        "properties": {
            "client_id": { "type": "string", "pattern": CLIENT_ID, "description": "The client; equal to the record's key." },
        },
        "additionalProperties": true,
        "examples": [{ "client_id": message::EXAMPLE_CLIENT_ID }],
    })
}

fn async_api() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Telex: the topic of messages",
            "version": VERSION,
            "description": "Messages of clients and commands on their dialogs, ordered per client. What order, retention and \
                delivery mean is in docs/topic-contract.md.",
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": { "messages": channel(), "quarantine": quarantine::channel() },
        "operations": {
            "sendEvents": {
                "action": "send",
                "summary": "ingest-api writes; everybody else reads.",
                "channel": { "$ref": "#/channels/messages" },
            },
            "sendQuarantined": {
                "action": "send",
                "summary": "ingest-api writes; operators read (processor quarantine), and ingest-api hooks replay.",
                "channel": { "$ref": "#/channels/quarantine" },
            },
        },
        "components": {
            "messages": {
                "messageReceived": async_message(MESSAGE_RECEIVED_V2, "A client with a phone wrote something.", MESSAGE_ID),
                "messageReceivedV3": async_message(
                    MESSAGE_RECEIVED_V3, "A client with another address, or with aliases, wrote something.", MESSAGE_ID,
                ),
                "messageReceivedV1": async_message(
                    MESSAGE_RECEIVED_V1, "A client wrote something, before version 2 came.", MESSAGE_ID,
                ),
                "dialogClose": async_message(DIALOG_CLOSE, "A client's active dialog is closed.", "the id of the request"),
                "itemQuarantined": quarantine::message(),
            },
        },
    })
}

/// What `ce_id` is in all versions.
const MESSAGE_ID: &str = "the source's id of the message";

fn channel() -> Value {
    json!({
        "address": "telex.messages",
        "description": "One topic; the partition of a client is murmur2(key) over the partition count, as Kafka's Java \
            client places it.",
        "messages": {
            "messageReceived": { "$ref": "#/components/messages/messageReceived" },
            "messageReceivedV3": { "$ref": "#/components/messages/messageReceivedV3" },
            "messageReceivedV1": { "$ref": "#/components/messages/messageReceivedV1" },
            "dialogClose": { "$ref": "#/components/messages/dialogClose" },
        },
        "bindings": {
            "kafka": {
                "topic": "telex.messages",
                "topicConfiguration": { "cleanup.policy": ["delete"], "retention.ms": 604_800_000 },
                "bindingVersion": "0.5.0",
            },
        },
    })
}

fn async_message(event_type: &str, summary: &str, id: &str) -> Value {
    json!({
        "name": event_type,
        "title": event_type,
        "summary": summary,
        "contentType": "application/json",
        "headers": headers(event_type, id),
        "payload": { "$ref": format!("./{event_type}.schema.json") },
        "bindings": {
            "kafka": {
                "key": { "type": "string", "pattern": CLIENT_ID, "description": "The client id." },
                "bindingVersion": "0.5.0",
            },
        },
    })
}

/// CloudEvents 1.0 in binary mode, and three of our own.
fn headers(event_type: &str, id: &str) -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": [
            header::SPEC_VERSION, header::ID, header::SOURCE, header::TYPE, header::TIME, header::CONTENT_TYPE,
        ],
        "properties": {
            header::SPEC_VERSION: { "const": "1.0" },
            header::ID: text(&format!("Within {}: {id}.", header::SOURCE)),
            header::SOURCE: { "type": "string", "pattern": format!("^urn:telex:client:{}", CLIENT_ID.trim_start_matches('^')) },
            header::TYPE: { "const": event_type },
            header::TIME: {
                "type": "string", "format": "date-time", "pattern": TIME,
                "description": "When the ingest API had the whole request.",
            },
            header::CONTENT_TYPE: { "const": "application/json" },
            header::REQUEST_ID: text("The HTTP request that brought it; absent if another producer wrote it."),
            header::TRACE_PARENT: text("W3C trace context; absent if the sender gave none."),
        },
        "additionalProperties": true,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_contract_lists_what_the_code_does() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contract"));
        for (name, document) in documents() {
            let path = folder.join(name);
            let expected = serde_json::to_string_pretty(&document).unwrap() + "\n";
            if std::env::var_os("TELEX_WRITE_DOCS").is_some() {
                fs::write(&path, &expected).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, expected, "{name} is not what the code says: run `make docs`");
        }
    }
}
