//! An ingest API whose Kafka goes away keeps its place behind a proxy: it answers 503 itself, and says so in a gauge. One
//! that has not met its Kafka yet takes nothing.

use std::time::{Duration, Instant};

use dev_env::programs::get;

use crate::harness::{Api, message, wait_for};

/// A look at the topic may take five seconds, and they come every five.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn while_kafka_is_away_it_stays_ready_and_answers_503_itself() {
    let (api, mut kafka) = Api::with_own_kafka(&[
        "--socket-timeout-ms=1000",
        "--message-timeout-ms=1000",
        "--ack-deadline-ms=1500",
    ]);
    let gauge = || {
        let (_, text) = get(api.running.admin, "/metrics").unwrap();
        text.lines().find_map(|line| line.strip_prefix("ingest_kafka_reachable ").map(ToOwned::to_owned))
    };
    assert_eq!(gauge().as_deref(), Some("1"));
    let becomes = |value: &str| wait_for(value, NOTICED_WITHIN, || gauge().as_deref() == Some(value));
    kafka.kill();
    becomes("0");
    assert_eq!(get(api.running.admin, "/readyz").unwrap().0, 200);
    let (status, problem) = api.post_json("/v1/messages", &message("readiness", "1"));
    assert_eq!(status, 503, "{problem}");
    assert_ne!(problem["code"].as_str(), None);

    kafka.start_again().unwrap();
    becomes("1");
    assert_eq!(get(api.running.admin, "/readyz").unwrap().0, 200);
}

#[test]
fn one_that_starts_while_kafka_is_away_takes_no_message_before_it_knows_over_how_many_partitions_keys_are_spread()
 {
    let (mut api, mut kafka) = Api::with_own_kafka(&[]);
    api.tell(12);
    api.running.stop().unwrap();
    kafka.kill();
    api.start_again();
    let asked = Instant::now();
    let (status, problem) = api.post_json("/v1/messages", &message("readiness", "1"));
    assert_eq!((status, &problem["code"]), (503, &"kafka_unavailable".into()));
    assert!(asked.elapsed() < Duration::from_secs(5), "it is refused at once, and does not wait for Kafka");
    assert_eq!(get(api.running.admin, "/readyz").unwrap().0, 503);

    kafka.start_again().unwrap();
    wait_for("readiness", NOTICED_WITHIN, || get(api.running.admin, "/readyz").unwrap().0 == 200);
    assert_eq!(api.post_json("/v1/messages", &message("readiness", "2")).0, 202);
}
