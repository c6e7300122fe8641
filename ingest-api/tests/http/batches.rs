//! Batches: a result for each item, in order; one bad item never costs the others; the order of a client
//! is never broken.

use axum::http::StatusCode;
use ingest_api::error::{ApiError, Unavailable};
use rstest::rstest;
use schemas::EncodedRecord;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, BATCH, Fate, message, request, with};

async fn post_lines(api: &Api, lines: &[String]) -> Answer {
    api.send(request(BATCH, "application/x-ndjson", lines.join("\n"))).await
}

/// Status and code of each result; the code of what was kept is `-`.
#[track_caller]
fn assert_results(answer: &Answer, expected: &[(u64, &str)]) {
    let body = answer.json();
    let results = body["results"].as_array().unwrap().iter();
    let results =
        results.map(|item| (item["status"].as_u64().unwrap(), item["code"].as_str().unwrap_or("-")));
    assert_eq!(results.collect::<Vec<_>>(), expected);
}

fn id_of(record: &EncodedRecord) -> String {
    let value: Value = serde_json::from_slice(&record.value).unwrap();
    value["external_message_id"].as_str().unwrap().to_owned()
}

fn ids(api: &Api) -> Vec<String> {
    api.records().iter().map(|(record, _)| id_of(record)).collect()
}

#[tokio::test]
async fn a_batch_is_kept_in_order_whether_it_is_an_array_or_lines() {
    let messages: Vec<Value> =
        (0..1_000).map(|n| message(&format!("shop-{}", n % 7), &format!("m-{n}"))).collect();
    let array = Api::new();
    let of_array = array.post(BATCH, json!(messages).to_string()).await;
    let lines = Api::new();
    let of_lines = post_lines(&lines, &messages.iter().map(Value::to_string).collect::<Vec<_>>()).await;
    for (api, answer) in [(&array, &of_array), (&lines, &of_lines)] {
        assert_eq!(answer.status, 202);
        assert_eq!(ids(api), (0..1_000).map(|n| format!("m-{n}")).collect::<Vec<_>>());
        let body = answer.json();
        let records = api.records();
        for (at, (result, (record, partition))) in
            body["results"].as_array().unwrap().iter().zip(&records).enumerate()
        {
            let record_at = json!({ "topic": "telex.messages", "partition": partition.0, "offset": at });
            assert_eq!(*result, json!({ "status": 202, "client_id": record.key, "record": record_at }));
        }
        assert_eq!(api.shared.metrics.ingest_batch_items_total.with_label_values(&["accepted"]).get(), 1_000);
        assert_eq!(api.answered(BATCH, StatusCode::ACCEPTED, "accepted"), 1);
        assert_eq!(api.shared.metrics.ingest_bytes_in_flight.get(), 0);
    }
}

#[tokio::test]
async fn one_bad_item_never_costs_the_others() {
    let too_large = with("extra", "x".repeat(64 * 1024));
    let lines = [
        message("shop", "m-1").to_string(),
        "{broken SECRET".to_owned(),
        with("client_phone", "SECRET"),
        message("shop", "m-2").to_string(),
        too_large,
        "7".to_owned(),
        message("shop", "m-3").to_string(),
    ];
    let api = Api::new();
    let answer = post_lines(&api, &lines).await;
    assert_eq!(answer.status, 207);
    let expected = [
        (202, "-"),
        (400, "malformed_json"),
        (422, "phone_not_e164"),
        (202, "-"),
        (413, "item_too_large"),
        (422, "wrong_type"),
        (202, "-"),
    ];
    assert_results(&answer, &expected);
    assert_eq!(answer.json()["results"][2]["pointer"], "/client_phone");
    assert_eq!(answer.header("retry-after"), None);
    assert!(!answer.text.contains("SECRET"));
    assert_eq!(ids(&api), ["m-1", "m-2", "m-3"]);
    assert_eq!(api.answered(BATCH, StatusCode::MULTI_STATUS, "partly_accepted"), 1);
}

