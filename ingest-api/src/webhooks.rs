//! `POST /v1/hooks/{name}`: a provider's webhook, as the provider sends it. The hook of that name says who it is
//! from, which messages it holds and what is answered.
//!
//! An item that can never be a message goes to the quarantine, and costs its neighbours nothing. The provider's success
//! means that every item lies in one topic or the other. The messages enter the queue in their order; once
//! one could not, none of the later ones does: the provider sends all of it again, and it still arrives in order.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, Path, State},
    http::{HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use hooks::{Item, Reading, Request, decode::BodyKind, description::Answer, reading::Bad, signature::Head};
use schemas::{ExternalClientId, Others, Quarantined, RequestId, record};
use service_kit::clock::unix_time;
use tokio::time::Instant;

use crate::{
    error::{ApiError, Code},
    producers::{
        Claim, Outcome, Principal, ProducerHook,
        hook::{HookClaim, ItemResult},
    },
    publish::{self, Acknowledgement, Destination, Publish},
    rate::Cost,
    receive::{Received, RequestHead, receive_from, unauthorized},
    state::Shared,
};

/// What the paths begin with.
pub const PREFIX: &str = "/v1/hooks/";

/// The route.
pub const PATH: &str = "/v1/hooks/{name}";

/// The same, with a secret behind it, for providers that can do nothing else.
pub const PATH_WITH_SECRET: &str = "/v1/hooks/{name}/{secret}";

/// Of a body: whatever it holds, it can be quarantined.
pub const BODY_BYTES_MAX: u32 = 1024 * 1024;

/// An item in the queue.
struct Queued {
    acknowledgement: Acknowledgement,
    result: ItemResult,
}

/// What the path holds.
type Segments = Path<Vec<(String, String)>>;

/// A webhook; by GET, a provider that looks whether the URL is ours, or one that sends its messages in the query.
pub async fn answer<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    segments: Segments,
    request: axum::extract::Request,
) -> Response {
    let Some((hook, secret)) = named(&shared, &segments) else {
        return ApiError::NotFound.into_response();
    };
    let (Parts { method, uri, headers, .. }, body) = request.into_parts();
    let url = url(&shared, &uri);
    let request = Request { headers: &headers, url: &url, path_secret: secret, now: unix_time().as_secs() };
    let body = match method {
        Method::POST => body,
        _ if hook.hook.kind() == BodyKind::Query => Body::empty(),
        _ => {
            return match hook.hook.verify(&request) {
                Some(echo) => ([(header::CONTENT_TYPE, "text/plain")], echo).into_response(),
                None => unauthorized(&shared, "verify_token").into_response(),
            };
        }
    };
    let kept = keep(&shared, &hook, request, &request_id, body).await;
    respond(hook.hook.answer(), kept)
}

/// The hook that the path names, and the secret behind it.
fn named<'a, P>(shared: &Shared<P>, segments: &'a Segments) -> Option<(Arc<ProducerHook>, Option<&'a str>)> {
    let segment = |name: &str| segments.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let producers = shared.producers.as_ref()?.current();
    Some((Arc::clone(producers.hook(segment("name")?)?), segment("secret")))
}

/// As the provider knows it: what is behind the host comes through proxies unchanged.
fn url<P>(shared: &Shared<P>, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    format!("{}{path}", shared.public_url.as_deref().unwrap_or_default())
}

/// Everything is in one topic or the other once this has come to its end.
async fn keep<P: Publish>(
    shared: &Shared<P>,
    hook: &Arc<ProducerHook>,
    request: Request<'_>,
    request_id: &RequestId,
    body: Body,
) -> Result<(), ApiError> {
    let limit = shared.limits.batch_bytes_max.min(BODY_BYTES_MAX);
    let claim = || claim(shared, hook, request);
    let head = RequestHead { route: PATH, request_id, headers: request.headers };
    let mut received = receive_from(shared, claim, head, body, limit).await?;
    let may_write = |source: &ExternalClientId| received.principal.may_write(source).is_ok();
    let reading = hook.hook.read(&request, &received.bytes, received.envelope.received_at, &may_write);
    // Whoever waits for Kafka holds no body.
    received.bytes = axum::body::Bytes::new();
    let Reading { items, skipped } = reading.map_err(|unreadable| ApiError::Unreadable(unreadable.0))?;
    hook.count_skipped(&skipped);
    tracing::debug!(hook = hook.name, items = items.len(), ?skipped, "webhook read");
    // The first one is paid for with the request.
    let more = u32::try_from(items.len()).unwrap_or(u32::MAX).saturating_sub(1);
    received.principal.take(Cost { messages: more, bytes: 0 }, std::time::Instant::now())?;
    let deadline = Instant::now() + deadline(shared, hook.hook.answer());
    let queued = enqueue(shared, hook, &received, request_id, items);
    let kept = match queued {
        Ok(queued) => acknowledged(hook, &received.principal, queued, deadline).await,
        Err(error) => Err(error),
    };
    if kept.is_err() {
        hook.count(ItemResult::Unavailable, 1);
        received.principal.count(Outcome::of(&kept), 1);
    }
    kept
}

