//! Is it the topic that was applied? A partition stops by name, the others go on, and only a person's
//! command goes on with it.

use std::time::Duration;

use dev_env::programs::{PARTITIONS, TOPIC_SETTINGS};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    asked::assert_says,
    harness::{SOON, Telex, metric, readiness, wait_for},
    placement,
    topic::{self, Writer, partition_of},
};

/// Accepts another topic of the same name.
const RESUME: &[&str] = &["halts", "resume", "--reason-code", "topic_recreated"];

/// Everything that must not change for a halted partition, whose topic is the only one.
fn rows(telex: &Telex, partition: i32) -> [i64; 4] {
    assert_eq!(telex.number("select count(*) from topics"), 1, "another topic is registered in silence");
    let progress = |column: &str| telex.progress(column, partition);
    let messages = telex.number(&format!("select count(*) from messages where partition = {partition}"));
    let accounted = progress("messages + duplicates + dead_letters");
    [progress("next_offset"), progress("owner_epoch"), accounted, messages]
}

/// The halts, as soon as all partitions are written down as halted.
fn all_halted(telex: &Telex, reason: &str) -> Vec<Value> {
    wait_for("all partitions to be written down as halted", SOON, || telex.halts().len() == 12);
    let halts = telex.halts();
    assert!(halts.iter().all(|halt| halt["reason"] == reason), "{halts:#?}");
    halts
}

/// The longer one is the silent one: the stored offset lies inside the new log.
#[rstest]
#[case::that_is_shorter(3)]
#[case::that_is_longer(30)]
fn a_recreated_topic_stops_until_it_is_accepted(#[case] records: u32) {
    let mut telex = Telex::new();
    Writer::new(&telex).messages("client", 0..10);
    telex.applied();
    telex.say(&["dialog-rules", "set", "--idle-gap=1h", "--yes"]);
    telex.say(&["dialog-rules", "set", "--idle-gap=1h", "--idle-gap=wa-=never", "--yes"]);
    let rules = |telex: &Telex| telex.say(&["dialog-rules", "show"]).split_once('\n').unwrap().1.to_owned();
    let rules_before = rules(&telex);
    topic::recreate(&telex);
    Writer::new(&telex).messages("client", 100..100 + records);

    let partition = partition_of("client");
    let before = rows(&telex, partition);
    let mut processor = telex.processor();
    let halts = all_halted(&telex, "topic_recreated");
    let (status, body) = readiness(&processor);
    assert_eq!((status, body.contains("topic_recreated")), (503, true), "{body}");
    let found = halts[0]["numbers"]["found"].as_str().unwrap().to_owned();
    assert_ne!(halts[0]["numbers"]["registered"], found);
    processor.stop().unwrap();
    let mut processor = telex.processor();
    wait_for("the halts after a restart", SOON, || readiness(&processor).1.contains("topic_recreated"));
    assert_eq!(rows(&telex, partition), before, "nothing is written for a halted partition");
    assert_eq!(telex.number("select count(*) from halts"), 12, "a halt stands once");

    let other = "00000000-0000-0000-0000-000000000001";
    let refused = telex.refuse(&[RESUME, &["--topic-id", other, "--yes"]].concat());
    assert!(refused.contains(&found), "{refused}");
    telex.refuse(&[RESUME, &["--partition", "0", "--from", "0", "--to", "0", "--yes"]].concat());
    let said = telex.say(&[RESUME, &["--topic-id", &found, "--dry-run"]].concat());
    assert!(said.contains(&format!("{records} records to apply")), "{said}");
    assert_eq!(telex.number("select count(*) from topics"), 1, "a dry run writes nothing");
    telex.say(&[RESUME, &["--topic-id", &found, "--operator", "test", "--yes"]].concat());

    // The processor that runs takes the new topic up, without a restart.
    wait_for("the new topic to be applied", SOON, || telex.messages() == 10 + i64::from(records));
    processor.wait_until_ready().unwrap();
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"topic_changed\"}"), Some(1));
    assert_eq!(telex.halts(), Vec::<Value>::new());
    assert_eq!(telex.number("select count(*) from interventions where operator = 'test'"), 12);
    assert_eq!(telex.number("select count(*) from dialogs"), 1, "the client's dialog goes on");
    assert_eq!(telex.number("select count(distinct topic_ref) from messages"), 2);
    assert_eq!(rules(&telex), rules_before, "the dialogs of the new topic end as those of the former did");
    wait_for("the word about the new topic", SOON, || {
        placement::said(&telex).iter().any(|word| word.topic_id.to_string() == found)
    });
    telex.assert_counts([("/records", records), ("/former/messages", 10)]);
}

