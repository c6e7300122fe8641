//! Rows that are not where their owner believes are noticed by the clock, in a quiet hour too.

use std::time::Duration;

use crate::{
    harness::{SOON, Telex, metric, readiness, wait_for},
    topic::{client_beside, partition_of},
};

/// Twice the time between two looks, and a takeover.
const NOTICED: Duration = Duration::from_secs(20);

fn differences(what: &str) -> String {
    format!("processor_differences_total{{difference=\"{what}\"}}")
}

#[test]
fn a_database_that_moved_back_is_noticed_although_no_record_comes() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor();
    writer.messages("client", 0..1);
    telex.assert_clean();
    // What a promotion with a lost tail does.
    telex.execute(
        "begin; delete from messages; delete from dialogs; delete from clients;
         update partition_progress set next_offset = birth_offset, messages = 0, last_digest = null
         where messages = 1; commit;",
    );
    wait_for("the message", NOTICED, || telex.messages() == 1);
    assert_eq!(metric(&processor, &differences("next_offset")), Some(1));
    assert_eq!(telex.assert_clean()["rows"]["messages"], 1);
    assert_eq!(readiness(&processor).0, 200);
}

#[test]
fn an_older_database_under_a_running_processor_is_filled_up_although_no_record_comes() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor();
    writer.messages("client", 0..3);
    writer.messages(&client_beside("client"), 0..2);
    telex.assert_clean();
    // A backup from before the first record and the first owner.
    telex.execute(
        "begin; delete from messages; delete from dialogs; delete from clients;
         update partition_progress set next_offset = birth_offset, messages = 0, last_digest = null,
                owner_epoch = 0, owner = null; commit;",
    );
    wait_for("the messages", NOTICED, || telex.messages() == 5);
    assert_eq!(metric(&processor, &differences("older_epoch")), Some(12));
    assert_eq!(telex.assert_clean()["rows"]["messages"], 5);
}

#[test]
fn progress_set_acts_on_an_idle_partition_although_no_record_comes() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let processor = telex.processor();
    writer.messages("client", 0..5);
    telex.assert_clean();
    let p = partition.to_string();
    telex.say(&["progress", "set", "--partition", &p, "--from", "5", "--to", "3", "--yes"]);
    let row = || telex.progress("next_offset * 10 + duplicates", partition);
    wait_for("the repeated records", NOTICED, || row() == 52);
    assert_eq!(metric(&processor, &differences("owner_epoch")), Some(1));
}

#[test]
fn a_changed_rule_is_taken_up_by_idle_partitions_although_no_record_comes() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor();
    writer.messages("client", 0..1);
    telex.assert_clean();
    let lowest_epoch = "select min(owner_epoch) from partition_progress";
    let before = telex.number(lowest_epoch);
    telex.say(&["dialog-rules", "set", "--idle-gap=1s", "--yes"]);
    // The change raises each epoch once, and so does each takeover that reads it.
    wait_for("every partition to be taken up again", NOTICED, || telex.number(lowest_epoch) >= before + 2);
    assert_eq!(metric(&processor, &differences("owner_epoch")), Some(12));
    // What came before the rule is not measured.
    writer.messages("client", 1..2);
    std::thread::sleep(Duration::from_millis(1_500));
    writer.messages("client", 2..3);
    telex.assert_clean();
    assert_eq!(telex.number("select count(*) from dialogs where close_reason = 'idle_gap'"), 1);
}

#[test]
fn a_row_that_is_gone_and_a_halt_that_somebody_wrote_stop_their_idle_partitions_by_name() {
    let mut telex = Telex::new();
    let processor = telex.ready_processor();
    telex.execute("delete from partition_progress where partition = 4");
    telex.execute(
        "insert into halts (topic_ref, partition, reason, numbers, detail, owner)
         values (1, 7, 'offset_gap', '{\"expected\": 0, \"found\": 2}', 'by hand', 'test')",
    );
    wait_for("both halts", NOTICED, || {
        let (_, body) = readiness(&processor);
        body.contains("partition 4 halted: unregistered_partition")
            && body.contains("partition 7 halted: offset_gap")
    });
    assert_eq!(metric(&processor, &differences("missing_row")), Some(1));
    assert_eq!(metric(&processor, &differences("halt")), Some(1));
    telex.resume(7, 0, 0, "offset_gap");
    wait_for("the resumed partition", SOON, || !readiness(&processor).1.contains("partition 7"));
}

#[test]
fn a_halt_of_another_version_holds_up_its_partition_alone() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of(&client_beside("client"));
    let mut processor = telex.ready_processor();
    processor.stop().unwrap();
    telex.execute(&format!(
        "insert into halts (topic_ref, partition, reason, numbers, detail, owner)
         values (1, {partition}, 'of_a_later_version', '{{}}', 'unknown here', 'test')"
    ));
    let processor = telex.processor();
    writer.messages("client", 0..3);
    wait_for("the others", SOON, || telex.messages() == 3);
    let waits = format!("processor_partition_waiting{{partition=\"{partition}\",reason=\"unknown_halt\"}}");
    wait_for("the obstacle", SOON, || metric(&processor, &waits) == Some(1));
    let line = format!("partition {partition} not taken up: unknown_halt");
    assert!(readiness(&processor).1.contains(&line));
    telex.execute("delete from halts");
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    assert_eq!(metric(&processor, &waits), None);
}