/// From whom the request is, as far as its head tells.
fn claim<'a, P>(
    shared: &Shared<P>,
    hook: &Arc<ProducerHook>,
    request: Request<'a>,
) -> Result<Claim<'a>, ApiError> {
    match hook.hook.signer().head(&request) {
        Ok(Head::Proven) => Ok(Claim::Proven(Principal::Producer(Arc::clone(&hook.producer)))),
        Ok(Head::NeedsBody) => Ok(Claim::Hooked(HookClaim { hook: Arc::clone(hook), request })),
        Err(refused) => Err(unauthorized(shared, refused.as_str())),
    }
}

/// Within what the provider waits, and within what this service waits for Kafka.
fn deadline<P>(shared: &Shared<P>, answer: &Answer) -> std::time::Duration {
    let own = answer.deadline_ms.map(std::time::Duration::from_millis);
    own.map_or(shared.limits.ack_deadline, |own| own.min(shared.limits.ack_deadline))
}

/// Puts every item into the queue, up to the first that cannot enter it.
fn enqueue<P: Publish>(
    shared: &Shared<P>,
    hook: &ProducerHook,
    received: &Received,
    request_id: &RequestId,
    items: Vec<Item>,
) -> Result<Vec<Queued>, ApiError> {
    let mut queued = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        queued.push(match item {
            Item::Message { message, warnings, is_time_unreadable } => {
                let _answered = shared.warn(warnings);
                if is_time_unreadable {
                    hook.count_unreadable_time();
                }
                let record = record::encode_message(&message, &Others::default(), &received.envelope);
                let admitted = Arc::clone(&received.admitted);
                let acknowledgement = shared.enqueue(message.client_id(), record, admitted)?;
                Queued { acknowledgement, result: ItemResult::Kept }
            }
            Item::Bad(bad) => {
                let record = quarantined(hook, received, request_id, index, bad).encode();
                let admitted = Arc::clone(&received.admitted);
                let acknowledgement =
                    shared.publisher.enqueue(record, Destination::Quarantine, Some(admitted))?;
                Queued { acknowledgement, result: ItemResult::Quarantined }
            }
        });
    }
    Ok(queued)
}

fn quarantined(
    hook: &ProducerHook,
    received: &Received,
    request_id: &RequestId,
    item: usize,
    bad: Bad,
) -> Quarantined {
    let Bad { reason, client_id, document } = bad;
    Quarantined {
        client_id,
        hook: hook.name.clone(),
        producer: hook.producer.name.clone(),
        reason: reason.as_str().to_owned(),
        detail: reason.detail(),
        document: document.into_bytes(),
        content_type: hook.hook.kind().media_type().to_owned(),
        received_at: received.envelope.received_at,
        request_id: request_id.clone(),
        item,
    }
}

/// Waits for the brokers' answers, all under one deadline.
async fn acknowledged(
    hook: &ProducerHook,
    principal: &Principal,
    queued: Vec<Queued>,
    deadline: Instant,
) -> Result<(), ApiError> {
    for Queued { acknowledgement, result } in queued {
        publish::acknowledged(acknowledgement, deadline).await?;
        hook.count(result, 1);
        let outcome = if result == ItemResult::Kept { Outcome::Accepted } else { Outcome::Refused };
        principal.count(outcome, 1);
    }
    Ok(())
}

/// What the provider wants to be answered. Where it is to try again, it gets a status on which it does, and no
/// body, since some send it on to the customer.
fn respond(answer: &Answer, kept: Result<(), ApiError>) -> Response {
    let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let error = match kept {
        Ok(()) => {
            let mut response = (status(answer.status), answer.body.clone()).into_response();
            let content_type = answer.content_type.as_deref().and_then(|it| HeaderValue::from_str(it).ok());
            match content_type {
                Some(content_type) => drop(response.headers_mut().insert(header::CONTENT_TYPE, content_type)),
                None => drop(response.headers_mut().remove(header::CONTENT_TYPE)),
            }
            return response;
        }
        Err(error) => error,
    };
    let code = match error {
        // A body that did not come, or not whole, says nothing of the next one.
        ApiError::Unavailable(_) | ApiError::BodyTimeout | ApiError::BodyBroken => answer.try_again,
        ApiError::RateLimited { .. } => answer.too_many,
        _ => return error.into_response(),
    };
    let mut response = status(code).into_response();
    response.extensions_mut().insert(Code(error.code()));
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
