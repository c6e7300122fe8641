//! The document's schemas: what a body may hold, and what an answer holds.

use ::schemas::{
    ExternalClientId, ExternalMessageId, Invalid, InvalidReason, MessageText, NUMBER_ABOVE, NUMBER_BELOW,
    batch::ITEMS_MAX,
    contract::{CLIENT_ID, IDENTIFIER, NO_NUL},
};
use serde_json::{Value, json};

use super::reference;
use crate::error::{ApiError, Unavailable};

/// E.164 once its separators are removed.
const PHONE: &str = r"^[ .()-]*\+[ .()-]*[1-9]([ .()-]*[0-9]){6,14}[ .()-]*$";

pub(super) fn schemas() -> Value {
    json!({
        "Message": message(),
        "Batch": {
            "type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": reference("Message"),
        },
        "ExtraValue": extra_value(),
        "ClientId": {
            "type": "string", "pattern": CLIENT_ID, "examples": ["e60660c7-bd8f-5ba9-b814-6dbee9550932"],
            "description": "UUIDv5 of the normalised pair (`external_client_id`, `client_phone`); every answer \
                that takes a message holds it.",
        },
        "DialogClose": {
            "type": "object",
            "properties": { "client_id": { "anyOf": [reference("ClientId"), { "type": "null" }] } },
            "additionalProperties": false,
        },
        "Kept": {
            "type": "object",
            "required": ["client_id", "record", "request_id"],
            "properties": {
                "client_id": reference("ClientId"),
                "record": reference("Coordinates"),
                "request_id": { "type": "string" },
            },
        },
        "Coordinates": {
            "type": "object",
            "description": "Where the record lies; the order of a client's records is the order of their offsets.",
            "required": ["topic", "partition", "offset"],
            "properties": {
                "topic": { "type": "string" },
                "partition": { "type": "integer", "minimum": 0 },
                "offset": { "type": "integer", "minimum": 0 },
            },
        },
        "BatchAnswer": {
            "type": "object",
            "required": ["results", "request_id"],
            "properties": {
                "results": {
                    "type": "array", "minItems": 1, "maxItems": ITEMS_MAX,
                    "items": { "oneOf": [reference("ItemKept"), reference("ItemRefused")] },
                },
                "request_id": { "type": "string" },
            },
        },
        "ItemKept": {
            "type": "object",
            "required": ["status", "client_id", "record"],
            "properties": {
                "status": { "const": 202 },
                "client_id": reference("ClientId"),
                "record": reference("Coordinates"),
            },
        },
        "ItemRefused": item_refused(),
        "Problem": problem(),
    })
}

/// A message that is taken.
pub(super) fn example_message() -> Value {
    json!({
        "external_client_id": "client00000000000000000000000000",
        "client_phone": "+7 (000) 000-00-00",
        "external_message_id": "wamid.1",
        "text": "Hello",
        "sent_at": "2026-11-24T07:34:59.5+03:00",
    })
}

fn message() -> Value {
    json!({
        "type": "object",
        "required": ["external_client_id", "client_phone", "external_message_id", "text"],
        "properties": {
            "external_client_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalClientId::CHARS_MAX,
                "pattern": IDENTIFIER,
                "description": "The outside system's account (the source), kept as it is.",
            },
            "client_phone": {
                "type": "string", "pattern": PHONE,
                "description": "E.164 with separators: the same number in another spelling is the same client.",
            },
            "external_message_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalMessageId::CHARS_MAX,
                "pattern": IDENTIFIER,
                "description": "The outside system's id of the message, unique per client.",
            },
            "text": {
                "type": "string", "maxLength": MessageText::CHARS_MAX, "pattern": NO_NUL,
                "description": "What the client wrote; may be empty.",
            },
            "sent_at": {
                "type": ["string", "null"], "format": "date-time",
                "description": "When it was sent, says the producer: from 2000 to a day from now. Shown, never \
                    ordered by.",
            },
        },
        "propertyNames": { "pattern": NO_NUL },
        "additionalProperties": reference("ExtraValue"),
        "description": "Fields that are not named here are kept with the message. No key may stand twice in \
            one object.",
        "examples": [example_message()],
    })
}

/// Whatever JSON can say and PostgreSQL can keep.
fn extra_value() -> Value {
    json!({
        "anyOf": [
            { "type": ["null", "boolean"] },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
            { "type": "number", "exclusiveMinimum": NUMBER_ABOVE, "exclusiveMaximum": NUMBER_BELOW },
            { "type": "string", "pattern": NO_NUL },
            { "type": "array", "items": reference("ExtraValue") },
            {
                "type": "object",
                "propertyNames": { "pattern": NO_NUL },
                "additionalProperties": reference("ExtraValue"),
            },
        ],
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": { "type": "string", "pattern": "^urn:telex:problem:" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable: decide by it." },
            "detail": { "type": "string", "description": "For a person; never holds what was sent." },
            "pointer": {
                "type": "string", "description": "JSON pointer (RFC 6901) of the first bad field.",
            },
            "request_id": { "type": "string" },
        },
    })
}

fn item_refused() -> Value {
    let errors = item_errors();
    let mut statuses: Vec<u16> = errors.iter().map(|error| error.status().as_u16()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let codes: Vec<&str> = errors.iter().map(ApiError::code).collect();
    json!({
        "type": "object",
        "description": "What the message's own request would have been answered with.",
        "required": ["status", "code", "detail"],
        "properties": {
            "status": { "enum": statuses },
            "client_id": reference("ClientId"),
            "code": { "enum": codes },
            "detail": { "type": "string" },
            "pointer": { "type": "string", "description": "Within the item." },
        },
    })
}

/// Why a message of a batch is not taken.
pub(super) fn item_errors() -> Vec<ApiError> {
    let mut errors = vec![ApiError::ItemTooLarge(0), ApiError::RecordTooLarge, ApiError::SourceNotAllowed];
    let of_kafka = [Unavailable::Kafka, Unavailable::AckTimeout, Unavailable::QueueFull];
    errors.extend(of_kafka.map(ApiError::Unavailable));
    let invalid = |reason| ApiError::Invalid(Invalid { reason, pointer: String::new(), rule: "" });
    errors.extend(InvalidReason::ALL.map(invalid));
    errors
}
