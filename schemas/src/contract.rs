//! The contract as documents for those who read the topic in another language: a JSON Schema for each event
//! type, and an AsyncAPI document that binds them to topic, key and headers. Made from the limits and names
//! that the code checks by; committed under `schemas/contract/`, where a test compares them.
//!
//! The schemas are of draft 7: serialisers, code generators and AsyncAPI itself read it without being told.

mod quarantine;

use serde_json::{Value, json};

use crate::{
    address::{AddressId, Scheme},
    fields::ALIASES_MAX,
    ids::{ExternalClientId, ExternalMessageId, MessageText},
    record::{DIALOG_CLOSE, MESSAGE_RECEIVED_V1, MESSAGE_RECEIVED_V2, MESSAGE_RECEIVED_V3, header},
};

/// The contract's version. Within a major, only optional fields are added.
pub const VERSION: &str = "1.2.0";

/// Neither control characters nor white space at either end, as `char::is_control` and
/// `char::is_whitespace` know them.
pub const IDENTIFIER: &str = concat!(
    r"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"([^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?$",
);

/// PostgreSQL text cannot hold U+0000.
pub const NO_NUL: &str = r"^[^\u0000]*$";

/// The canonical text of a client id, which is the record's key.
pub const CLIENT_ID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// E.164 without separators.
const PHONE: &str = r"^\+[1-9][0-9]{6,14}$";

/// UTC with microseconds.
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$";

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Every document: the file's name, and what it holds.
pub fn documents() -> [(&'static str, Value); 5] {
    [
        ("telex.message.received.v1.schema.json", message_received(MESSAGE_RECEIVED_V1, OF_VERSION_1)),
        ("telex.message.received.v2.schema.json", message_received(MESSAGE_RECEIVED_V2, OF_VERSION_2)),
        ("telex.message.received.v3.schema.json", message_received_v3()),
        ("telex.dialog.close.v1.schema.json", dialog_close()),
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

/// `scheme:id` with one of the schemes, and behind it what `id`, the pattern of an identifier, takes, up to the limit.
pub fn address_pattern(schemes: impl Iterator<Item = Scheme>, id: &str) -> String {
    let schemes = schemes.map(Scheme::as_str).collect::<Vec<_>>().join("|");
    // Between the first character and the last.
    let between = format!("]{{0,{}}}", AddressId::CHARS_MAX - 2);
    format!("^({schemes}):{}", id.trim_start_matches('^').replace("]*", &between))
}

/// The limit of `scheme:id`, in characters.
pub fn address_chars_max() -> usize {
    let longest = Scheme::ALL.iter().map(|scheme| scheme.as_str().len()).max().unwrap_or_default();
    longest + 1 + AddressId::CHARS_MAX
}

/// Every scheme with what it stands for, in words.
pub const SCHEMES: &str = "wa: WhatsApp's business-scoped user id; wa-lid: WhatsApp's hidden id; tg: Telegram; viber; instagram; \
    messenger: Facebook's page-scoped id; vk; avito; sms: a sender without a number; sunshine: a user of Zendesk Sunshine; \
    chatwoot: a contact; teletype: a dialog; id: the source's own id; username: a user name, in aliases only.";

fn message_received_v3() -> Value {
    let mut schema = message_received(MESSAGE_RECEIVED_V3, OF_VERSION_3);
    let chars_max = address_chars_max();
    let identities =
        address_pattern(Scheme::ALL.into_iter().filter(|scheme| scheme.is_identity()), IDENTIFIER);
    let any = address_pattern(Scheme::ALL.into_iter(), IDENTIFIER);
    let fields = json!({
        "client_address": {
            "type": "string", "maxLength": chars_max, "pattern": identities,
            "description": format!("What a client without a phone is reached by: scheme:id, byte for byte. {SCHEMES}"),
        },
        "aliases": {
            "type": "array", "minItems": 1, "maxItems": ALIASES_MAX, "uniqueItems": true,
            "items": { "type": "string", "maxLength": chars_max, "anyOf": [{ "pattern": PHONE }, { "pattern": any }] },
            "description": "Other addresses of the same person, says the source: phones and scheme:id. To find who belongs together, \
                and to show; the client is who the key says.",
        },
    });
    if let Some(properties) = schema.get_mut("properties") {
        extend(properties, fields);
    }
    let examples = json!([
        {
            "client_address": "wa:GB.9000000001",
            "external_client_id": "client00000000000000000000000000",
            "external_message_id": "wamid.1",
            "text": "Hello",
            "aliases": ["username:anna"],
        },
        {
            "client_phone": "+70000000000",
            "external_client_id": "client00000000000000000000000000",
            "external_message_id": "wamid.2",
            "text": "Hello",
            "aliases": ["wa:GB.9000000001"],
        },
    ]);
    extend(
        &mut schema,
        json!({
            "required": ["external_client_id", "external_message_id", "text"],
            "oneOf": [{ "required": ["client_phone"] }, { "required": ["client_address"] }],
            "examples": examples,
        }),
    );
    schema
}

/// Puts the members of one object into another; those that are there are replaced.
fn extend(object: &mut Value, members: Value) {
    if let (Value::Object(object), Value::Object(members)) = (object, members) {
        object.extend(members);
    }
}

/// What all versions say of the fields that Telex looks at.
fn message_received(event_type: &str, description: &str) -> Value {
    json!({
        "$schema": DRAFT,
        "$id": format!("urn:telex:schema:{event_type}"),
        "title": event_type,
        "description": description,
        "type": "object",
        "required": ["external_client_id", "client_phone", "external_message_id", "text"],
        "properties": {
            "external_client_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalClientId::CHARS_MAX, "pattern": IDENTIFIER,
                "description": "The source: the outside system's account.",
            },
            "client_phone": {
                "type": "string", "pattern": PHONE, "description": "The client's phone, in E.164.",
            },
            "external_message_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalMessageId::CHARS_MAX, "pattern": IDENTIFIER,
                "description": "The source's id of the message, unique per client.",
            },
            "text": {
                "type": "string", "maxLength": MessageText::CHARS_MAX, "pattern": NO_NUL,
                "description": "What the client wrote; may be empty.",
            },
            "sent_at": {
                "type": "string", "format": "date-time", "pattern": TIME,
                "description": "When it was sent, says the source. To show; the order is that of the offsets.",
            },
        },
        "additionalProperties": true,
        "examples": [{
            "client_phone": "+70000000000",
            "external_client_id": "client00000000000000000000000000",
            "external_message_id": "wamid.1",
            "sent_at": "2026-11-24T04:34:59.500000Z",
            "text": "Hello",
        }],
    })
}

fn dialog_close() -> Value {
    json!({
        "$schema": DRAFT,
        "$id": format!("urn:telex:schema:{DIALOG_CLOSE}"),
        "title": DIALOG_CLOSE,
        "description": "The client's active dialog is closed, at this place among the client's messages. Without an active \
            dialog it means nothing.",
        "type": "object",
        "required": ["client_id"],
        "properties": {
            "client_id": { "type": "string", "pattern": CLIENT_ID, "description": "The client; equal to the record's key." },
        },
        "additionalProperties": true,
        "examples": [{ "client_id": "e60660c7-bd8f-5ba9-b814-6dbee9550932" }],
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
                "messageReceived": message(MESSAGE_RECEIVED_V2, "A client with a phone wrote something.", MESSAGE_ID),
                "messageReceivedV3": message(
                    MESSAGE_RECEIVED_V3, "A client with another address, or with aliases, wrote something.", MESSAGE_ID,
                ),
                "messageReceivedV1": message(
                    MESSAGE_RECEIVED_V1, "A client wrote something, before version 2 came.", MESSAGE_ID,
                ),
                "dialogClose": message(DIALOG_CLOSE, "A client's active dialog is closed.", "the id of the request"),
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

fn message(event_type: &str, summary: &str, id: &str) -> Value {
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
