//! The document's schemas: what a body may hold, and what an answer holds. That of a message is the
//! contract's, which describes the topic's records from the same fields.

use ::schemas::{
    Invalid, InvalidReason, Warning,
    batch::ITEMS_MAX,
    contract::{CLIENT_ID, message},
};
use serde_json::{Value, json};

use super::reference;
use crate::error::{ApiError, Unavailable};

pub(super) fn schemas() -> Value {
    json!({
        "Message": message::request(),
        "Batch": {
            "type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": reference("Message"),
        },
        "ClientId": {
            "type": "string", "pattern": CLIENT_ID, "examples": [message::EXAMPLE_CLIENT_ID],
            "description": "UUIDv5 of the normalised pair (`external_client_id`, `client_phone` or `client_address`); every answer \
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
                "warnings": reference("Warnings"),
                "request_id": { "type": "string" },
            },
        },
        "Coordinates": {
            "type": "object",
            "description": "Where the record lies, in its client's partition; the last copy, if Kafka's client wrote it twice. The \
                order of a client's records is the order of their offsets.",
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
                "warnings": reference("Warnings"),
            },
        },
        "Warnings": warnings(),
        "ItemRefused": item_refused(),
        "Problem": problem(),
    })
}

fn warnings() -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "description": "What was changed in the message before it was kept; absent if nothing was.",
        "items": {
            "type": "object",
            "required": ["pointer", "code", "detail"],
            "properties": {
                "pointer": { "enum": Warning::ALL.map(Warning::pointer) },
                "code": { "enum": Warning::ALL.map(Warning::as_str) },
                "detail": { "type": "string" },
            },
        },
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
            "code": { "type": "string", "description": "Stable: base decisions on it." },
            "detail": { "type": "string", "description": "For people; never holds what was sent." },
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
        "description": "What a request with this message alone would have been answered with.",
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
