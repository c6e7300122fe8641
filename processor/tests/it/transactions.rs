//! What Kafka itself explains is no fault: ends of its transactions, records of aborted ones, records that an open
//! one holds back.

use std::{thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    asked::assert_says,
    harness::{SOON, Telex, metric, wait_for},
    topic::{Writer, alter, log_end, partition_of},
    watchdog::LIMITS,
};

fn control(telex: &Telex, partition: i32) -> i64 {
    telex.progress("control", partition)
}

/// How many sessions of the processor wait for somebody else's lock.
const WAITS_FOR_A_LOCK: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'telex-processor' and wait_event_type = 'Lock'";

/// The brokers answer the end of a transaction before it stands in the log.
fn wait_for_end(telex: &Telex, partition: i32, end: i64) {
    wait_for("the transaction's end", SOON, || log_end(telex, partition) == end);
}

#[test]
fn ends_of_transactions_and_aborted_records_are_counted_wherever_they_lie() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let transactional = Writer::transactional(&telex);
    let processor = telex.processor();
    writer.messages("client", 0..2);
    transactional.commit(|writer| writer.messages("client", 2..3));
    wait_for_end(&telex, partition, 4);
    writer.messages("client", 3..4);
    transactional.abort(|writer| writer.messages("client", 90..92));
    wait_for_end(&telex, partition, 8);
    writer.messages("client", 4..5);
    transactional.commit(|writer| writer.messages("client", 5..6));
    wait_for_end(&telex, partition, 11);

    let report = telex.assert_counts([("/records", 6), ("/rows/messages", 6)]);
    assert_eq!(report["control"], json!({partition.to_string(): 5}), "three ends and two aborted records");
    assert!(report["line"].as_str().unwrap().contains(&format!("5 of partition {partition}")), "{report:#}");
    let place = (telex.next_offset(partition), control(&telex, partition));
    assert_eq!(place, (11, 5), "also behind the last record");
    assert_eq!(metric(&processor, "processor_records_total{outcome=\"control\"}"), Some(5));
    let lag = format!("processor_lag_records{{partition=\"{partition}\"}}");
    wait_for("the lag to be gone", SOON, || metric(&processor, &lag) == Some(0));
    assert_eq!(telex.halts(), Vec::<Value>::new());
}

