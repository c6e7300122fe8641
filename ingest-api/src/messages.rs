//! `POST /v1/messages`: from bytes to a record that the brokers have acknowledged.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemas::{Envelope, Event, Message, RequestId, Timestamp, TraceParent, record};
use serde::Serialize;
use service_kit::clock::unix_time;

use crate::{
    error::{ApiError, Unavailable},
    publish::{Delivered, Publish},
    router::Shared,
};

/// The answer 202.
#[derive(Debug, Serialize)]
struct Accepted<'a> {
    client_id: String,
    record: Coordinates<'a>,
    request_id: &'a str,
}

/// Where the message lies in the topic.
#[derive(Debug, Serialize)]
struct Coordinates<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// Takes one message.
pub async fn post<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&shared, &request_id, &headers, body).await {
        Ok((client_id, delivered)) => {
            tracing::debug!(
                request_id = request_id.as_str(),
                client_id,
                partition = delivered.partition,
                offset = delivered.offset,
                "message accepted"
            );
            let accepted = Accepted {
                client_id,
                record: Coordinates { topic: &shared.topic, partition: delivered.partition, offset: delivered.offset },
                request_id: request_id.as_str(),
            };
            (StatusCode::ACCEPTED, Json(accepted)).into_response()
        }
        Err(error) => error.into_response(request_id.as_str()),
    }
}

async fn take<P: Publish>(
    shared: &Shared<P>,
    request_id: &RequestId,
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, Delivered), ApiError> {
    if shared.is_draining() {
        return Err(ApiError::Unavailable(Unavailable::Draining));
    }
    check_content(headers)?;
    let limit = shared.limits.body_bytes_max;
    // What is not declared may become as large as allowed.
    let size = axum::body::HttpBody::size_hint(&body).exact().and_then(|size| u32::try_from(size).ok());
    let admitted = shared.admission.admit(size.unwrap_or(limit).min(limit));
    let admitted = admitted.ok_or(ApiError::Unavailable(Unavailable::TooManyInFlight))?;
    let bytes = read(body, limit, Duration::from_millis(shared.limits.body_deadline_ms)).await?;
    shared.metrics.ingest_body_bytes_total.inc_by(bytes.len() as u64);

    let received_at = now();
    let message = Message::parse(&bytes, received_at).map_err(ApiError::Invalid)?;
    let client_id = message.client_id();
    let envelope = Envelope {
        received_at,
        request_id: Some(request_id.clone()),
        trace_parent: headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| TraceParent::parse(value).ok()),
    };
    let encoded = record::encode(&Event::MessageReceived(Box::new(message)), &envelope);
    let published = shared.publisher.publish(encoded, client_id.partition(shared.partition_count), admitted);
    match tokio::time::timeout(shared.limits.ack_deadline(), published).await {
        Ok(delivered) => Ok((client_id.to_string(), delivered?)),
        Err(_elapsed) => Err(ApiError::Unavailable(Unavailable::AckTimeout)),
    }
}

/// JSON in UTF-8, not encoded.
fn check_content(headers: &HeaderMap) -> Result<(), ApiError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedEncoding);
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    if is_json && is_utf8 { Ok(()) } else { Err(ApiError::UnsupportedMediaType) }
}

async fn read(body: Body, limit: u32, deadline: Duration) -> Result<Bytes, ApiError> {
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    // A declared length above the limit is refused before a byte is read.
    if axum::body::HttpBody::size_hint(&body).lower() > u64::from(limit) {
        return Err(ApiError::BodyTooLarge(limit));
    }
    match tokio::time::timeout(deadline, Limited::new(body, limit_bytes).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::BodyTooLarge(limit))
        }
        Ok(Err(_)) => Err(ApiError::BodyBroken),
        Err(_elapsed) => Err(ApiError::BodyTimeout),
    }
}

fn now() -> Timestamp {
    i64::try_from(unix_time().as_micros()).ok().and_then(Timestamp::from_micros).unwrap_or(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_json_in_utf8_is_read() {
        let check = |content_type: Option<&str>, encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = content_type {
                headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            }
            if let Some(value) = encoding {
                headers.insert(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            check_content(&headers).is_ok()
        };
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert!(check(Some(good), None), "{good}");
        }
        for bad in ["text/plain", "application/json; charset=latin1", "application/jsonp", ""] {
            assert!(!check(Some(bad), None), "{bad}");
        }
        assert!(!check(None, None));
        assert!(check(Some("application/json"), Some("identity")));
        assert!(!check(Some("application/json"), Some("gzip")));
    }
}
