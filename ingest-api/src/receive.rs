//! From a request's head to its body: what every route that writes does before it looks at what the body
//! says. The cheapest refusal comes first, and what the head can tell is looked at before a byte of the body is
//! read: coding, credentials, declared length. A sender that the head proves is admitted to what producers share;
//! a signature covers the body, so these bytes are [`unproven`](crate::unproven) until they stand here whole. Only
//! then is anything else done with them (pitfalls 69).

use std::{sync::Arc, time::Instant};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::HeaderMap,
};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use schemas::{Envelope, RequestId, Timestamp, TraceParent};
use service_kit::{clock::unix_time, spans::Span};

use crate::{
    admission::Admitted,
    error::{ApiError, Unavailable},
    inflate,
    producers::{Claim, Principal},
    rate::Cost,
    state::Shared,
};

const TOO_MANY: ApiError = ApiError::Unavailable(Unavailable::TooManyInFlight);

/// What is known of a request before its body.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub route: &'static str,
    pub request_id: &'a RequestId,
    pub headers: &'a HeaderMap,
}

/// A request that is there to its last byte.
pub struct Received {
    /// The body, decoded.
    pub bytes: Bytes,
    /// On whose behalf it is.
    pub principal: Principal,
    /// Whether a signature proves it: that covers the body, and nothing of the head.
    pub is_signed: bool,
    /// What stands on the records that come of it.
    pub envelope: Envelope,
    /// The request in its trace, if that is sampled.
    pub span: Option<Span>,
    /// Its share of what may be in flight, for as long as one of its records is on its way.
    pub admitted: Arc<Admitted>,
}

/// Reads a request's body, which may have `limit` bytes as it is sent and as many once it is decoded.
///
/// # Errors
/// The process stops, too much is in flight, it is not known who sent the body, or its producer sends too
/// much; or the body is too large, too slow, broken, or encoded in a way that is not known.
pub async fn receive<P>(
    shared: &Shared<P>,
    head: RequestHead<'_>,
    body: Body,
    limit: u32,
) -> Result<Received, ApiError> {
    receive_from(shared, || claim(shared, head.headers), head, body, limit).await
}

/// [`receive`], from whom `claim` says.
pub async fn receive_from<'a, P>(
    shared: &Shared<P>,
    claim: impl FnOnce() -> Result<Claim<'a>, ApiError>,
    head: RequestHead<'_>,
    body: Body,
    limit: u32,
) -> Result<Received, ApiError> {
    if shared.is_draining() {
        return Err(ApiError::Unavailable(Unavailable::Draining));
    }
    let coding = inflate::coding(head.headers)?;
    let claim = claim()?;
    // A declared length above the limit is refused before a byte is read.
    if body.size_hint().lower() > u64::from(limit) {
        return Err(ApiError::BodyTooLarge(limit));
    }
    let is_signed = matches!(claim, Claim::Signed(_));
    let read = tokio::time::timeout(shared.limits.body_deadline, read(shared, &claim, body, limit)).await;
    let Read { raw, principal, mut admitted } = read.map_err(|_elapsed| ApiError::BodyTimeout)??;
    charge(&principal, &raw)?;
    let bytes = match coding {
        None => raw,
        // It may become as large as allowed.
        Some(_) if !admitted.grow(limit) => return Err(TOO_MANY),
        Some(coding) => inflate::inflate(coding, &raw, limit)?,
    };
    admitted.shrink_to(u32::try_from(bytes.len()).unwrap_or(limit));
    let (trace_parent, span) = trace(shared, head);
    let request_id = Some(head.request_id.clone());
    let envelope = Envelope { received_at: now(), request_id, trace_parent };
    Ok(Received { bytes, principal, is_signed, envelope, span, admitted: Arc::new(admitted) })
}

