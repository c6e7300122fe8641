//! 503: not known, or known not to be kept, and in either case to be sent again with the same id.

use std::sync::atomic::Ordering;

use ingest_api::error::{ApiError, Unavailable};
use rstest::rstest;

use crate::harness::{Api, Fate, MESSAGES, message};

#[rstest]
#[case(|| Fate::Refused(ApiError::Unavailable(Unavailable::QueueFull)), "queue_full", "1")]
#[case(|| Fate::Failed(ApiError::Unavailable(Unavailable::Kafka)), "kafka_unavailable", "5")]
#[case(|| Fate::Unanswered, "ack_timeout", "5")]
#[tokio::test]
async fn what_is_not_acknowledged_is_answered_503_with_a_time_to_wait(
    #[case] fate: fn() -> Fate,
    #[case] code: &str,
    #[case] seconds: &str,
) {
    let api = Api::with(&["--ack-deadline-ms=50"], move |_| fate());
    let answer = api.post(MESSAGES, message("shop", "m-1").to_string()).await;
    answer.assert_problem(503, code);
    assert_eq!(answer.header("retry-after"), Some(seconds));
}

#[tokio::test]
async fn a_record_that_the_brokers_find_too_large_is_refused_for_good() {
    let api = Api::with(&[], |_| Fate::Failed(ApiError::RecordTooLarge));
    let answer = api.post(MESSAGES, message("shop", "m-1").to_string()).await;
    answer.assert_problem(413, "record_too_large");
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn an_instance_that_stops_refuses_new_requests() {
    let api = Api::new();
    api.shared.draining.store(true, Ordering::Release);
    api.assert_refused(&api.post(MESSAGES, message("shop", "m-1").to_string()).await, 503, "draining");
}

#[rstest]
#[case::requests("--requests-in-flight-max=1")]
#[case::bytes("--bytes-in-flight-max=2000000")]
#[tokio::test]
async fn what_does_not_fit_in_flight_is_refused_at_once(#[case] limit: &str) {
    let api = Api::with(&[limit], |_| Fate::Kept);
    let share = api.shared.admission.admit(1_999_999).unwrap();
    api.post(MESSAGES, message("shop", "m-1").to_string())
        .await
        .assert_problem(503, "too_many_requests_in_flight");
    drop(share);
    assert_eq!(api.post(MESSAGES, message("shop", "m-1").to_string()).await.status, 202);
}
