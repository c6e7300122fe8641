//! The routes, and what every request gets: an id, an answer that carries it, a place in the metrics.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use schemas::RequestId;
use service_kit::prometheus::IntCounter;
use tracing::Instrument as _;

use crate::{
    access_log::{Answered, OTHER},
    batch, dialog_close, docs,
    error::{ApiError, Code},
    heads::Flaw,
    messages,
    metrics::Metrics,
    publish::Publish,
    state::Shared,
    webhooks,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The code of a 202, for the metric.
const ACCEPTED: &str = "accepted";

const URI_BYTES_MAX: usize = 2_048;
/// Some providers send a message in the query: a long one in letters beyond Latin ones, percent-encoded.
const WEBHOOK_URI_BYTES_MAX: usize = 8_192;

pub fn router<P: Publish>(shared: Arc<Shared<P>>) -> Router {
    Router::new()
        .route(messages::PATH, post(messages::post::<P>))
        .route(batch::PATH, post(batch::post::<P>))
        .route(dialog_close::PATH, post(dialog_close::post::<P>))
        .route(webhooks::PATH, post(webhooks::answer::<P>).get(webhooks::answer::<P>))
        .route(webhooks::PATH_WITH_SECRET, post(webhooks::answer::<P>).get(webhooks::answer::<P>))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .route("/docs/page.css", get(docs::style))
        .route("/docs/page.js", get(docs::script))
        .fallback(|| async { ApiError::NotFound })
        // axum adds `allow`.
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), tag::<P>))
        .with_state(shared)
}

/// The counter of what nearly all requests are: messages that are kept.
pub fn messages_accepted(metrics: &Metrics) -> IntCounter {
    let labels = [messages::PATH, StatusCode::ACCEPTED.as_str(), ACCEPTED];
    metrics.ingest_requests_total.with_label_values(&labels)
}

/// Gives the request an id.
async fn tag<P: Publish>(State(shared): State<Arc<Shared<P>>>, mut request: Request, next: Next) -> Response {
    let since = Instant::now();
    let (id, id_header) = request_id(request.headers());
    // A path of ours as it was declared, never as it was sent: a label has few values.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match refusal(&request) {
        Some(error) => error.into_response(),
        None => {
            request.extensions_mut().insert(id.clone());
            // All lines within a request are of this level; above it, a span costs more than the request's JSON.
            let span = tracing::debug_span!("request", request_id = id.as_str());
            next.run(request).instrument(span).await
        }
    };
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        response = error.render(id.as_str(), std::mem::take(response.headers_mut()));
    }
    response.headers_mut().insert(REQUEST_ID, id_header);
    let status = response.status();
    let success = if status == StatusCode::ACCEPTED { ACCEPTED } else { "ok" };
    let code = response.extensions().get::<Code>().map_or(success, |code| code.0);
    let route = route.as_ref().map_or(OTHER, MatchedPath::as_str);
    match (route, status, code) {
        (messages::PATH, StatusCode::ACCEPTED, ACCEPTED) => shared.messages_accepted.inc(),
        _ => shared.metrics.ingest_requests_total.with_label_values(&[route, status.as_str(), code]).inc(),
    }
    let took = since.elapsed();
    shared.metrics.ingest_request_seconds.observe(took.as_secs_f64());
    shared.access_log.answered(Answered { request_id: id.as_str(), route, status, code, took });
    response
}

/// What is wrong with a request's head, whatever it asks for.
fn refusal(request: &Request) -> Option<ApiError> {
    match request.extensions().get::<Flaw>() {
        Some(Flaw::AmbiguousLength) => return Some(ApiError::AmbiguousLength),
        Some(Flaw::TooLarge) => return Some(ApiError::HeadTooLarge),
        None => {}
    }
    let length = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    let is_webhook = request.uri().path().starts_with(webhooks::PREFIX);
    let length_max = if is_webhook { WEBHOOK_URI_BYTES_MAX } else { URI_BYTES_MAX };
    (length > length_max).then_some(ApiError::UriTooLong)
}

/// A request's id, and the header that tells it: its own, if it has a valid one.
fn request_id(headers: &HeaderMap) -> (RequestId, HeaderValue) {
    let own = headers.get(REQUEST_ID).and_then(|value| {
        let id = RequestId::parse(value.to_str().ok()?).ok()?;
        Some((id, value.clone()))
    });
    own.unwrap_or_else(new_id)
}

/// UUIDv7: ids of later requests sort later.
#[expect(clippy::disallowed_methods, reason = "the id of an attempt, not of anything in a row's key")]
#[expect(clippy::expect_used, reason = "a UUID's text is a valid request id, and may stand in a header")]
pub fn new_id() -> (RequestId, HeaderValue) {
    let text = uuid::Uuid::now_v7().to_string();
    let header = HeaderValue::from_str(&text).expect("a UUID may stand in a header");
    (RequestId::parse(text).expect("a UUID is a request id"), header)
}
