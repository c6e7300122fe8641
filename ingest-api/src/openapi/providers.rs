//! The paths of providers' webhooks: one for each hook, and the same with a secret behind it.

use axum::http::StatusCode;
use hooks::walk::Lost;
use serde_json::{Value, json};

use super::{headers_of, responses, unavailable};
use crate::{
    error::{ApiError, Unavailable},
    media::Media,
    webhooks::BODY_BYTES_MAX,
};

/// The operations of one of the two.
pub(super) fn path(has_secret: bool) -> Value {
    json!({ "post": post(has_secret), "get": get(has_secret) })
}

fn post(has_secret: bool) -> Value {
    let mut errors = vec![ApiError::BodyTooLarge(BODY_BYTES_MAX), ApiError::RecordTooLarge];
    errors.extend(of_messages());
    let description = format!(
        "A hook of the producers file says how the body is read, how it is signed and what is answered. At most \
        {BODY_BYTES_MAX} bytes. An answer with the status that the hook sets has the body that the hook sets, \
        usually none."
    );
    let (id, of_the_secret) =
        if has_secret { ("postWebhookWithSecret", SECRET) } else { ("postWebhook", "") };
    json!({
        "operationId": id,
        "summary": summary("A provider's webhook, as the provider sends it", has_secret),
        "description": format!("{description}{of_the_secret}"),
        "security": [{}],
        "parameters": parameters(has_secret),
        "requestBody": { "content": {
            Media::Json.as_str(): { "schema": {} },
            "application/x-www-form-urlencoded": { "schema": { "type": "object" } },
        } },
        "responses": with_again(responses([as_the_hook_says("2XX", KEPT)], errors)),
    })
}

fn get(has_secret: bool) -> Value {
    let word = as_the_hook_says("200", "The word that the provider expects back, as plain text.");
    let (id, of_the_secret) = if has_secret { ("getWebhookWithSecret", SECRET) } else { ("getWebhook", "") };
    json!({
        "operationId": id,
        "summary": summary("A provider checks that the URL is ours", has_secret),
        "description": format!("Or sends its messages in the query, if the hook says so.{of_the_secret}"),
        "security": [{}],
        "parameters": parameters(has_secret),
        "responses": with_again(responses([word, as_the_hook_says("2XX", KEPT)], of_messages())),
    })
}

const KEPT: &str = "Every message is kept, and items that can never become messages are in quarantine.";

const SECRET: &str = " For a provider that can do nothing else: the hook's secret stands behind its name. It \
    shows up in the logs of everything in front of this service.";

fn summary(of_both: &str, has_secret: bool) -> String {
    let more = if has_secret { ", with a secret in the path" } else { "" };
    format!("{of_both}{more}")
}

/// What messages may be answered, in a body or in a query.
fn of_messages() -> Vec<ApiError> {
    let mut errors =
        vec![ApiError::NotFound, ApiError::Unreadable(Lost::Syntax), ApiError::Unreadable(Lost::TooMuch)];
    errors.extend(unavailable(&Unavailable::ALL));
    errors
}

fn with_again(mut responses: Value) -> Value {
    let again = as_the_hook_says(
        "default",
        "Send it again. This status replaces 503 and 429 if the hook sets another one. Without a body.",
    );
    responses.as_object_mut().into_iter().for_each(|responses| responses.extend([again.clone()]));
    responses
}

fn parameters(has_secret: bool) -> Vec<Value> {
    let in_path = |name: &str, description: &str| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" },
            "description": description })
    };
    let mut parameters = vec![in_path("name", "The hook.")];
    if has_secret {
        parameters.push(in_path("secret", "What the provider shows to prove who it is."));
    }
    parameters.push(json!({ "$ref": "#/components/parameters/RequestId" }));
    parameters
}

fn as_the_hook_says(status: &str, description: &str) -> (String, Value) {
    let response = json!({ "description": description, "headers": headers_of(StatusCode::OK) });
    (status.to_owned(), response)
}