#[tokio::test]
async fn an_item_of_an_array_is_refused_alone_where_the_array_itself_is_json() {
    let api = Api::new();
    let body = format!(r#"[{},{{"external_client_id":"\ud800"}},null]"#, message("shop", "m-1"));
    let answer = api.post(BATCH, body).await;
    assert_eq!(answer.status, 207);
    assert_results(&answer, &[(202, "-"), (422, "lone_surrogate"), (422, "wrong_type")]);
}

#[rstest]
#[case::broken("[{]", 400, "malformed_json")]
#[case::no_array("{}", 422, "wrong_type")]
#[case::empty("[]", 422, "empty")]
#[case::too_many(&format!("[{}7]", "7,".repeat(1_000)), 422, "too_long")]
#[tokio::test]
async fn what_is_no_batch_is_refused_as_a_whole(#[case] body: &str, #[case] status: u16, #[case] code: &str) {
    let api = Api::new();
    api.assert_refused(&api.post(BATCH, body.to_owned()).await, status, code);
}

#[rstest]
#[case::none("\n \r\n", "empty")]
#[case::too_many(&"7\n".repeat(1_001), "too_long")]
#[tokio::test]
async fn lines_that_are_no_batch_are_refused_as_a_whole(#[case] body: &str, #[case] code: &str) {
    let api = Api::new();
    api.assert_refused(&api.send(request(BATCH, "application/x-ndjson", body.to_owned())).await, 422, code);
}

/// Pitfall 32: a message must never be kept behind one of its client that was refused for now.
#[tokio::test]
async fn once_a_message_cannot_be_enqueued_its_clients_later_ones_are_refused_too() {
    let full = |record: &EncodedRecord| match id_of(record).as_str() {
        "a-2" => Fate::Refused(ApiError::Unavailable(Unavailable::QueueFull)),
        _ => Fate::Kept,
    };
    let api = Api::with(&[], full);
    let batch =
        [("a", "a-1"), ("b", "b-1"), ("a", "a-2"), ("a", "a-3"), ("b", "b-2"), ("a", "a-4"), ("c", "c-1")];
    let batch: Vec<Value> = batch.iter().map(|(client, id)| message(client, id)).collect();
    let answer = api.post(BATCH, json!(batch).to_string()).await;
    assert_eq!(answer.status, 207);
    let full = (503, "queue_full");
    assert_results(&answer, &[(202, "-"), (202, "-"), full, full, (202, "-"), full, (202, "-")]);
    assert_eq!(ids(&api), ["a-1", "b-1", "b-2", "c-1"]);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let refused = &answer.json()["results"][3];
    assert_eq!(refused["code"], "queue_full");
    assert_eq!(refused["client_id"], answer.json()["results"][0]["client_id"]);
}

#[tokio::test]
async fn a_message_that_is_refused_for_good_does_not_hold_up_its_client() {
    let too_large = |record: &EncodedRecord| match id_of(record).as_str() {
        "a-1" => Fate::Refused(ApiError::RecordTooLarge),
        _ => Fate::Kept,
    };
    let api = Api::with(&[], too_large);
    let answer = api.post(BATCH, json!([message("a", "a-1"), message("a", "a-2")]).to_string()).await;
    assert_results(&answer, &[(413, "record_too_large"), (202, "-")]);
}

#[tokio::test]
async fn an_answer_that_does_not_come_costs_its_own_item_only() {
    let silent = |record: &EncodedRecord| match id_of(record).as_str() {
        "a-1" => Fate::Unanswered,
        "b-1" => Fate::Failed(ApiError::Unavailable(Unavailable::Kafka)),
        _ => Fate::Kept,
    };
    let api = Api::with(&["--ack-deadline-ms=50"], silent);
    let batch = json!([message("a", "a-1"), message("b", "b-1"), message("c", "c-1")]);
    let answer = api.post(BATCH, batch.to_string()).await;
    assert_eq!(answer.status, 207);
    assert_results(&answer, &[(503, "ack_timeout"), (503, "kafka_unavailable"), (202, "-")]);
    assert_eq!(answer.header("retry-after"), Some("5"));
}
