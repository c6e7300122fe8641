//! What `processor prove` says of a log that holds more than is applied, or less than was.

use dev_env::programs::Running;
use serde_json::{Value, json};

use crate::{
    asked::assert_says,
    fill,
    harness::{SOON, Telex, close_dialog, wait_for},
    topic::{Writer, client_beside, client_id, log_end, partition_of, recreate, trim},
};

fn kinds(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

#[test]
fn records_that_are_not_applied_yet_are_told_and_have_an_exit_status_of_their_own() {
    let (mut telex, writer) = Telex::with_writer();
    let status = |telex: &Telex| telex.programs.run_processor(&["prove", "--applied"]).unwrap().status.code();
    writer.messages("client", 0..3);
    let mut processor = telex.processor();
    assert_eq!(telex.assert_clean()["not_applied"], 0);
    assert_eq!(status(&telex), Some(0));
    processor.stop().unwrap();
    telex.execute("create table saved as select * from partition_progress");
    writer.messages("client", 3..5);
    writer.messages(&crate::topic::client_beside("client"), 0..1);
    let line = |report: &Value| report["line"].as_str().unwrap().to_owned();
    for scope in [&["--since-last"][..], &[]] {
        let report = telex.prove_with(scope);
        assert_eq!((&report["verdict"], &report["not_applied"]), (&json!("clean"), &json!(3)), "{report:#}");
        assert!(line(&report).contains(" up to the next offsets: "), "{report:#}");
        assert!(line(&report).ends_with("; 3 records not applied yet"), "{report:#}");
    }
    assert_eq!(status(&telex), Some(3));
    telex.applied();

    // A database that lost its last transactions is clean as far as it goes, and says how far that is.
    let partition = partition_of("client");
    telex.execute(&format!(
        "delete from messages where partition = {partition} and record_offset >= 3;
         update partition_progress as row set next_offset = saved.next_offset, messages = saved.messages,
                                              last_digest = saved.last_digest
         from saved where saved.partition = {partition} and row.partition = {partition}"
    ));
    let report = telex.prove();
    assert_eq!((&report["verdict"], &report["not_applied"]), (&json!("clean"), &json!(2)), "{report:#}");
    let _processor = telex.processor();
    assert_eq!(telex.assert_clean()["not_applied"], 0);
}

#[test]
fn records_that_retention_removed_before_they_were_applied_are_no_clean_log() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    writer.messages("client", 0..3);
    telex.applied();
    writer.messages("client", 3..9);
    trim(&telex, partition, 5);
    let report = telex.prove();
    assert_eq!(kinds(&report), ["log_starts_after_next_offset"], "{report:#}");
    assert_eq!(report["findings"][0]["offset"], 3);
}

/// A topic of which retention has removed about half, all of it applied.
fn half_removed() -> Telex {
    let mut telex = Telex::new();
    fill::fill(&telex, 6_000);
    telex.applied();
    for partition in 0..12 {
        trim(&telex, partition, log_end(&telex, partition) / 2);
    }
    telex
}

#[test]
fn what_the_log_holds_is_proved_by_its_records_and_the_rest_by_structure() {
    let telex = half_removed();
    let since_last = telex.prove_with(&["--since-last"]);
    assert_says(&since_last, [("/verdict", json!("clean")), ("/records", json!(0))]);
    let report = telex.prove();
    assert_eq!(report["verdict"], "clean", "{report:#}");
    let (records, gone) = (report["records"].as_i64().unwrap(), report["gone"].as_i64().unwrap());
    assert_eq!(records + gone, 6_000);
    assert!((2_900..3_100).contains(&gone), "{gone}");
    assert!(report["line"].as_str().unwrap().contains("checked by structure"), "{report:#}");

    // What is planted among the rows of removed records, how it is found, and how it is taken away.
    let gone = "(select * from messages where partition = 3 order by record_offset limit 1)";
    let kept = format!("create table kept as {gone}");
    telex.execute(&kept);
    let restore =
        "delete from messages where (partition, record_offset) = (select partition, record_offset from kept);
                   insert into messages select * from kept";
    let of_kept = "where client_id = (select client_id from kept) and external_message_id = (select external_message_id from kept)";
    for (planted, kind, undone) in [
        (format!("delete from messages {of_kept}"), "counter_differs", restore.to_owned()),
        (
            format!("update messages set dialog_id = '00000000-0000-8000-8000-000000000000' {of_kept}"),
            "message_differs",
            format!("update messages set dialog_id = (select dialog_id from kept) {of_kept}"),
        ),
        (
            format!(
                "update messages set record_offset = (select record_offset from messages where partition = 3
                 order by record_offset offset 1 limit 1) {of_kept}"
            ),
            "message_unexpected",
            format!("update messages set record_offset = (select record_offset from kept) {of_kept}"),
        ),
        (
            "update dialogs set opened_at = opened_at + interval '1 s' where id = (select dialog_id from kept)".to_owned(),
            "dialog_differs",
            "update dialogs set opened_at = opened_at - interval '1 s' where id = (select dialog_id from kept)".to_owned(),
        ),
        (
            "update clients set created_at = created_at + interval '1 s' where id = (select client_id from kept)".to_owned(),
            "client_differs",
            "update clients set created_at = created_at - interval '1 s' where id = (select client_id from kept)".to_owned(),
        ),
        (
            "update partition_progress set messages = messages - 1, duplicates = duplicates + 1 where partition = 3".to_owned(),
            "counter_differs",
            "update partition_progress set messages = messages + 1, duplicates = duplicates - 1 where partition = 3".to_owned(),
        ),
    ] {
        telex.execute(&planted);
        let report = telex.prove();
        assert_eq!(report["verdict"], "differs", "{planted}: {report:#}");
        assert!(kinds(&report).contains(&kind), "{planted}: {report:#}");
        telex.execute(&undone);
        let report = telex.prove();
        assert_eq!(report["verdict"], "clean", "{undone}: {report:#}");
    }
    // A record that is still there is compared as ever.
    telex.execute("update messages set text = text || '!' where partition = 3 and record_offset = (select max(record_offset) from messages where partition = 3)");
    assert_eq!(kinds(&telex.prove()), ["message_differs"]);
}

