//! `POST /v1/clients/{client_id}/dialog/close`: a command through the client's partition, so that it has its
//! place among the client's messages. Closing what is not open changes nothing.
//!
//! A signature covers the body and not the path. An empty signed command could be sent again for any other client,
//! so a signed one names its client in the body.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Path, Request, State, rejection::PathRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
};
use schemas::{ClientId, DialogClose, Event, RequestId, record};
use serde::Deserialize;

use crate::{
    error::ApiError,
    publish::Publish,
    receive::{RequestHead, receive},
    state::Shared,
};

/// The route.
pub const PATH: &str = "/v1/clients/{client_id}/dialog/close";

/// Of the body, which names the client or says nothing.
pub const BODY_BYTES_MAX: u32 = 1_024;

pub async fn post<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    client_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let client_id = client_id.ok().and_then(|Path(id)| ClientId::parse(id.as_bytes()));
    let head = RequestHead { route: PATH, request_id: &request_id, headers: &headers };
    let received = receive(&shared, head, body, BODY_BYTES_MAX).await?;
    // The id does not say of which source the client is.
    received.principal.may_write_all()?;
    let client_id = named(client_id, &received.bytes, received.is_signed)?;
    let record = record::encode(&Event::DialogClose(DialogClose { client_id }), &received.envelope);
    let kept = shared.keep(client_id, record, received, request_id.as_str()).await?;
    Ok((StatusCode::ACCEPTED, Json(kept)).into_response())
}

/// What the body may say. Whatever else it may say one day is refused until then, whole, so that nobody believes
/// that it was heard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    client_id: Option<String>,
}

/// The client that path and body agree on. The body may be silent (no bytes, or the empty object that some HTTP
/// clients always send), unless it is all that is signed.
fn named(path: Option<ClientId>, body: &[u8], is_signed: bool) -> Result<ClientId, ApiError> {
    let command: Command = match body {
        [] => Command { client_id: None },
        body => serde_json::from_slice(body).map_err(|_| ApiError::BodyNotEmpty)?,
    };
    let path = path.ok_or(ApiError::ClientIdMalformed)?;
    match command.client_id {
        None if is_signed => Err(ApiError::ClientIdNotSigned),
        Some(body) if ClientId::parse(body.as_bytes()) != Some(path) => Err(ApiError::ClientIdMismatch),
        Some(_) | None => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CLIENT: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

    #[rstest]
    #[case::silent("", false, Ok(()))]
    #[case::an_empty_object(" { } ", false, Ok(()))]
    #[case::null(r#"{"client_id":null}"#, false, Ok(()))]
    #[case::the_same_client(r#"{"client_id":"e60660c7-bd8f-5ba9-b814-6dbee9550932"}"#, false, Ok(()))]
    #[case::signed(r#"{"client_id":"e60660c7-bd8f-5ba9-b814-6dbee9550932"}"#, true, Ok(()))]
    #[case::signed_and_silent("", true, Err(ApiError::ClientIdNotSigned))]
    #[case::signed_and_empty("{}", true, Err(ApiError::ClientIdNotSigned))]
    #[case::signed_null(r#"{"client_id":null}"#, true, Err(ApiError::ClientIdNotSigned))]
    #[case::another_client(
        r#"{"client_id":"e60660c7-bd8f-5ba9-b814-6dbee9550933"}"#,
        true,
        Err(ApiError::ClientIdMismatch)
    )]
    #[case::no_client_id(r#"{"client_id":"shop"}"#, false, Err(ApiError::ClientIdMismatch))]
    #[case::an_array("[]", false, Err(ApiError::BodyNotEmpty))]
    #[case::null_alone("null", false, Err(ApiError::BodyNotEmpty))]
    #[case::more(r#"{"reason":"spam"}"#, false, Err(ApiError::BodyNotEmpty))]
    #[case::twice(
        r#"{"client_id":"shop","client_id":"e60660c7-bd8f-5ba9-b814-6dbee9550932"}"#,
        true,
        Err(ApiError::BodyNotEmpty)
    )]
    #[case::two_documents("{} {}", false, Err(ApiError::BodyNotEmpty))]
    #[case::cut("{", false, Err(ApiError::BodyNotEmpty))]
    fn a_body_names_the_paths_client_or_without_a_signature_nobody(
        #[case] body: &str,
        #[case] is_signed: bool,
        #[case] expected: Result<(), ApiError>,
    ) {
        let path = ClientId::parse(CLIENT.as_bytes());
        assert_eq!(named(path, body.as_bytes(), is_signed), expected.map(|()| path.unwrap()));
    }
}
