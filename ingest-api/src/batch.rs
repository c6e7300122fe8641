//! `POST /v1/messages/batch`: a result for each message, in the order of the request.
//!
//! The messages of one client enter the queue in their order, and once one of them could not, the client's
//! later ones in the request are refused as well (pitfalls 32): sent again together, they still arrive in
//! order. A message that can never be taken has no place in that order, and costs the others nothing.
//! Behind the queue the idempotent producer keeps the order, up to a record that it gives up.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Extension, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use schemas::{ClientId, Posted, RequestId, Warning, batch, record};
use serde::Serialize;
use service_kit::spans::Span;
use tokio::time::Instant;

use crate::{
    content_type::content_type,
    error::{ApiError, Code, Unavailable},
    keep::{Coordinates, Warned},
    media::Media,
    producers::{Outcome, Principal},
    publish::{self, Acknowledgement, Publish},
    rate::Cost,
    receive::{Received, RequestHead, receive},
    state::Shared,
};

/// The route.
pub const PATH: &str = "/v1/messages/batch";

/// What the body may be.
pub const MEDIA: &[Media] = &[Media::Json, Media::Ndjson];

/// The code of the answer 207, for the metric.
const PARTLY_ACCEPTED: &str = "partly_accepted";

/// The answer: 202 if every message was taken, 207 if not.
#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<ItemResult<'a>>,
    request_id: &'a str,
}

/// What became of one message: the status and the fields that its own request would have been answered with.
#[derive(Serialize)]
struct ItemResult<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(flatten)]
    outcome: ItemOutcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemOutcome<'a> {
    Taken {
        record: Coordinates<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<Warned>,
    },
    Refused {
        code: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pointer: Option<String>,
    },
}

/// A message on its way, or the reason why not.
struct Item {
    /// `None`: it is no message.
    client_id: Option<ClientId>,
    warnings: Vec<Warning>,
    enqueued: Result<Acknowledgement, ApiError>,
}

pub async fn post<P: Publish>(
    State(shared): State<Arc<Shared<P>>>,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let (principal, _until_answered, items) = take(&shared, &request_id, request).await?;
    Ok(answer(&shared, &request_id, &principal, items).await)
}

/// From bytes to records in the queue. Whoever waits for Kafka afterwards holds no body.
async fn take<P: Publish>(
    shared: &Shared<P>,
    request_id: &RequestId,
    request: Request,
) -> Result<(Principal, Option<Span>, Vec<Item>), ApiError> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let media = content_type(&headers, MEDIA)?;
    let limit = shared.limits.batch_bytes_max;
    let head = RequestHead { route: PATH, request_id, headers: &headers };
    let received = receive(shared, head, body, limit).await?;
    let items = match media {
        Media::Json => batch::json_array(&received.bytes),
        Media::Ndjson => batch::ndjson(&received.bytes),
    };
    let items = items.map_err(ApiError::Invalid)?;
    // The first one is paid for with the request.
    let more = u32::try_from(items.len()).unwrap_or(u32::MAX).saturating_sub(1);
    received.principal.take(Cost { messages: more, bytes: 0 }, std::time::Instant::now())?;
    let enqueued = enqueue(shared, &received, &items);
    Ok((received.principal, received.span, enqueued))
}

fn enqueue<P: Publish>(shared: &Shared<P>, received: &Received, items: &[&[u8]]) -> Vec<Item> {
    let mut refused: HashMap<ClientId, Unavailable> = HashMap::new();
    let enqueue_one = |item: &&[u8]| {
        let Posted { message, others, warnings } = match parse(shared, received, item) {
            Ok(posted) => posted,
            Err(error) => return Item { client_id: None, warnings: Vec::new(), enqueued: Err(error) },
        };
        let client_id = message.client_id();
        let enqueued = match refused.get(&client_id) {
            Some(&unavailable) => Err(ApiError::Unavailable(unavailable)),
            None => {
                let record = record::encode_message(&message, &others, &received.envelope);
                shared.enqueue(client_id, record, Arc::clone(&received.admitted))
            }
        };
        if let Err(ApiError::Unavailable(unavailable)) = enqueued {
            refused.insert(client_id, unavailable);
        }
        Item { client_id: Some(client_id), warnings, enqueued }
    };
    items.iter().map(enqueue_one).collect()
}

fn parse<'a, P>(shared: &Shared<P>, received: &Received, item: &'a [u8]) -> Result<Posted<'a>, ApiError> {
    let limit = shared.limits.body_bytes_max;
    if item.len() as u64 > u64::from(limit) {
        return Err(ApiError::ItemTooLarge(limit));
    }
    let posted = Posted::parse(item, received.envelope.received_at).map_err(ApiError::Invalid)?;
    received.principal.may_write(posted.message.external_client_id())?;
    Ok(posted)
}

/// Waits for the brokers' answers, all under one deadline.
async fn answer<P: Publish>(
    shared: &Shared<P>,
    request_id: &RequestId,
    principal: &Principal,
    items: Vec<Item>,
) -> Response {
    let deadline = Instant::now() + shared.limits.ack_deadline;
    let mut results = Vec::with_capacity(items.len());
    let (mut taken, mut retry_after) = (0_usize, None);
    for Item { client_id, warnings, enqueued } in items {
        let delivered = match enqueued {
            Ok(acknowledgement) => publish::acknowledged(acknowledgement, deadline).await,
            Err(error) => Err(error),
        };
        principal.count(Outcome::of(&delivered), 1);
        let (status, code, outcome) = match delivered {
            Ok(delivered) => {
                taken += 1;
                let record = shared.coordinates(delivered);
                (
                    StatusCode::ACCEPTED,
                    "accepted",
                    ItemOutcome::Taken { record, warnings: shared.warn(warnings) },
                )
            }
            Err(error) => {
                retry_after = retry_after.max(error.retry_after_seconds());
                (error.status(), error.code(), ItemOutcome::from(error))
            }
        };
        shared.metrics.ingest_batch_items_total.with_label_values(&[code]).inc();
        results.push(ItemResult {
            status: status.as_u16(),
            client_id: client_id.map(ClientId::key),
            outcome,
        });
    }
    let request_id = request_id.as_str();
    tracing::debug!(request_id, taken, refused = results.len() - taken, "batch answered");
    let all_taken = taken == results.len();
    let answer = Json(Answer { results, request_id });
    if all_taken {
        return (StatusCode::ACCEPTED, answer).into_response();
    }
    let mut response = (StatusCode::MULTI_STATUS, answer).into_response();
    response.extensions_mut().insert(Code(PARTLY_ACCEPTED));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl From<ApiError> for ItemOutcome<'_> {
    fn from(error: ApiError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        Self::Refused { code, detail, pointer: error.into_pointer() }
    }
}