#[test]
fn a_log_that_ends_with_an_aborted_transaction_is_taken_up_and_applied_to_its_end() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let transactional = Writer::transactional(&telex);
    let mut processor = telex.processor_with(&LIMITS);
    writer.messages("client", 0..2);
    telex.assert_clean();
    processor.stop().unwrap();

    // Nothing of it is ever shown to the consumer that begins here.
    transactional.abort(|writer| writer.messages("client", 90..93));
    wait_for_end(&telex, partition, 6);
    let mut processor = telex.processor_with(&LIMITS);
    wait_for("the offsets without a record", SOON, || telex.next_offset(partition) == 6);
    assert_eq!(control(&telex, partition), 4);
    processor.stop().unwrap();

    // The last record, whose digest is compared, lies four offsets before the next offset.
    let processors = [telex.processor_with(&LIMITS), telex.processor_with(&LIMITS)];
    transactional.abort(|writer| writer.messages("client", 90..91));
    wait_for_end(&telex, partition, 8);
    wait_for("the offsets without a record", SOON, || telex.next_offset(partition) == 8);
    std::thread::sleep(Duration::from_secs(20));
    for processor in &processors {
        assert!(!processor.server.log_text().contains("does not advance"));
        assert_eq!(metric(processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    }
    writer.messages("client", 2..4);
    let report = telex.assert_clean();
    assert_says(&report, [("/rows/messages", json!(4)), ("/control", json!({partition.to_string(): 6}))]);
    assert_eq!(telex.halts(), Vec::<Value>::new());

    let since_last = telex.prove_with(&["--since-last"]);
    assert_says(&since_last, [("/verdict", json!("clean")), ("/records", json!(0))]);
    transactional.abort(|writer| writer.messages("client", 90..91));
    wait_for_end(&telex, partition, 12);
    telex.wait_until_applied();
    let since_last = telex.prove_with(&["--since-last"]);
    assert_eq!(since_last["control"], json!({partition.to_string(): 2}), "{since_last:#}");
    telex.execute(&format!("update partition_progress set control = control - 1, commands = commands + 1 where partition = {partition}"));
    for report in [telex.prove_with(&["--since-last"]), telex.prove()] {
        let details: Vec<&str> =
            report["findings"].as_array().unwrap().iter().map(|f| f["detail"].as_str().unwrap()).collect();
        assert_eq!(details.len(), 2, "{report:#}");
        assert!(details.iter().any(|detail| detail.starts_with("control: ")), "{report:#}");
    }
}

#[test]
fn records_behind_an_open_transaction_are_lag_under_its_name_and_no_stall() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let transactional = Writer::transactional(&telex);
    let processor = telex.processor_with(&LIMITS);
    writer.messages("client", 0..2);
    telex.assert_clean();
    transactional.begin(|writer| writer.messages("client", 2..3));
    writer.messages("client", 3..5);

    let of = |name: &str| metric(&processor, &format!("{name}{{partition=\"{partition}\"}}"));
    wait_for("the open transaction", SOON, || of("processor_transaction_open_seconds") >= Some(22));
    assert_eq!(of("processor_lag_records"), Some(3));
    assert_eq!(telex.next_offset(partition), 2);
    assert!(!processor.server.log_text().contains("does not advance"));
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    let rows: Value = telex.json(&["progress", "show", "--json"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["partition"] == partition).unwrap();
    assert_eq!((&row["lag"], &row["held_back"]), (&json!(3), &json!(3)));
    assert!(row["stands_still"].as_str().unwrap().starts_with("open_transaction: from 2 on"), "{row}");

    transactional.end();
    assert_eq!(telex.assert_clean()["rows"]["messages"], 5);
    wait_for("the end of the transaction", SOON, || of("processor_transaction_open_seconds") == Some(0));
    wait_for("the end of the lag", SOON, || of("processor_lag_records") == Some(0));
}

/// What was sound before the gap is applied before the halt, also if it comes while the database keeps the
/// processor waiting: else the way on that `halts list` shows would skip it.
#[test]
fn a_gap_that_compaction_may_have_made_stops_the_partition() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let transactional = Writer::transactional(&telex);
    let processor = telex.processor_with(&["--topic-audit-seconds=1"]);
    writer.messages("client", 0..2);
    telex.assert_clean();
    alter(&telex, "cleanup.policy", "compact");
    wait_for("the audit", SOON, || metric(&processor, "processor_topic_unsafe") == Some(1));
    let lock = telex.hold("lock table messages in access exclusive mode");
    writer.messages("client", 2..3);
    wait_for("an attempt that waits", SOON, || telex.number(WAITS_FOR_A_LOCK) > 0);
    transactional.commit(|writer| writer.messages("client", 3..4));
    wait_for_end(&telex, partition, 5);
    writer.messages("client", 4..5);
    // Nobody says when the lane has seen the gap; it is not to halt before the lock is released, and what comes behind
    // it is not even fetched.
    sleep(Duration::from_secs(2));
    let dropped = || metric(&processor, "processor_stale_records_total");
    let dropped_at_the_stop = dropped();
    writer.messages("client", 5..25);
    sleep(Duration::from_secs(2));
    assert_eq!(dropped(), dropped_at_the_stop);
    assert_eq!((telex.halts(), telex.next_offset(partition)), (vec![], 2));
    drop(lock);
    let halt = telex.halted();
    assert_says(&halt, [("/reason", json!("offset_gap")), ("/numbers", json!({"expected": 4, "found": 5}))]);
    assert_eq!((telex.next_offset(partition), control(&telex, partition)), (4, 0));
    let listed = telex.say(&["halts", "list"]);
    assert!(listed.contains("--from 4 --to 5 "), "{listed}");

    // Whoever knows that only the end of a transaction was there resumes it: read again, it is explained.
    alter(&telex, "cleanup.policy", "delete");
    wait_for("the audit", SOON, || metric(&processor, "processor_topic_unsafe") == Some(0));
    telex.resume(partition, 4, 4, "offset_gap");
    let report = telex.assert_clean();
    assert_eq!((&report["rows"]["messages"], control(&telex, partition)), (&json!(25), 1));
}