#[test]
fn a_retention_overrun_stops_with_the_size_of_the_gap_and_the_others_go_on() {
    let (mut telex, writer) = Telex::with_writer();
    let (partition, beside) = (partition_of("client"), topic::client_beside("client"));
    writer.messages("client", 0..5);
    telex.applied();
    writer.messages("client", 5..20);
    writer.messages(&beside, 0..7);
    topic::trim(&telex, partition, 12);

    let before = rows(&telex, partition);
    let processor = telex.processor();
    wait_for("the others", SOON, || telex.messages() == 12);
    let overrun = json!({"next_offset": 5, "log_start": 12});
    assert_says(&telex.halted(), [("/reason", json!("below_log_start")), ("/numbers", overrun)]);
    let gauge = format!("processor_partition_halted{{partition=\"{partition}\",reason=\"below_log_start\"}}");
    assert_eq!(metric(&processor, &gauge), Some(1));
    assert_eq!(metric(&processor, &format!("processor_lag_records{{partition=\"{partition}\"}}")), None);
    assert_eq!(rows(&telex, partition), before);

    let p = partition.to_string();
    let halts = ["halts", "resume", "--partition", &p];
    let assert_refused = |place: [&str; 4], code: &str, expected: &str| {
        let refused = telex.refuse(&[&halts[..], &place, &["--reason-code", code, "--yes"]].concat());
        assert!(refused.contains(expected), "{refused}");
    };
    assert_refused(["--from", "4", "--to", "12"], "below_log_start", "next offset is 5");
    assert_refused(["--from", "5", "--to", "11"], "below_log_start", "the log starts at 12");
    assert_refused(["--from", "5", "--to", "21"], "below_log_start", "the log ends at 20");
    assert_refused(["--from", "5", "--to", "12"], "offset_gap", "below_log_start");
    let dry = ["--from", "5", "--to", "14", "--reason-code", "below_log_start", "--dry-run"];
    let said = telex.say(&[&halts[..], &dry].concat());
    assert!(said.contains("skips 9 offsets, 5 to 13: 2 records are in the log"), "{said}");
    assert_eq!(telex.number("select count(*) from interventions"), 0, "a dry run writes nothing");
    assert_eq!(rows(&telex, partition), before, "a dry run writes nothing");

    telex.resume(partition, 5, 12, "below_log_start");
    wait_for("the rest", SOON, || telex.messages() == 20);
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    assert_eq!(metric(&processor, &gauge), None);
    let audit = "select count(*) from interventions where from_offset = 5 and to_offset = 12 and skipped = 7
                 and skipped_in_log = 0 and repeated = 0 and reason = 'below_log_start' and halt_id is not null";
    assert_eq!(telex.number(audit), 1);
    let gap =
        "next_offset - birth_offset - messages - duplicates - commands - dead_letters - skipped + repeated";
    assert_eq!(telex.progress(gap, partition), 0, "the sum closes");
    assert_refused(["--from", "20", "--to", "20"], "below_log_start", "is not halted");
}

#[test]
fn an_offset_beyond_the_log_stops_and_stays_stopped_when_the_log_has_grown_past_it() {
    let (mut telex, writer) = Telex::with_writer();
    let partition = partition_of("client");
    writer.messages("client", 0..5);
    telex.applied();
    // As after an unclean election that has lost three records.
    telex.execute(&format!(
        "update partition_progress set next_offset = 8, messages = 8 where partition = {partition}"
    ));
    let mut processor = telex.processor();
    let beyond = json!({"next_offset": 8, "log_end": 5});
    assert_says(&telex.halted(), [("/reason", json!("beyond_log_end")), ("/numbers", beyond)]);
    processor.stop().unwrap();
    writer.messages("client", 5..15);
    let before = rows(&telex, partition);
    let processor = telex.processor();
    wait_for("the halt after a restart", SOON, || readiness(&processor).1.contains("beyond_log_end"));
    assert_eq!(rows(&telex, partition), before);

    let p = partition.to_string();
    let place = ["halts", "resume", "--partition", &p, "--from", "8", "--to", "5"];
    let said = telex.say(&[&place[..], &["--reason-code", "beyond_log_end", "--dry-run"]].concat());
    assert!(said.contains("repeats 3 offsets, 5 to 7"), "{said}");
    telex.resume(partition, 8, 5, "beyond_log_end");
    wait_for("the rest", SOON, || telex.messages() == 15);
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    assert_eq!(telex.progress("repeated", partition), 3);
}

