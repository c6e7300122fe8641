//! The routes, and what every request gets: an id, an answer that carries it, a place in the metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::{self, Next},
    response::Response,
    routing::post,
};
use schemas::{PartitionCount, RequestId};

use crate::{
    admission::Admission,
    config::Limits,
    error::{ApiError, Code},
    messages,
    metrics::Metrics,
    publish::Publish,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const URI_BYTES_MAX: usize = 2_048;

/// What the handlers share.
pub struct Shared<P> {
    /// Keeps records.
    pub publisher: P,
    /// The topic's name, for the answer.
    pub topic: String,
    /// Over how many partitions keys are spread.
    pub partition_count: PartitionCount,
    /// Counts what is in flight.
    pub admission: Admission,
    /// How much at once, and how long.
    pub limits: Limits,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The process stops.
    pub draining: AtomicBool,
}

impl<P> Shared<P> {
    /// Whether new requests are refused because the process stops.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// All routes.
pub fn router<P: Publish>(shared: Arc<Shared<P>>) -> Router {
    Router::new()
        .route("/v1/messages", post(messages::post::<P>))
        .fallback(|request: Request| async move { ApiError::NotFound.into_response(id_of(&request).as_str()) })
        .method_not_allowed_fallback(|request: Request| async move {
            let mut response = ApiError::MethodNotAllowed.into_response(id_of(&request).as_str());
            response.headers_mut().insert(axum::http::header::ALLOW, HeaderValue::from_static("POST"));
            response
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), tag::<P>))
        .with_state(shared)
}

/// Gives the request an id: its own, if it has a valid one.
async fn tag<P: Publish>(State(shared): State<Arc<Shared<P>>>, mut request: Request, next: Next) -> Response {
    let since = Instant::now();
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| RequestId::parse(value).ok())
        .unwrap_or_else(new_id);
    let is_known = request.extensions().get::<MatchedPath>().is_some();
    let mut response = if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > URI_BYTES_MAX) {
        ApiError::UriTooLong.into_response(id.as_str())
    } else {
        request.extensions_mut().insert(id.clone());
        next.run(request).await
    };
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let code = response.extensions().get::<Code>().map_or("accepted", |code| code.0);
    let status = response.status();
    let route = if is_known { "/v1/messages" } else { "other" };
    shared.metrics.ingest_requests_total.with_label_values(&[route, status.as_str(), code]).inc();
    shared.metrics.ingest_request_seconds.observe(since.elapsed().as_secs_f64());
    if !status.is_success() {
        tracing::debug!(request_id = id.as_str(), status = status.as_u16(), code, "request refused");
    }
    response
}

fn id_of(request: &Request) -> RequestId {
    request.extensions().get().cloned().unwrap_or_else(new_id)
}

/// UUIDv7: ids of later requests sort later.
#[expect(clippy::disallowed_methods, reason = "the id of an attempt, not of anything in a row's key")]
#[expect(clippy::expect_used, reason = "a UUID's text is a valid request id")]
fn new_id() -> RequestId {
    RequestId::parse(uuid::Uuid::now_v7().to_string()).expect("a UUID is a request id")
}
