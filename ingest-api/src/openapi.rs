//! The contract with producers as OpenAPI 3.1, made from what the handlers themselves use: their paths,
//! media types and limits, and every [`ApiError`] with its status and code. Only the words are written here.
//!
//! `ingest-api/openapi.json` is this document; `make openapi` rewrites it, and a test compares.

mod providers;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};

use ::schemas::{Invalid, InvalidReason, contract::message};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    batch,
    config::{BATCH_BYTES_MAX, BODY_BYTES_MAX},
    dialog_close,
    error::{ApiError, PROBLEM_JSON, Unavailable},
    media::{CODINGS, Media},
    messages, webhooks,
};

const ABOUT: &str = "Takes the messages that people send to a business and keeps them, in order for each \
    client.\n\n**202 means kept**: it is sent only after the brokers' acknowledgement. A 4xx means that \
    nothing was kept. A 503 means *unknown*: send the same again, with the same ids, after `Retry-After` \
    seconds. What was kept already has no second effect, however much later it comes.\n\nThe order of a \
    client's messages is the order in which they are kept. Requests that are under way at the same time have \
    no order among themselves: wait for the answer, or use the batch.\n\nEvery other answer is \
    `application/problem+json` (RFC 9457) with a `code` that never changes its meaning. A request \
    head that is not HTTP/1.1 at all (400, 431) is answered without a body, and the connection is closed.";

pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Telex ingest API",
            "version": "1.0.0",
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [
            { "webhookId": [], "webhookTimestamp": [], "webhookSignature": [] },
            { "apiKey": [] },
        ],
        "paths": {
            messages::PATH: { "post": messages_operation() },
            batch::PATH: { "post": batch_operation() },
            dialog_close::PATH: { "post": dialog_close_operation() },
            webhooks::PATH: providers::path(false),
            webhooks::PATH_WITH_SECRET: providers::path(true),
        },
        "components": {
            "schemas": schemas::schemas(),
            "parameters": parameters(),
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    })
}

/// The document as it is served and committed.
pub fn text() -> String {
    format!("{:#}\n", document())
}

fn messages_operation() -> Value {
    let mut errors = vec![
        ApiError::UnsupportedMediaType(messages::MEDIA),
        ApiError::BodyTooLarge(BODY_BYTES_MAX),
        ApiError::RecordTooLarge,
    ];
    errors.extend(invalid(&InvalidReason::ALL));
    errors.extend(unavailable(&Unavailable::ALL));
    json!({
        "operationId": "postMessage",
        "summary": "Send one message",
        "description": format!(
            "At most {BODY_BYTES_MAX} bytes, as it is sent and once it is decoded. The same \
            `external_message_id` of the same client is the same message: the first one kept counts."
        ),
        "parameters": common_parameters(),
        "requestBody": body(messages::MEDIA, "Message", &message::example()),
        "responses": responses([kept()], errors),
    })
}

fn batch_operation() -> Value {
    let mut errors =
        vec![ApiError::UnsupportedMediaType(batch::MEDIA), ApiError::BodyTooLarge(BATCH_BYTES_MAX)];
    let reasons = [
        InvalidReason::MalformedJson,
        InvalidReason::WrongType,
        InvalidReason::Empty,
        InvalidReason::TooLong,
    ];
    errors.extend(invalid(&reasons));
    let before_any_item =
        [Unavailable::TooManyInFlight, Unavailable::TooManyConnections, Unavailable::Draining];
    errors.extend(unavailable(&before_any_item));
    let answer = |status, description| success(status, description, "BatchAnswer");
    json!({
        "operationId": "postBatch",
        "summary": "Send up to 1,000 messages",
        "description": format!(
            "A JSON array, or a message a line (NDJSON; blank lines are not counted). At most \
            {BATCH_BYTES_MAX} bytes in all and {BODY_BYTES_MAX} a message. `results` has an entry for each \
            message, in the order of the request; a bad message never harms the others. The messages of one \
            client enter the queue to Kafka in their order: once one finds it full (503 `queue_full`), the \
            client's later ones are refused too. Any other 503 is about its own message. A broken array is \
            refused as a whole; of NDJSON, only the broken line is."
        ),
        "parameters": common_parameters(),
        "requestBody": body(batch::MEDIA, "Batch", &json!([message::example()])),
        "responses": responses(
            [
                answer(StatusCode::ACCEPTED, "All messages are kept."),
                answer(
                    StatusCode::MULTI_STATUS,
                    "At least one message was not taken: see `results`. `Retry-After` is set if it makes sense \
                    to send those with status 503 again.",
                ),
            ],
            errors,
        ),
    })
}

fn dialog_close_operation() -> Value {
    let mut errors = vec![
        ApiError::BodyTooLarge(dialog_close::BODY_BYTES_MAX),
        ApiError::BodyNotEmpty,
        ApiError::ClientIdNotSigned,
        ApiError::ClientIdMismatch,
        ApiError::ClientIdMalformed,
        ApiError::NotFound,
    ];
    errors.extend(unavailable(&Unavailable::ALL));
    let mut parameters = common_parameters();
    parameters.insert(0, json!({ "$ref": "#/components/parameters/ClientId" }));
    json!({
        "operationId": "closeDialog",
        "summary": "Close a client's active dialog",
        "description": "The command takes its place among the client's messages: those kept before it belong to \
            the dialog that it closes, the next one opens another. Without an active dialog nothing changes. \
            The body names the client as the path does. A signature covers the body and not the path, so a signed \
            command must have it; with an API key it may be empty.",
        "parameters": parameters,
        "requestBody": {
            "required": false,
            "content": { Media::Json.as_str(): {
                "schema": reference("DialogClose"),
                "example": { "client_id": message::EXAMPLE_CLIENT_ID },
            } },
        },
        "responses": responses([kept()], errors),
    })
}