#[test]
fn a_topic_that_retention_has_emptied_is_provable() {
    let mut telex = half_removed();
    for partition in 0..12 {
        trim(&telex, partition, log_end(&telex, partition));
    }
    let report = telex.prove();
    assert_says(&report, [("/verdict", json!("clean")), ("/records", json!(0)), ("/gone", json!(6_000))]);
    // What comes afterwards repeats and continues what nobody can read any more.
    let _processor = telex.processor();
    fill::fill(&telex, 6_000);
    let report = telex.assert_clean();
    assert!(report["duplicates"].as_i64().unwrap() > 4_000, "{report:#}");
}

#[test]
fn a_chain_of_proofs_that_retention_broke_begins_again_at_a_baseline() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    let _processor = telex.processor();
    writer.messages("client", 0..4);
    telex.assert_clean();
    writer.messages("client", 4..8);
    telex.wait_until_applied();
    trim(&telex, partition, 6);
    let broken = telex.prove_with(&["--since-last"]);
    assert_eq!(broken["verdict"], "not_provable");
    assert!(broken["line"].as_str().unwrap().contains("a baseline begins again"), "{broken:#}");

    let baseline = ["prove", "--baseline", "--operator=somebody", "--note=retention has passed"];
    let proofs = telex.number("select count(*) from proofs");
    let said = telex.say(&[&baseline[..], &["--dry-run"]].concat());
    assert!(said.starts_with("dry run, nothing is recorded: baseline at "), "{said}");
    assert_eq!(telex.number("select count(*) from proofs"), proofs);
    let said = telex.say(&[&baseline[..], &["--yes"]].concat());
    assert!(
        said.starts_with("baseline at ") && said.contains("4 offsets applied since the last proof"),
        "{said}"
    );
    let audited = "select count(*) from proofs where scope = 'baseline' and verdict = 'baseline'
                   and operator = 'somebody' and note = 'retention has passed'";
    assert_eq!(telex.number(audited), 1);
    writer.messages("client", 7..10);
    telex.wait_until_applied();
    let report = telex.prove_with(&["--since-last"]);
    assert_eq!((&report["verdict"], &report["records"]), (&json!("clean"), &json!(3)), "{report:#}");
    assert_eq!(report["duplicates"], 1, "of a message before the baseline");
    assert!(report["line"].as_str().unwrap().starts_with("clean since the baseline of 20"), "{report:#}");
    let next = telex.prove_with(&["--since-last"]);
    assert!(next["line"].as_str().unwrap().starts_with("clean since 20"), "{next:#}");
    let refused = telex.refuse(&["prove", "--baseline", "--since-last", "--yes"]);
    assert!(refused.contains("cannot be used with"), "{refused}");

    telex.execute(&format!(
        "update partition_progress set messages = messages + 1 where partition = {partition}"
    ));
    let refused = telex.refuse(&["prove", "--baseline", "--yes"]);
    assert!(refused.contains("do not add up"), "{refused}");
}

/// A topic that was created again and accepted, with records that repeat, contradict and go on with those of the
/// former one; and the processor that has applied them. `client` goes on with its dialog, `beside` closes one.
fn accepted() -> (Telex, Running) {
    let (mut telex, writer) = Telex::with_writer();
    let beside = client_beside("client");
    writer.messages("client", 0..3);
    writer.message("client", "m-0", "Another text");
    writer.garbage(partition_of("client"));
    writer.messages(&beside, 0..2);
    let processor = telex.processor();
    telex.assert_clean();
    recreate(&telex);

    let writer = Writer::new(&telex);
    writer.messages("client", 1..5);
    writer.message("client", "m-2", "Another text");
    writer.messages("third", 0..1);
    let api = telex.ingest_api();
    close_dialog(&api, &json!(client_id(&beside).as_uuid().to_string()));
    writer.messages(&beside, 1..3);
    wait_for("the halts", SOON, || telex.halts().len() == 12);
    let found = telex.halts()[0]["numbers"]["found"].as_str().unwrap().to_owned();
    telex.say(&[
        "halts",
        "resume",
        "--reason-code=topic_recreated",
        "--topic-id",
        &found,
        "--operator=test",
        "--yes",
    ]);
    telex.wait_until_applied();
    (telex, processor)
}

