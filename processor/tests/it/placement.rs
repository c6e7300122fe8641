//! Ingest APIs have no tables: what the processors tell them in a topic decides whether they start, and whether they go
//! on, with the number of partitions that they were given.

use std::time::Duration;

use dev_env::{
    ports::Port,
    programs::{Programs, Running},
};
use processor::kafka::{client::KafkaConfig, placement::Announcer};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use schemas::{PartitionCount, Placement, placement::topic_of};

use crate::{
    harness::{SOON, Telex, keep, message, post, wait_for},
    topic,
};

/// What was said so far, oldest first.
pub fn said(telex: &Telex) -> Vec<Placement> {
    let name = topic_of(&telex.programs.topic);
    let consumer: BaseConsumer = topic::config(telex)
        .set("group.id", "telex.test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut log = None;
    wait_for("the log of placements", SOON, || {
        log = consumer.fetch_watermarks(&name, 0, Duration::from_secs(10)).ok();
        log.is_some()
    });
    let (start, end) = log.unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&name, 0, Offset::Offset(start)).unwrap();
    consumer.assign(&from).unwrap();
    let mut found = Vec::new();
    wait_for("all that was said", SOON, || {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            found.push(Placement::decode(record.payload().unwrap()).unwrap());
        }
        i64::try_from(found.len()).unwrap() >= end - start
    });
    found
}

fn counts(telex: &Telex) -> Vec<i32> {
    said(telex).iter().map(|placement| placement.partition_count.get()).collect()
}

/// The count that a reader believes.
fn in_force(telex: &Telex) -> Option<i32> {
    let said = said(telex).into_iter();
    said.fold(None, |before, placement| Some(placement.highest(before)))
        .map(|placement: Placement| placement.partition_count.get())
}

/// A processor that works, and has said over how many partitions keys are spread.
fn first_processor(telex: &mut Telex) -> Running {
    let processor = telex.ready_processor();
    wait_for("the first word", SOON, || counts(telex) == [12]);
    processor
}

pub fn switch_to_24(telex: &Telex) -> String {
    telex.say(&["partitions", "grow", "--to=24", "--yes"]);
    telex.wait_until_applied();
    telex.say(&["partitions", "switch", "--to=24", "--yes"])
}

fn api_with(telex: &mut Telex, partition_count: i32) -> Running {
    telex.ingest_api_on(Port::Free, &[&format!("--partition-count={partition_count}")])
}

/// Waits for the end of an API, which must be one in words.
#[track_caller]
fn assert_ends(api: &mut Running, given: i32, told: i32) {
    wait_for("the end of the API", Duration::from_secs(30), || !api.server.is_running());
    assert!(!api.server.wait().unwrap().success());
    let log = api.server.log_text();
    let words = format!(
        "--partition-count (INGEST_PARTITION_COUNT) is {given}, and the processors spread keys over {told} partitions"
    );
    assert!(log.contains(&words) && log.contains("docs/growing-partitions.md"), "{log}");
}

/// Who writes placements as a processor does.
fn announcer(telex: &Telex) -> Announcer {
    let (brokers, topic) = (telex.programs.kafka.clone(), telex.programs.topic.clone());
    Announcer::new(&KafkaConfig { brokers, connection: None, topic })
}

/// An API with this count does not start, and takes nothing until it has ended.
#[track_caller]
fn assert_refused(telex: &mut Telex, given: i32, told: i32) {
    let mut api = api_with(telex, given);
    let address = api.address.unwrap();
    wait_for("the end of the API", SOON, || {
        assert_ne!(post(address, &message("client", "refused", "Hello")).0, 202, "it was not asked first");
        !api.server.is_running()
    });
    assert_ends(&mut api, given, told);
}

#[test]
fn an_api_with_another_count_than_the_processors_is_refused_by_both_numbers_and_one_with_theirs_starts() {
    let mut telex = Telex::new();
    let _processor = first_processor(&mut telex);
    // The topic has the partitions that the API would write to: it is the keys that are not there.
    topic::raise_in_place(&telex, 24);
    for other in [6, 24] {
        assert_refused(&mut telex, other, 12);
    }
    let mut api = api_with(&mut telex, 12);
    api.wait_until_ready().unwrap();
    keep(&api, &message("client", "m-1", "Hello"));
    telex.assert_counts([("/rows/messages", 1), ("/rows/dead_letters", 0)]);
}