/// The parent of what follows from the request: its own span, or, without one, what its sender named.
fn trace<P>(shared: &Shared<P>, head: RequestHead<'_>) -> (Option<TraceParent>, Option<Span>) {
    let RequestHead { route, request_id, headers } = head;
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let Some(parent) = parent.and_then(|value| TraceParent::parse(value).ok()) else {
        return (None, None);
    };
    let mut span = shared.spans.serve(parent.as_str(), format!("POST {route}"), unix_time());
    if let Some(span) = &mut span {
        span.set("telex.request_id", request_id.to_string());
    }
    let own = span.as_ref().and_then(|span| TraceParent::parse(span.trace_parent()).ok());
    (Some(own.unwrap_or(parent)), span)
}

/// Who sent the request, as far as its head tells.
fn claim<'a, P>(shared: &Shared<P>, headers: &'a HeaderMap) -> Result<Claim<'a>, ApiError> {
    let Some(producers) = &shared.producers else {
        return Ok(Claim::Proven(Principal::Anybody));
    };
    let claim = producers.current().claim(headers, unix_time().as_secs());
    claim.map_err(|refused| unauthorized(shared, refused.as_str()))
}

/// Counts a request of which it is not known who sent it; `cause` is for the metric.
pub fn unauthorized<P>(shared: &Shared<P>, cause: &'static str) -> ApiError {
    shared.metrics.ingest_authentication_failures_total.with_label_values(&[cause]).inc();
    tracing::debug!(cause, "not authenticated");
    ApiError::Unauthorized
}

/// Whether its sender may send that much: a request is one message at least.
fn charge(principal: &Principal, raw: &[u8]) -> Result<(), ApiError> {
    principal.count_bytes(raw.len() as u64);
    let bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    principal.take(Cost { messages: 1, bytes }, Instant::now())
}

/// A body of which it is known who sent it.
struct Read {
    raw: Bytes,
    principal: Principal,
    admitted: Admitted,
}

/// Reads a body to its end, and asks it who sent it where the head did not tell.
async fn read<P>(shared: &Shared<P>, claim: &Claim<'_>, body: Body, limit: u32) -> Result<Read, ApiError> {
    let whole = |raw: &Bytes| shared.metrics.ingest_body_bytes_total.inc_by(raw.len() as u64);
    match claim {
        Claim::Proven(principal) => {
            let mut admitted = shared.admission.admit(0).ok_or(TOO_MANY)?;
            let raw = collect(body, limit, |bytes| {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                if admitted.grow(bytes) { Ok(()) } else { Err(TOO_MANY) }
            });
            let raw = raw.await.inspect(whole)?;
            Ok(Read { raw, principal: principal.clone(), admitted })
        }
        Claim::Signed(_) | Claim::Hooked(_) => {
            let (stay, evicted) = shared.admission.unproven.enter(claim.name());
            let raw = tokio::select! {
                biased;
                raw = collect(body, limit, |bytes| { stay.grow(bytes); Ok(()) }) => raw.inspect(whole)?,
                _ = evicted => return Err(TOO_MANY),
            };
            let principal = claim.prove(&raw).map_err(|refused| unauthorized(shared, refused.as_str()))?;
            let bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
            let admitted = shared.admission.admit(bytes).ok_or(TOO_MANY)?;
            Ok(Read { raw, principal, admitted })
        }
    }
}

/// A body's bytes, each counted by `grow` when it has come. What is declared does not count: a sender that
/// declares much and sends nothing takes nothing away from the others.
async fn collect(
    body: Body,
    limit: u32,
    mut grow: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let mut frames = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let mut whole = BytesMut::new();
    while let Some(frame) = frames.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => ApiError::BodyTooLarge(limit),
            false => ApiError::BodyBroken,
        })?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        grow(data.len())?;
        // Nearly all bodies are there in one piece, which needs no copy.
        if whole.is_empty() && frames.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The time that is written on what comes now.
pub fn now() -> Timestamp {
    i64::try_from(unix_time().as_micros()).ok().and_then(Timestamp::from_micros).unwrap_or(Timestamp::EPOCH)
}