#[test]
fn a_topic_with_unsafe_settings_is_refused_at_start_and_reported_while_running() {
    let mut telex = Telex::new();
    let mut production = telex.processor_with(&["--topic-profile=production"]);
    assert!(!production.server.wait().unwrap().success());
    let log = production.server.log_text();
    for rule in ["min.insync.replicas must be 2", "the replication factor must be 3"] {
        assert!(log.contains(rule), "{log}");
    }
    let processor = telex.processor_with(&["--topic-audit-seconds=1"]);
    wait_for("the first audit", SOON, || metric(&processor, "processor_topic_unsafe") == Some(0));
    topic::alter(&telex, "cleanup.policy", "compact");
    wait_for("the alert", SOON, || metric(&processor, "processor_topic_unsafe") == Some(1));
    assert!(processor.server.log_text().contains("cleanup.policy must be delete"));
    let mut refused = telex.processor();
    assert!(!refused.server.wait().unwrap().success());
    assert!(refused.server.log_text().contains("cleanup.policy must be delete"));
    topic::alter(&telex, "cleanup.policy", "delete");
    wait_for("the end of the alert", SOON, || metric(&processor, "processor_topic_unsafe") == Some(0));
}

#[test]
fn a_retention_overrun_under_a_running_processor_halts_that_partition_alone() {
    let (mut telex, writer) = Telex::with_writer();
    let (partition, beside) = (partition_of("client"), topic::client_beside("client"));
    let processor = telex.processor();
    writer.messages("client", 0..5);
    telex.assert_clean();
    processor.server.freeze();
    std::thread::sleep(Duration::from_millis(200));
    writer.messages("client", 5..20);
    topic::trim(&telex, partition, 12);
    processor.server.thaw();
    let overrun = json!({"next_offset": 5, "log_start": 12});
    assert_says(&telex.halted(), [("/reason", json!("below_log_start")), ("/numbers", overrun)]);
    writer.messages(&beside, 0..7);
    wait_for("the others", SOON, || telex.messages() == 12);
    assert!(processor.server.is_running());
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
}

#[test]
fn a_topic_that_is_created_again_under_a_running_processor_halts_without_a_restart() {
    let mut telex = Telex::new();
    Writer::new(&telex).messages("client", 0..10);
    let processor = telex.processor();
    telex.assert_clean();
    let before = rows(&telex, partition_of("client"));
    topic::recreate(&telex);
    Writer::new(&telex).messages("client", 100..130);
    all_halted(&telex, "topic_recreated");
    assert!(processor.server.is_running());
    Writer::new(&telex).messages("client", 200..203);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(rows(&telex, partition_of("client")), before, "nothing is read of the new topic");
}

#[test]
fn a_topic_of_another_cluster_is_not_filed_until_a_person_accepts_it() {
    let mut telex = Telex::new();
    Writer::new(&telex).messages("client", 0..3);
    telex.applied();
    // Staging's brokers, with production's database.
    let (_staging, servers) = Telex::with_own_servers();
    servers.kafka.create_topic(&telex.programs.topic, PARTITIONS, &TOPIC_SETTINGS).unwrap();
    telex.programs.kafka = servers.kafka.bootstrap();
    Writer::new(&telex).messages("client", 10..14);
    let mut processor = telex.processor();
    let halts = all_halted(&telex, "other_cluster");
    assert_ne!(halts[0]["numbers"]["registered"], halts[0]["numbers"]["found"]);
    assert_eq!(telex.number("select count(*) from topics"), 1, "it is not registered in silence");
    assert_eq!(telex.messages(), 3);
    processor.stop().unwrap();
    let processor = telex.processor();
    wait_for("the halts after a restart", SOON, || readiness(&processor).1.contains("other_cluster"));

    let found = halts[0]["numbers"]["topic_id"].as_str().unwrap();
    let accept = ["halts", "resume", "--topic-id", found, "--operator", "test", "--reason-code"];
    let refused = telex.refuse(&[&accept[..], &["topic_recreated", "--yes"]].concat());
    assert!(refused.contains("other_cluster"), "{refused}");
    telex.say(&[&accept[..], &["other_cluster", "--yes"]].concat());
    wait_for("the accepted topic", SOON, || telex.messages() == 7);
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    assert_eq!(telex.number("select count(*) from interventions where operator = 'test'"), 12);
    assert_eq!(telex.assert_clean()["former"]["messages"], 3);
}
