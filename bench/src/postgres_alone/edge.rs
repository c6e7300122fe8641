//! The same edge: HTTP by the same libraries, the same checks, the same answers. A 202 names the place of the row,
//! whose transaction has been committed. No signatures, no limits of producers, no deadlines of connections.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use schemas::{InvalidReason, Posted, Timestamp};
use serde::Serialize;

use super::{
    log::{self, Row},
    writer::Queues,
};

/// As long as the ingest API waits for Kafka by default.
const ACK_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Kept<'a> {
    client_id: String,
    record: Record,
    request_id: &'a str,
}

/// Called as the load tester knows it.
#[derive(Serialize)]
struct Record {
    topic: &'static str,
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
}

pub fn router(queues: Queues) -> Router {
    Router::new().route("/v1/messages", post(take)).with_state(queues)
}

async fn take(State(queues): State<Queues>, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let Some(row) = read(&body, request_id) else {
        return unavailable("clock");
    };
    let row = match row {
        Ok(row) => row,
        Err(InvalidReason::MalformedJson) => return problem(StatusCode::BAD_REQUEST, "malformed_json"),
        Err(reason) => return problem(StatusCode::UNPROCESSABLE_ENTITY, reason.as_str()),
    };
    let (client_id, partition) = (row.message.client_id().key(), row.slot);
    let Some(place) = queues.put(row) else {
        return unavailable("queue_full");
    };
    match tokio::time::timeout(ACK_DEADLINE, place).await {
        Ok(Ok(Some(offset))) => {
            let record = Record { topic: "log", partition, offset };
            (StatusCode::ACCEPTED, Json(Kept { client_id, record, request_id })).into_response()
        }
        Ok(Ok(None) | Err(_)) | Err(_) => unavailable("database"),
    }
}

/// A valid message as a row, or the rule that it breaks; nothing if the clock is far off.
fn read(body: &[u8], request_id: &str) -> Option<Result<Row, InvalidReason>> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros()).ok()?;
    let received_at = Timestamp::from_micros(micros)?;
    let message = match Posted::parse(body, received_at) {
        Ok(posted) => posted.message,
        Err(invalid) => return Some(Err(invalid.reason)),
    };
    let slot = log::slot(&message).ok()?;
    let request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
    Some(Ok(Row { slot, message, received_at: received_at.to_utc(), request_id }))
}

fn problem(status: StatusCode, code: &str) -> Response {
    (status, Json(Problem { code })).into_response()
}

/// It is not known whether the message is kept: it may be sent again.
fn unavailable(code: &str) -> Response {
    ([("retry-after", "1")], problem(StatusCode::SERVICE_UNAVAILABLE, code)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_a_row_and_what_breaks_a_rule_none() {
        let body = br#"{"external_client_id":"client1","client_phone":"+70000000001",
                        "external_message_id":"m1","text":"hello"}"#;
        let row = read(body, "r-1").unwrap().unwrap();
        assert!((0..log::SLOTS).contains(&row.slot));
        assert_eq!(row.request_id.as_deref(), Some("r-1"));
        assert_eq!(read(b"{", "").unwrap().unwrap_err(), InvalidReason::MalformedJson);
        assert!(read(b"{}", "").unwrap().is_err());
    }
}
