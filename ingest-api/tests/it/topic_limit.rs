//! Somebody lowers the topic's `max.message.bytes` below what a batch of records may have: whole batches are refused by
//! the brokers, each record of them with the same error. Only who is too large alone is refused for good.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Api, message, wait_for};

const LIMIT: &str = "20000";
const MESSAGES: usize = 200;

#[test]
fn a_lowered_limit_costs_no_small_message_and_refuses_only_what_is_too_large_alone() {
    // All of a request's records go in as few batches as may be.
    let api = Api::with(&["--linger-ms=100"]);
    let (status, answer) = api.post_json("/v1/messages", &small(0));
    assert_eq!(status, 202, "{answer}");
    api.alter_topic(&[("max.message.bytes", LIMIT)]);

    let started = Instant::now();
    let mut left: Vec<usize> = (1..=MESSAGES).collect();
    while !left.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "{} messages are left", left.len());
        let batch: Vec<Value> = left.iter().map(|number| small(*number)).collect();
        let (_, answer) = api.post_json("/v1/messages/batch", &batch.into());
        let results = answer["results"].as_array().unwrap();
        let refused: Vec<&Value> = results.iter().filter(|result| result["status"] != 202).collect();
        eprintln!("{} of {} refused: {:?}", refused.len(), left.len(), refused.first());
        assert!(refused.iter().all(|result| result["status"] == 503), "{refused:?}");
        let kept = results.iter().map(|result| result["status"] == 202);
        left = left.iter().zip(kept).filter(|(_, kept)| !kept).map(|(number, _)| *number).collect();
        std::thread::sleep(Duration::from_millis(500));
    }
    let topic = api.topic();
    for number in 0..=MESSAGES {
        let id = json!(format!("m-{number}"));
        assert!(topic.iter().any(|record| record.value["external_message_id"] == id), "{id}");
    }
    // Larger than the limit also where it is compressed.
    let (status, answer) = api.post_json("/v1/messages", &with_text(MESSAGES + 1, 15_000, "\u{4e00}"));
    assert_eq!((status, &answer["code"]), (413, &json!("record_too_large")), "{answer}");
    assert!(api.running.metrics().contains(&format!("ingest_record_batch_bytes_max {LIMIT}\n")));
}

#[test]
fn a_limit_that_is_raised_again_is_noticed() {
    let api = Api::new();
    let batches =
        |limit: &str| api.running.metrics().contains(&format!("ingest_record_batch_bytes_max {limit}\n"));
    assert!(batches("1000000"), "the largest that is of use");
    api.alter_topic(&[("max.message.bytes", "900000")]);
    wait_for("another limit", Duration::from_secs(90), || batches("900000"));
    assert_eq!(api.post_json("/v1/messages", &small(0)).0, 202);
}

fn small(number: usize) -> Value {
    with_text(number, 600, "a")
}

/// A message of one client with a text that cannot be compressed much.
fn with_text(number: usize, chars: u32, first: &str) -> Value {
    let first = u32::from(first.chars().next().unwrap());
    let mut state = u32::try_from(number).unwrap() + 1;
    let text: String = (0..chars)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(first + (state >> 24) % 26).unwrap()
        })
        .collect();
    let mut message = message("shop", &format!("m-{number}"));
    message["text"] = text.into();
    message
}