#[test]
fn an_api_that_was_not_stopped_before_the_switch_ends_by_itself_and_does_not_start_again() {
    let mut telex = Telex::new();
    let mut forgotten = telex.ingest_api();
    let _processor = first_processor(&mut telex);
    keep(&forgotten, &message("client", "m-1", "Hello"));
    let switched = switch_to_24(&telex);
    assert!(!switched.contains("cannot be told"), "{switched}");
    assert_eq!(in_force(&telex), Some(24), "the command has said it before it ended");
    assert_ends(&mut forgotten, 12, 24);
    assert_refused(&mut telex, 12, 24);
    let mut current = api_with(&mut telex, 24);
    current.wait_until_ready().unwrap();
    keep(&current, &message("client", "m-2", "Hello"));
    telex.assert_counts([("/rows/messages", 2), ("/rows/dead_letters", 0)]);
}

#[test]
fn what_the_switch_could_not_say_a_processor_says_as_soon_as_it_can() {
    let mut telex = Telex::without_placement();
    let mut processor = telex.processor_with(&["--topic-audit-seconds=1"]);
    processor.wait_until_ready().unwrap();
    let switched = switch_to_24(&telex);
    assert!(switched.contains("the ingest APIs cannot be told: there is no topic"), "{switched}");
    assert!(switched.contains("keys are spread over 24 partitions from here on"), "{switched}");
    wait_for("the processor's warning", SOON, || {
        processor.server.log_text().contains("the ingest APIs cannot be told")
    });
    telex.make_placement();
    wait_for("the processor's word", SOON, || in_force(&telex) == Some(24));
    assert_refused(&mut telex, 12, 24);
    api_with(&mut telex, 24).wait_until_ready().unwrap();
}

#[test]
fn a_late_word_does_not_put_an_older_count_back() {
    let mut telex = Telex::new();
    let _processor = first_processor(&mut telex);
    let older = said(&telex)[0];
    switch_to_24(&telex);
    announcer(&telex).announce(older).unwrap();
    assert_eq!(counts(&telex).iter().filter(|count| **count == 12).count(), 2);
    assert_refused(&mut telex, 12, 24);
    api_with(&mut telex, 24).wait_until_ready().unwrap();
}

#[test]
fn a_topic_that_was_made_again_between_two_looks_is_read_again_although_it_ends_where_the_former_did() {
    let mut telex = Telex::new();
    let processor = first_processor(&mut telex);
    let mut api = api_with(&mut telex, 12);
    api.wait_until_ready().unwrap();
    let former = said(&telex)[0];
    // It would write what its tables hold.
    drop(processor);
    api.server.freeze();
    topic::recreate_placement(&telex);
    let count = PartitionCount::new(24).unwrap();
    wait_for("the word in the new topic", SOON, || {
        announcer(&telex).announce(Placement { partition_count: count, ..former }).is_ok()
    });
    assert_eq!(counts(&telex), [24], "as many records as the former topic had");
    api.server.thaw();
    assert_ends(&mut api, 12, 24);
}

#[test]
fn a_processor_with_an_empty_database_does_not_speak_against_what_was_said() {
    let (mut telex, api) = Telex::with_api();
    let _processor = first_processor(&mut telex);
    topic::raise_in_place(&telex, 24);
    let other = format!("{}_other", telex.group());
    telex.execute(&format!("create database {other}"));
    let (server, _) = telex.programs.database_url.rsplit_once('/').unwrap();
    let programs = Programs { database_url: format!("{server}/{other}"), ..telex.programs.clone() };
    programs.require_processor(&["migrate"]).unwrap();
    let group = format!("--group={other}");
    let settings = [group.as_str(), "--topic-audit-seconds=1"];
    let mut rebuilt = programs.processor(&telex.directory, "rebuilt", &settings).unwrap();
    rebuilt.wait_until_ready().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(counts(&telex), [12], "it has registered 24 partitions, and keys are spread over 12");
    assert!(api.server.is_running());
}

#[test]
fn without_the_topic_an_api_says_so_once_and_goes_on() {
    let mut telex = Telex::without_placement();
    let (api, _processor) = (telex.ingest_api(), telex.processor());
    keep(&api, &message("client", "m-1", "Hello"));
    telex.assert_clean();
    // It has looked twice more.
    std::thread::sleep(Duration::from_secs(11));
    let log = api.server.log_text();
    assert_eq!(log.matches("--partition-count is believed").count(), 1, "{log}");
    assert!(log.contains("there is no topic"), "{log}");
    assert!(api.server.is_running());
}
