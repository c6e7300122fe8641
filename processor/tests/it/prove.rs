//! `processor prove` finds what was planted, and says where.

use dev_env::programs::Running;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    asked::assert_says,
    fill,
    harness::{SOON, Telex, close_dialog, keep, message, metric, wait_for},
};

/// A finding: kind, partition and offset.
type Found = (String, i64, Option<i64>);

fn findings(report: &Value) -> Vec<Found> {
    assert_eq!(report["verdict"], "differs", "{report:#}");
    let finding = |finding: &Value| {
        (
            finding["kind"].as_str().unwrap().to_owned(),
            finding["partition"].as_i64().unwrap(),
            finding["offset"].as_i64(),
        )
    };
    report["findings"].as_array().unwrap().iter().map(finding).collect()
}

/// Plants something in tables that were clean. A proof since the last finds what a full one does.
fn planted(telex: &Telex, statements: &str) -> Vec<Found> {
    telex.execute(statements);
    let since_last = telex.prove_with(&["--since-last"]);
    assert_eq!((&since_last["scope"], &since_last["records"]), (&json!("since_last"), &json!(3)));
    let full = telex.prove();
    assert_eq!((&full["scope"], &full["records"]), (&json!("full"), &json!(4)));
    assert_eq!(findings(&since_last), findings(&full));
    findings(&full)
}

/// A client with four messages, the first of which was proved, and their partition.
fn telex_with_messages() -> (Telex, i64) {
    let (telex, api, mut processor) = Telex::at_work();
    let send = |at: i64| {
        let kept = keep(&api, &message("client", &format!("m-{at}"), &format!("text {at}")));
        assert_eq!(kept["record"]["offset"], at);
        kept["record"]["partition"].as_i64().unwrap()
    };
    let partition = send(0);
    telex.assert_clean();
    (1..4).for_each(|at| assert_eq!(send(at), partition));
    telex.wait_until_applied();
    processor.stop().unwrap();
    (telex, partition)
}

fn found(kind: &str, partition: i64, offset: i64) -> (String, i64, Option<i64>) {
    (kind.to_owned(), partition, Some(offset))
}

#[rstest]
#[case::a_deleted_message(
    "delete from messages where record_offset = 1",
    &[("message_missing", Some(1))],
)]
#[case::the_last_message_of_a_partition(
    "delete from messages where record_offset = 3",
    &[("message_missing", Some(3))],
)]
#[case::two_swapped_messages(
    "update messages set record_offset = 3 - record_offset where record_offset in (1, 2)",
    &[("message_differs", Some(1)), ("message_differs", Some(2))],
)]
#[case::a_dialog_split_in_two(
    "insert into dialogs
     select client_id, '00000000-0000-8000-8000-000000000000', opened_at, opened_at, 'command', topic_ref, partition, 2
     from dialogs;
     update messages set dialog_id = '00000000-0000-8000-8000-000000000000' where record_offset >= 2",
    &[("message_differs", Some(2)), ("message_differs", Some(3)), ("dialog_unexpected", Some(2))],
)]
#[case::a_raised_counter(
    "update partition_progress set duplicates = duplicates + 1 where messages > 0",
    &[("counter_differs", None), ("not_conserved", None)],
)]
fn what_is_planted_is_noticed_and_named(#[case] statements: &str, #[case] expected: &[(&str, Option<i64>)]) {
    let (telex, partition) = telex_with_messages();
    let expected = expected.iter().map(|(kind, offset)| ((*kind).to_owned(), partition, *offset));
    assert_eq!(planted(&telex, statements), expected.collect::<Vec<_>>());
}

#[test]
fn an_inserted_message_is_noticed_wherever_it_claims_to_come_from() {
    let copy = |offset: i64| {
        format!(
            "insert into messages select {offset}, appended_at, received_at, sent_at, partition, topic_ref, client_id, dialog_id,
                                         body_hash, 'planted', request_id, text from messages where record_offset = 2"
        )
    };
    for offset in [2, 4, 1_000] {
        let (telex, partition) = telex_with_messages();
        let findings = planted(&telex, &copy(offset));
        let kinds: Vec<&str> = findings.iter().map(|(kind, ..)| kind.as_str()).collect();
        assert!(kinds.contains(&"message_unexpected"), "{findings:?}");
        assert!(findings.iter().all(|(_, p, o)| (*p, *o) == (partition, Some(offset))), "{findings:?}");
    }
}

