//! `POST /v1/messages`: from bytes to a record that the brokers have acknowledged.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
};
use schemas::{Posted, RequestId, record};

use crate::{
    content_type::content_type,
    error::ApiError,
    keep::Kept,
    media::Media,
    producers::Outcome,
    publish::Publish,
    receive::{Received, RequestHead, receive},
    state::Shared,
};

/// The route.
pub const PATH: &str = "/v1/messages";

/// What the body may be.
pub const MEDIA: &[Media] = &[Media::Json];

pub async fn post<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    content_type(&headers, MEDIA)?;
    let limit = shared.limits.body_bytes_max;
    let head = RequestHead { route: PATH, request_id: &request_id, headers: &headers };
    let received = receive(&shared, head, body, limit).await?;
    let principal = received.principal.clone();
    let kept = keep(&shared, received, &request_id).await;
    principal.count(Outcome::of(&kept), 1);
    Ok((StatusCode::ACCEPTED, Json(kept?)).into_response())
}

async fn keep<'a, P: Publish>(
    shared: &'a Shared<P>,
    received: Received,
    request_id: &'a RequestId,
) -> Result<Kept<'a>, ApiError> {
    let Posted { message, others, warnings } =
        Posted::parse(&received.bytes, received.envelope.received_at).map_err(ApiError::Invalid)?;
    received.principal.may_write(message.external_client_id())?;
    let record = record::encode_message(&message, &others, &received.envelope);
    let client_id = message.client_id();
    drop(message);
    let kept = shared.keep(client_id, record, received, request_id.as_str()).await?;
    Ok(Kept { warnings: shared.warn(warnings), ..kept })
}
