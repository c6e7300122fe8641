//! The watchdog is silent about what another consumer would not heal.

use std::{thread::sleep, time::Duration};

use crate::{
    harness::{Telex, metric, wait_for},
    topic::{Writer, partition_of},
};

/// As short as they may be.
pub const LIMITS: [&str; 3] =
    ["--stall-report-seconds=10", "--stall-rebuild-seconds=14", "--stall-exit-seconds=18"];

#[test]
fn frozen_brokers_are_no_stall() {
    let (mut telex, servers) = Telex::with_own_servers();
    let writer = Writer::new(&telex);
    let processor = telex.processor_with(&LIMITS);
    writer.messages("client", 0..100);
    telex.assert_clean();
    // Records that the log holds and nobody has: the lane waits for a lock while the brokers freeze.
    let lock = telex.hold("lock table messages in access exclusive mode");
    writer.messages("client", 100..200);
    sleep(Duration::from_secs(2));
    servers.kafka.freeze();
    drop(lock);
    sleep(Duration::from_secs(30));
    servers.kafka.thaw();
    assert_eq!(telex.assert_clean()["rows"]["messages"], 200);
    assert!(processor.server.is_running());
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    assert!(!processor.server.log_text().contains("does not advance"));
}

#[test]
fn a_database_that_keeps_the_lane_waiting_is_reported_apart_and_is_no_stall() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor_with(&LIMITS);
    writer.messages("client", 0..10);
    telex.assert_clean();
    let lock = telex.hold("lock table messages in access exclusive mode");
    writer.messages("client", 10..20);
    let waiting = "processor_lanes_waiting_for_database";
    wait_for("the lane to be seen waiting", Duration::from_secs(20), || {
        metric(&processor, waiting) == Some(1)
    });
    let lag = format!("processor_lag_seconds{{partition=\"{}\"}}", partition_of("client"));
    sleep(Duration::from_secs(20));
    let seconds = metric(&processor, &lag).unwrap();
    assert!((20..35).contains(&seconds), "the oldest record waits for {seconds} s");
    drop(lock);
    telex.assert_counts([("/rows/messages", 20), ("/rows/dead_letters", 0)]);
    wait_for("the lag to be gone", Duration::from_secs(20), || metric(&processor, &lag) == Some(0));
    assert_eq!(metric(&processor, waiting), Some(0));
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    assert!(!processor.server.log_text().contains("does not advance"));
}