#[test]
fn a_foreign_client_and_a_changed_phone_are_noticed() {
    let (telex, partition) = telex_with_messages();
    telex.execute(
        "update clients set client_phone = '+71111111111';
         insert into clients values ('00000000-0000-8000-8000-000000000001', 'x', '+70000000000', now())",
    );
    // Since the last proof nobody has heard of the other.
    let since_last = findings(&telex.prove_with(&["--since-last"]));
    assert_eq!(since_last, [found("client_differs", partition, 1)]);
    let full = findings(&telex.prove());
    assert_eq!(full[0], found("client_differs", partition, 0));
    assert_eq!((full[1].0.as_str(), full.len()), ("client_unexpected", 2));
}

#[test]
fn a_proof_that_spills_to_disk_on_many_workers_says_what_one_in_memory_says() {
    let mut telex = Telex::new();
    let filled = fill::fill(&telex, 60_000);
    telex.applied();
    let small = ["--jobs=5", "--memory-mib=1"];
    let report = telex.prove_with(&small);
    assert_says(&report, [("/verdict", json!("clean")), ("/records", json!(60_000))]);
    assert_eq!(report["duplicates"], filled.duplicates);
    assert_eq!(report["commands"], filled.closes);
    assert_eq!(report["dead_letters"]["conflicting_duplicate"], filled.conflicts);
    assert_eq!(report["dead_letters"]["malformed_json"], filled.garbage);

    telex.execute(
        "delete from messages where record_offset % 997 = 1;
         update messages set text = text || '!', request_id = 'x' where record_offset % 1009 = 2;
         update messages set record_offset = record_offset + 1000000 where record_offset % 2003 = 3;
         update dialogs set closed_at = closed_at + interval '1 second' where opened_offset % 3 = 0;
         delete from dialogs where opened_offset % 501 = 4;
         delete from clients where client_phone like '%77';
         delete from client_aliases where record_offset % 3 = 0;
         update client_aliases set named_at = named_at + interval '1 second' where record_offset % 5 = 1;
         update dead_letters set value = 'x' where reason = 'malformed_json' and record_offset % 2 = 0;
         delete from dead_letters where reason = 'conflicting_duplicate' and record_offset % 7 = 0",
    );
    let (one, many) = (telex.prove_with(&["--jobs=1", "--memory-mib=1024"]), telex.prove_with(&small));
    assert_eq!(one["verdict"], "differs");
    assert_eq!(one["findings"].as_array().unwrap().len(), 100);
    for key in ["findings", "findings_total", "records", "rows", "duplicates", "dead_letters"] {
        assert_eq!(one[key], many[key], "{key}");
    }
}

#[test]
fn a_proof_since_the_last_looks_at_what_came_since_and_says_so() {
    let (telex, api, _processor) = Telex::at_work();
    let since_last = |telex: &Telex| {
        telex.wait_until_applied();
        telex.prove_with(&["--since-last"])
    };
    for at in 0..4 {
        keep(&api, &message("client", &format!("m-{at}"), "text"));
    }
    assert_eq!(since_last(&telex)["verdict"], "not_provable", "nothing was proved yet");
    assert_eq!(telex.prove()["verdict"], "clean");
    let report = since_last(&telex);
    assert_says(&report, [("/verdict", json!("clean")), ("/records", json!(0))]);

    // A dialog that was open then is continued and closed; ids from before are repeated and reused.
    keep(&api, &message("client", "m-4", "text"));
    keep(&api, &message("client", "m-1", "text"));
    keep(&api, &message("client", "m-2", "another text"));
    let closed = keep(&api, &message("client", "m-4", "text"));
    close_dialog(&api, &closed["client_id"]);
    keep(&api, &message("client", "m-5", "text"));
    keep(&api, &message("another client", "m-0", "text"));
    let report = since_last(&telex);
    assert_says(&report, [("/verdict", json!("clean")), ("/records", json!(7))]);
    assert_says(&report, [("/scope", json!("since_last")), ("/duplicates", json!(2))]);
    assert_eq!(report["dead_letters"], json!({"conflicting_duplicate": 1}));
    assert!(report["line"].as_str().unwrap().starts_with("clean since 20"), "{report:#}");

    keep(&api, &message("client", "m-6", "text"));
    keep(&api, &message("client", "m-7", "text"));
    telex.wait_until_applied();
    telex.execute("update messages set text = 'changed' where external_message_id = 'm-6'");
    let report = since_last(&telex);
    assert_eq!(findings(&report).len(), 1, "{report:#}");
    assert_eq!(report["findings"][0]["detail"], "text");
    telex.execute("update messages set text = 'text' where external_message_id = 'm-6'");

    // What was proved before is taken for granted: that is what a full proof is for.
    telex.execute("update messages set text = 'changed' where external_message_id = 'm-0'");
    assert_eq!(since_last(&telex)["verdict"], "clean");
    let full = findings(&telex.prove());
    assert_eq!((full[0].0.as_str(), full.len()), ("message_differs", 2));
    assert_eq!(since_last(&telex)["verdict"], "not_provable", "a full proof has found a difference");
}