#[test]
fn an_accepted_topic_is_proved_by_its_records_and_the_former_one_by_structure() {
    let (telex, _processor) = accepted();
    let since_last = || telex.prove_with(&["--since-last"]);
    let line = |report: &Value| report["line"].as_str().unwrap().to_owned();
    assert!(line(&since_last()).contains("no clean proof to go on from"));
    telex.say(&["prove", "--baseline", "--operator=test", "--note=another topic", "--yes"]);
    let report = since_last();
    assert!(line(&report).starts_with("clean since the baseline of 20"), "{report:#}");

    let report = telex.prove();
    assert_eq!((&report["verdict"], &report["records"]), (&json!("clean"), &json!(9)), "{report:#}");
    assert_eq!(
        report["former"],
        json!({ "dialogs": 2, "messages": 5, "dead_letters": 2, "client_aliases": 0 })
    );
    assert_says(&report, [("/duplicates", json!(3)), ("/commands", json!(1)), ("/gone", json!(0))]);
    assert_eq!(report["dead_letters"], json!({"conflicting_duplicate": 1}));
    assert_says(&report, [("/rows/messages", json!(9)), ("/rows/dialogs", json!(4))]);
    let told = "; 5 of the messages, 2 of the dead letters, 2 dialogs and 0 aliases are of former topics";
    assert!(line(&report).contains(told), "{report:#}");
    assert_eq!(telex.number("select count(*) from dialogs where topic_ref = 1 and closed_at is not null"), 1);

    // What the topic in force repeats and goes on with from here is proved since then.
    let writer = Writer::new(&telex);
    writer.messages("client", 0..6);
    telex.wait_until_applied();
    let report = since_last();
    assert_eq!((&report["verdict"], &report["records"]), (&json!("clean"), &json!(6)), "{report:#}");
    assert_eq!(report["duplicates"], 5);
    assert_says(&report, [("/rows/messages", json!(1)), ("/former/messages", json!(0))]);
    assert_eq!(telex.assert_clean()["former"]["messages"], 5);
}

#[test]
fn what_is_planted_in_a_database_of_two_topics_is_found() {
    let (telex, mut processor) = accepted();
    telex.assert_clean();
    processor.stop().unwrap();
    telex.execute("create table kept as table messages; create table kept_dialogs as table dialogs");
    let restore =
        "truncate messages, dialogs; insert into messages table kept; insert into dialogs table kept_dialogs";
    let client = client_id("client").as_uuid();
    let message = |topic: i16, id: &str| {
        format!("where topic_ref = {topic} and client_id = '{client}' and external_message_id = '{id}'")
    };
    // Of the topic in force by the record, of the former one by structure, which says where it is.
    for (planted, kind, of_former) in [
        (format!("delete from messages {}", message(2, "m-3")), "message_missing", false),
        (format!("update messages set text = 'x' {}", message(2, "m-4")), "message_differs", false),
        (
            format!(
                "update dialogs set closed_at = now(), close_reason = 'command' where client_id = '{client}'"
            ),
            "dialog_missing",
            false,
        ),
        (format!("delete from messages {}", message(1, "m-2")), "counter_differs", true),
        (format!("update messages set topic_ref = 9 {}", message(1, "m-0")), "message_unexpected", true),
        (
            format!(
                "update messages set dialog_id = (select id from dialogs where client_id <> '{client}' limit 1) {}",
                message(1, "m-1")
            ),
            "message_differs",
            true,
        ),
        (
            format!(
                "update dialogs set opened_at = opened_at - interval '1 s' where topic_ref = 1 and client_id = '{client}'"
            ),
            "dialog_differs",
            true,
        ),
        (
            format!("update dialogs set opened_offset = 3 where topic_ref = 1 and client_id = '{client}'"),
            "dialog_unexpected",
            true,
        ),
    ] {
        telex.execute(&planted);
        let report = telex.prove();
        assert_eq!(report["verdict"], "differs", "{planted}: {report:#}");
        let findings = report["findings"].as_array().unwrap();
        let is_told = findings.iter().any(|finding| {
            let detail = finding["detail"].as_str().unwrap();
            finding["kind"] == kind && detail.contains("(topic_ref ") == of_former
        });
        assert!(is_told, "{planted}: {report:#}");
        telex.execute(restore);
        let report = telex.prove();
        assert_eq!(report["verdict"], "clean", "after {planted}: {report:#}");
    }
}
