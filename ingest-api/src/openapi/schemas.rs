//! The document's schemas: what a body may hold, and what an answer holds.

use ::schemas::{
    ALIASES_MAX, DEPTH_MAX, ExternalClientId, ExternalMessageId, Invalid, InvalidReason, MessageText, Scheme,
    Warning,
    batch::ITEMS_MAX,
    contract::{CLIENT_ID, NO_NUL, SCHEMES, address_chars_max, address_pattern},
};
use serde_json::{Value, json};

use super::reference;
use crate::error::{ApiError, Unavailable};

/// Beyond U+FFFF there is no escape that all dialects of patterns know: these stand for themselves.
macro_rules! invisible {
    () => {
        concat!(
            r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb",
            "\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}",
        )
    };
}

/// The contract's rule for ids, without the characters that nobody sees. Those within an emoji are taken as
/// well, which a pattern cannot say.
const VISIBLE: &str = concat!(
    r"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000",
    invisible!(),
    r"]([^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f",
    invisible!(),
    r"]*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000",
    invisible!(),
    "])?$",
);

/// E.164 once its separators are removed, without a zero in brackets.
const PHONE: &str = r"^(?!.*\([ .-]*0[ .-]*\))[ .()-]*\+[ .()-]*[1-9]([ .()-]*[0-9]){6,14}[ .()-]*$";

pub(super) fn schemas() -> Value {
    json!({
        "Message": message(),
        "Batch": {
            "type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": reference("Message"),
        },
        "ClientId": {
            "type": "string", "pattern": CLIENT_ID, "examples": [EXAMPLE_CLIENT_ID],
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
                "warnings": reference("Warnings"),
            },
        },
        "Warnings": warnings(),
        "ItemRefused": item_refused(),
        "Problem": problem(),
    })
}

/// The client of [`example_message`].
pub(super) const EXAMPLE_CLIENT_ID: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

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
        "required": ["external_client_id", "external_message_id", "text"],
        "oneOf": [one_address("client_phone", "client_address"), one_address("client_address", "client_phone")],
        "properties": {
            "external_client_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalClientId::CHARS_MAX,
                "pattern": VISIBLE,
                "description": "The outside system's account (the source), kept as it is.",
            },
            "client_phone": {
                "type": ["string", "null"], "pattern": PHONE,
                "description": "E.164 with separators: the same number in another spelling is the same client. Not `+44 (0)20 …`: \
                    whether that zero belongs to the number, only its country knows.",
            },
            "client_address": {
                "type": ["string", "null"], "maxLength": address_chars_max(),
                "pattern": address_pattern(Scheme::ALL.into_iter().filter(|scheme| scheme.is_identity()), VISIBLE),
                "description": format!(
                    "The address of a client without a phone, byte for byte: a scheme, a colon, an id. {SCHEMES}"
                ),
                "examples": ["wa:GB.9000000001"],
            },
            "external_message_id": {
                "type": "string", "minLength": 1, "maxLength": ExternalMessageId::CHARS_MAX,
                "pattern": VISIBLE,
                "description": "The outside system's id of the message, unique per client.",
            },
            "text": {
                "type": "string", "maxLength": MessageText::CHARS_MAX, "pattern": NO_NUL,
                "description": "What the client wrote; may be empty.",
            },
            "sent_at": {
                "type": ["string", "null"], "format": "date-time",
                "description": "When it was sent, according to the producer: from 2000 to a day from now. It is shown, and \
                    never decides the order. Another time is left out, and the answer says so.",
            },
            "aliases": {
                "type": ["array", "null"], "maxItems": ALIASES_MAX, "items": { "type": "string" },
                "description": "Other addresses of the same person: phones and `scheme:id`, also `username:…`. They say who belongs \
                    together and are not part of the body. One that is not an address is left out, and the answer says so.",
                "examples": [["wa:GB.9000000001", "username:anna"]],
            },
        },
        "additionalProperties": true,
        "description": format!(
            "Members that are not named here travel to the topic as they came, to the last digit: Telex does not \
            look at them, beyond that they are JSON, nested at most {DEPTH_MAX} levels deep with the message \
            itself. A message sent again may have other ones: it is the same. None of the named fields may \
            stand twice."
        ),
        "examples": [example_message()],
    })
}

/// One of the two members that hold an address, and not the other.
fn one_address(name: &str, other: &str) -> Value {
    json!({
        "required": [name],
        "properties": { name: { "type": "string" }, other: { "type": "null" } },
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