/// What every operation may answer besides its own errors.
fn common_errors() -> [ApiError; 10] {
    [
        ApiError::Unauthorized,
        ApiError::SourceNotAllowed,
        ApiError::RateLimited { retry_after_seconds: 1 },
        ApiError::AmbiguousLength,
        ApiError::HeadTooLarge,
        ApiError::BodyBroken,
        ApiError::BodyNotDecodable,
        ApiError::BodyTimeout,
        ApiError::UnsupportedEncoding,
        ApiError::UriTooLong,
    ]
}

fn invalid(reasons: &[InvalidReason]) -> impl Iterator<Item = ApiError> + '_ {
    let error = |&reason| ApiError::Invalid(Invalid { reason, pointer: String::new(), rule: "" });
    reasons.iter().map(error)
}

fn unavailable(these: &[Unavailable]) -> impl Iterator<Item = ApiError> + '_ {
    these.iter().copied().map(ApiError::Unavailable)
}

/// The statuses of an operation: its successes, and its errors by status.
fn responses<const N: usize>(successes: [(String, Value); N], errors: Vec<ApiError>) -> Value {
    let mut codes: BTreeMap<StatusCode, BTreeSet<&str>> = BTreeMap::new();
    for error in errors.iter().chain(&common_errors()) {
        codes.entry(error.status()).or_default().insert(error.code());
    }
    let mut responses = Map::from_iter(successes);
    for (status, codes) in codes {
        let schema = json!({
            "allOf": [
                reference("Problem"),
                { "properties": { "status": { "const": status.as_u16() }, "code": { "enum": codes } } },
            ],
        });
        let response = json!({
            "description": status.canonical_reason(),
            "headers": headers_of(status),
            "content": { PROBLEM_JSON: { "schema": schema } },
        });
        responses.insert(status.as_u16().to_string(), response);
    }
    Value::Object(responses)
}

fn kept() -> (String, Value) {
    success(StatusCode::ACCEPTED, "Kept: the record lies in the topic, at these coordinates.", "Kept")
}

fn success(status: StatusCode, description: &str, schema: &str) -> (String, Value) {
    let response = json!({
        "description": description,
        "headers": headers_of(status),
        "content": { Media::Json.as_str(): { "schema": reference(schema) } },
    });
    (status.as_u16().to_string(), response)
}

fn body(media: &[Media], schema: &str, example: &Value) -> Value {
    let content = media.iter().map(|media| {
        let media_type = json!({ "schema": reference(schema), "example": example });
        (media.as_str().to_owned(), media_type)
    });
    json!({
        "required": true,
        "description": format!(
            "UTF-8. May be encoded; `content-encoding` must then name the coding: one of {}.", CODINGS
        ),
        "content": content.collect::<Map<_, _>>(),
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// What may stand on an answer with this status.
fn headers_of(status: StatusCode) -> Value {
    let other = match status {
        StatusCode::MULTI_STATUS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Some(("Retry-After", "RetryAfter"))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some(("Accept-Encoding", "AcceptEncoding")),
        _ => None,
    };
    let header =
        |(name, header)| (String::from(name), json!({ "$ref": format!("#/components/headers/{header}") }));
    [Some(("x-request-id", "RequestId")), other]
        .into_iter()
        .flatten()
        .map(header)
        .collect::<Map<_, _>>()
        .into()
}

fn common_parameters() -> Vec<Value> {
    ["RequestId", "TraceParent", "Producer"]
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect()
}

fn parameters() -> Value {
    json!({
        "ClientId": {
            "name": "client_id", "in": "path", "required": true, "schema": reference("ClientId"),
        },
        "RequestId": {
            "name": "x-request-id", "in": "header", "schema": { "type": "string" },
            "description": "Your name for this attempt. The answer, the logs, the record and the row carry \
                it. 1 to 128 of `A-Z a-z 0-9 . _ : -`; anything else is replaced.",
        },
        "TraceParent": {
            "name": "traceparent", "in": "header", "schema": { "type": "string" },
            "description": "W3C trace context, version 00, kept on the record. Anything else is ignored.",
        },
        "Producer": {
            "name": "x-telex-producer", "in": "header", "schema": { "type": "string" },
            "description": "Which producer signed the request. It may be left out as long as the service \
                knows few producers. With it, the request is checked against that producer's keys only.",
        },
    })
}

fn headers() -> Value {
    json!({
        "RequestId": {
            "required": true, "schema": { "type": "string" },
            "description": "The request's id: its own, or a new one.",
        },
        "RetryAfter": {
            "schema": { "type": "integer", "minimum": 1 },
            "description": "Seconds after which it makes sense to send the same again.",
        },
        "AcceptEncoding": {
            "schema": { "type": "string", "const": CODINGS },
            "description": "The codings that are supported, if `content-encoding` is the reason.",
        },
    })
}

fn security_schemes() -> Value {
    let signed = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    json!({
        "webhookId": signed("webhook-id", "Standard Webhooks: the same for every attempt of one request. \
            `svix-id`, `svix-timestamp` and `svix-signature` are other names of these three headers."),
        "webhookTimestamp": signed(
            "webhook-timestamp", "Standard Webhooks: seconds since 1970, at most 300 from now either way, or as old as has been \
                agreed with the producer.",
        ),
        "webhookSignature": signed(
            "webhook-signature",
            "Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`, the body being \
            the bytes as they are sent; several signatures are separated by spaces or have header lines of their \
            own, and one of them must be right.",
        ),
        "apiKey": { "type": "http", "scheme": "bearer", "description": "A producer's API key." },
    })
}

#[cfg(test)]
mod tests;
