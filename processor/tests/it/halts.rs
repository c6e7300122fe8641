//! A halt outlives its owner and is left by a person's command alone.

use std::time::Duration;

use serde_json::Value;

use crate::{
    harness::{SOON, Telex, metric, readiness, wait_for},
    topic::{client_id, partition_of},
};

fn wait_for_halt(telex: &Telex, reason: &str) -> Value {
    let halt = telex.halted();
    assert_eq!(halt["reason"], reason);
    halt
}

#[test]
fn too_many_dead_letters_halt_a_partition_across_restarts_until_it_is_resumed() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    for _ in 0..20 {
        writer.garbage(partition);
    }
    writer.messages("client", 0..3);
    let limit = "--dead-letters-per-minute-max=5";
    let mut processor = telex.processor_with(&[limit]);
    let halt = wait_for_halt(&telex, "dead_letter_limit");
    assert_eq!(halt["numbers"]["dead_letters"], 6);
    let at = telex.next_offset(partition);
    assert_eq!(at, 5, "what is within the limit is kept before the halt");
    // Nothing is fetched that nobody may apply.
    let dropped = || metric(&processor, "processor_stale_records_total");
    let dropped_at_the_halt = dropped();
    writer.messages("client", 3..6);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(dropped(), dropped_at_the_halt);
    processor.stop().unwrap();
    // A limit that would do is no reason to go on by itself.
    let processor = telex.processor();
    wait_for("the halt after a restart", SOON, || readiness(&processor).1.contains("dead_letter_limit"));
    assert_eq!(telex.next_offset(partition), at);
    telex.resume(partition, at, at, "dead_letter_limit");
    telex.assert_counts([("/rows/dead_letters", 20), ("/rows/messages", 6)]);
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    let history: Value = telex.json(&["halts", "history", "--json"]);
    assert_eq!(history[0]["reason"], "dead_letter_limit");
}

#[test]
fn a_last_record_that_differs_and_counters_that_do_not_add_up_stop_a_partition_at_its_takeover() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    writer.messages("client", 0..4);
    telex.applied();
    for (planted, code) in [
        ("last_digest = sha256('other')", "digest_mismatch"),
        ("messages = messages + 2", "not_conserved"),
        ("messages = messages - 1", "not_conserved"),
    ] {
        telex.execute(&format!("update partition_progress set {planted} where partition = {partition}"));
        let mut processor = telex.processor();
        wait_for_halt(&telex, code);
        let at = telex.next_offset(partition);
        telex.resume(partition, at, at, code);
        wait_for("readiness", SOON, || readiness(&processor).0 == 200);
        writer.message("client", &format!("after-{at}-{planted}"), "Hello");
        writer.flush();
        wait_for("the next record", SOON, || telex.next_offset(partition) == at + 1);
        processor.stop().unwrap();
    }
    let settled = telex.progress("skipped * 10 + repeated", partition);
    assert_eq!(settled, 12, "each error of the sum is written down");
}

#[test]
fn a_foreign_writers_message_stops_the_partition_while_it_runs() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let client = client_id("client").as_uuid();
    telex.execute(&format!(
        "insert into messages values (7, now(), now(), null, {partition}, 1, '{client}', '{client}', '', 'm-0', null, 'x')"
    ));
    let processor = telex.processor();
    writer.messages("client", 0..3);
    wait_for_halt(&telex, "foreign_write");
    assert_eq!(telex.number("select count(*) from clients"), 0);
    telex.execute("delete from messages");
    telex.resume(partition, 0, 0, "foreign_write");
    assert_eq!(telex.assert_clean()["rows"]["messages"], 3);
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
}

#[test]
fn progress_set_moves_a_partition_under_its_owner_and_says_what_that_means() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let processor = telex.processor();
    writer.messages("client", 0..5);
    telex.assert_clean();
    let p = partition.to_string();
    let set = ["progress", "set", "--partition", &p, "--from", "5", "--to", "3"];
    let said = telex.say(&[&set[..], &["--dry-run"]].concat());
    assert!(said.contains("repeats 2 offsets, 3 to 4"), "{said}");
    assert_eq!(telex.next_offset(partition), 5);
    telex.say(&[&set[..], &["--yes"]].concat());
    // The owner meets the new place with its next record: it is fenced and reads on from there.
    writer.messages("client", 5..6);
    wait_for("the repeated records", SOON, || telex.next_offset(partition) == 6);
    assert_eq!(telex.messages(), 6);
    assert_eq!(telex.progress("duplicates * 10 + repeated", partition), 22);
    assert_eq!(telex.prove()["verdict"], "not_provable", "records were counted twice");
    wait_for("the gap's gauge", SOON, || {
        metric(&processor, &format!("processor_conservation_gap{{partition=\"{p}\"}}")) == Some(0)
    });
    let words = ["progress", "set", "--partition", &p, "--from", "6", "--to", "6"];
    let refused = telex.refuse(&words);
    assert!(refused.contains("--dry-run") && refused.contains("--yes"), "{refused}");
}
