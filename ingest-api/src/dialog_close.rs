//! `POST /v1/clients/{client_id}/dialog/close`: a command through the client's partition, so that it has its
//! place among the client's messages. Closing what is not open changes nothing.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Extension, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use schemas::{ClientId, DialogClose, Event, RequestId, record};
use serde::de::IgnoredAny;

use crate::{error::ApiError, keep::Kept, openapi, publish::Publish, receive, router::Shared};

/// Of the body, which says nothing.
pub const BODY_BYTES_MAX: u32 = 1_024;

/// Takes the command.
pub async fn post<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    client_id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let client_id = client_id.ok().and_then(|Path(id)| ClientId::parse(id.as_bytes()));
    match take(&shared, &request_id, client_id, &headers, body).await {
        Ok(kept) => (StatusCode::ACCEPTED, Json(kept)).into_response(),
        Err(error) => error.into_response(request_id.as_str()),
    }
}

async fn take<'a, P: Publish>(
    shared: &'a Shared<P>,
    request_id: &'a RequestId,
    client_id: Option<ClientId>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Kept<'a>, ApiError> {
    let received =
        receive::receive(shared, (openapi::DIALOG_CLOSE, request_id), headers, body, BODY_BYTES_MAX).await?;
    if !is_empty(&received.bytes) {
        return Err(ApiError::BodyNotEmpty);
    }
    let client_id = client_id.ok_or(ApiError::ClientIdMalformed)?;
    // The id does not say of which source the client is.
    received.principal.may_write_all()?;
    let record = record::encode(&Event::DialogClose(DialogClose { client_id }), &received.envelope);
    shared.keep(client_id, record, received, request_id.as_str()).await
}

/// No bytes, or the empty object that some HTTP clients always send. Whatever else it may say one day is
/// refused until then, whole, so that nobody believes that it was heard.
fn is_empty(body: &[u8]) -> bool {
    body.is_empty()
        || serde_json::from_slice(body).is_ok_and(|fields: BTreeMap<String, IgnoredAny>| fields.is_empty())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", true)]
    #[case("{}", true)]
    #[case(" { } ", true)]
    #[case("[]", false)]
    #[case("null", false)]
    #[case(r#"{"reason":"spam"}"#, false)]
    #[case("{} {}", false)]
    #[case("{", false)]
    fn a_body_is_empty_or_an_empty_object(#[case] body: &str, #[case] empty: bool) {
        assert_eq!(is_empty(body.as_bytes()), empty);
    }
}