#[test]
fn a_proof_under_load_sees_one_moment() {
    let (mut telex, api) = Telex::with_api();
    let _processors = [telex.processor(), telex.processor()];
    let load = telex.load(&api, 20_000, 2_000);
    let mut seen = Vec::new();
    let both: [&[&str]; 2] = [&[], &["--since-last"]];
    while load.is_running() {
        for arguments in both {
            let report = telex.prove_with(arguments);
            // Before a processor has registered the topic there is nothing to prove.
            if report["verdict"] != "not_provable" {
                assert_eq!(report["verdict"], "clean", "{report:#}");
                seen.push(report["records"].as_i64().unwrap());
            }
        }
    }
    assert!(seen.len() > 4, "{seen:?}");
    assert!(telex.assert_clean()["records"].as_i64().unwrap() > 0);
}

/// The report, and the most memory that the program had, in KiB.
fn measured(telex: &Telex, arguments: &[&str]) -> (Value, u64) {
    let mut command = std::process::Command::new(telex.programs.binaries.join("processor"));
    command.args(["prove", "--json"]).args(arguments).stdout(std::process::Stdio::piped());
    command.args([
        format!("--database-url={}", telex.programs.database_url),
        format!("--kafka-brokers={}", telex.programs.kafka),
        format!("--topic={}", telex.programs.topic),
    ]);
    let child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watched = std::thread::spawn(move || {
        let mut peak_kib = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find(|line| line.starts_with("VmHWM")) else { break };
            peak_kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        peak_kib
    });
    let output = child.wait_with_output().unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), watched.join().unwrap())
}

#[test]
#[ignore = "a measurement: cargo test … -- --ignored --nocapture a_million"]
fn a_million_records_are_proved_within_200_mib() {
    let mut telex = Telex::new();
    fill::fill(&telex, 1_000_000);
    let mut processor = telex.processor();
    telex.programs.require_processor(&["progress", "wait", "--timeout-seconds=300"]).unwrap();
    processor.stop().unwrap();
    for arguments in [&["--jobs=1"][..], &["--jobs=2"], &["--since-last"]] {
        let (report, peak_kib) = measured(&telex, arguments);
        let seconds = report["elapsed_seconds"].as_f64().unwrap();
        eprintln!(
            "{arguments:?}: {} records in {seconds:.1} s, peak RSS {} MiB",
            report["records"],
            peak_kib / 1024
        );
        assert_eq!(report["verdict"], "clean", "{report:#}");
        assert!(peak_kib < 200 * 1024);
    }
}

#[test]
fn what_was_proved_last_is_shown_by_every_processor_whoever_proved_it() {
    let (mut telex, writer) = Telex::with_writer();
    writer.messages("client", 0..3);
    telex.applied();
    let verdict = |processor: &Running, verdict: &str| {
        metric(processor, &format!("processor_proof_verdict{{scope=\"full\",verdict=\"{verdict}\"}}"))
    };
    let clean_at = |processor: &Running| {
        metric(processor, "processor_proof_timestamp_seconds{scope=\"full\"}").unwrap_or_default()
    };
    let first = telex.processor();
    wait_for("the clean one", SOON, || verdict(&first, "clean") == Some(1));
    assert_eq!(metric(&first, "processor_proof_findings"), Some(0));
    assert!(clean_at(&first) > 1_700_000_000);

    telex.execute("update messages set text = 'changed' where record_offset = 1");
    assert_eq!(telex.prove()["verdict"], "differs");
    let second = telex.processor();
    wait_for("the one that differs", SOON, || verdict(&second, "differs") == Some(1));
    assert_eq!((verdict(&second, "clean"), metric(&second, "processor_proof_findings")), (None, Some(1)));
    assert_eq!(clean_at(&second), clean_at(&first), "when the tables were last right");
    // The other one reads it, too, within its minute.
    wait_for("the same at the first", 2 * SOON, || {
        (verdict(&first, "differs"), verdict(&first, "clean")) == (Some(1), None)
    });
}
