//! What cannot be taken up is taken up later, by itself; the rest is not kept waiting.

use std::{collections::BTreeSet, time::Duration};

use dev_env::programs::PARTITIONS;
use processor::kafka::{client::KafkaConfig, topic::Inspector};
use schemas::Partition;
use serde_json::Value;

use crate::{
    harness::{OwnServers, Telex, metric, readiness, wait_for},
    second_broker::SecondBroker,
    topic::{self, Writer, client_of},
    watchdog::LIMITS,
};

const SOON: Duration = Duration::from_secs(90);

/// On servers of its own, with a second broker that partitions can be given to.
fn with_two_brokers() -> (Telex, OwnServers, SecondBroker) {
    let (telex, servers) = Telex::with_own_servers();
    // While there is one broker: the group's coordinator stays with the first.
    topic::committed(&telex);
    let second = SecondBroker::start(&telex.directory);
    wait_for("the second broker to be given partitions", SOON, || topic::brokers(&telex) == 2);
    (telex, servers, second)
}

#[test]
fn a_partition_without_a_leader_waits_by_name_and_the_others_go_on() {
    let (mut telex, _servers, mut second) = with_two_brokers();
    topic::recreate(&telex);
    let led = |broker| topic::led_by(&telex, broker);
    wait_for("leaders", SOON, || led(1).len() + led(2).len() == PARTITIONS as usize);
    let away: BTreeSet<i32> = led(2);
    assert!((1..PARTITIONS as usize).contains(&away.len()), "{away:?}");
    let writer = Writer::new(&telex);
    (0..PARTITIONS).for_each(|partition| writer.messages(&client_of(partition), 0..2));
    telex.applied();
    second.kill();
    wait_for("the loss to be known", SOON, || topic::led_by(&telex, 2).is_empty());

    let processor = telex.processor();
    let here: Vec<i32> = (0..PARTITIONS).filter(|partition| !away.contains(partition)).collect();
    for partition in &here {
        writer.messages(&client_of(*partition), 2..4);
    }
    let applied = i64::from(2 * PARTITIONS) + 2 * here.len() as i64;
    wait_for("the others", SOON, || telex.messages() == applied);
    wait_for("each partition that waits, by name", SOON, || {
        let (status, body) = readiness(&processor);
        let names = |partition| body.contains(&format!("partition {partition} not taken up: log_range"));
        status == 503 && away.iter().all(names)
    });
    let waits = |partition: &i32| {
        let labels = format!("partition=\"{partition}\",reason=\"log_range\"");
        metric(&processor, &format!("processor_partition_waiting{{{labels}}}"))
    };
    assert!(away.iter().all(|partition| waits(partition) == Some(1)));
    assert!(here.iter().all(|partition| waits(partition).is_none()));
    assert_eq!(metric(&processor, "processor_owned_partitions"), Some(here.len() as i64));
    let shown: Vec<Value> = telex.json(&["progress", "show", "--json"]);
    assert_eq!(shown.len(), PARTITIONS as usize);
    for row in shown {
        let partition = i32::try_from(row["partition"].as_i64().unwrap()).unwrap();
        let why = row["stands_still"].as_str();
        assert_eq!(why.is_some_and(|why| why.starts_with("log_range: ")), away.contains(&partition), "{row}");
        assert_eq!(row["lag"].as_i64(), (!away.contains(&partition)).then_some(0), "{row}");
    }

    second.start_again();
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    (0..PARTITIONS).for_each(|partition| writer.messages(&client_of(partition), 4..5));
    telex.assert_clean();
    assert!(away.iter().all(|partition| waits(partition).is_none()));
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
}

/// The partitions of whose logs the watchdog learns the end.
fn log_ends(telex: &Telex) -> BTreeSet<i32> {
    let (brokers, topic) = (telex.programs.kafka.clone(), telex.programs.topic.clone());
    let inspector = Inspector::new(&KafkaConfig { brokers, connection: None, topic }).unwrap();
    let all: Vec<Partition> = (0..PARTITIONS).map(Partition).collect();
    inspector.log_ends(&all).unwrap().into_iter().map(|(partition, _)| partition.0).collect()
}

#[test]
fn a_new_partition_without_a_leader_waits_with_those_behind_it_and_halts_none() {
    let (mut telex, _servers, mut second) = with_two_brokers();
    let mut processor = telex.ready_processor();
    telex.wait_until_applied();
    processor.stop().unwrap();
    topic::raise_in_place(&telex, 24);
    let led = |broker| topic::led_by(&telex, broker);
    wait_for("leaders", SOON, || led(1).len() + led(2).len() == 24);
    let first_away = *led(2).range(PARTITIONS..).next().unwrap();
    second.kill();
    wait_for("the loss to be known", SOON, || led(2).is_empty());

    let processor = telex.processor();
    wait_for("those that cannot be registered, by name", SOON, || {
        let body = readiness(&processor).1;
        (first_away..24).all(|p| body.contains(&format!("partition {p} not taken up: log_range")))
    });
    assert_eq!(telex.halts(), Vec::<Value>::new());
    assert_eq!(metric(&processor, "processor_owned_partitions"), Some(i64::from(first_away)));
    second.start_again();
    wait_for("readiness", SOON, || readiness(&processor).0 == 200);
    assert_eq!(metric(&processor, "processor_owned_partitions"), Some(24));
    telex.assert_clean();
}

#[test]
fn a_partition_that_loses_its_leader_excuses_itself_alone() {
    let (mut telex, _servers, mut second) = with_two_brokers();
    topic::recreate(&telex);
    let writer = Writer::new(&telex);
    let processor = telex.processor_with(&LIMITS);
    (0..PARTITIONS).for_each(|partition| writer.messages(&client_of(partition), 0..2));
    telex.assert_clean();
    let away = topic::led_by(&telex, 2);
    second.kill();
    for partition in (0..PARTITIONS).filter(|partition| !away.contains(partition)) {
        writer.messages(&client_of(partition), 2..4);
    }
    wait_for("the loss to be known", SOON, || topic::led_by(&telex, 2).is_empty());
    let answering = log_ends(&telex);
    assert_eq!(answering.len() + away.len(), PARTITIONS as usize, "{answering:?}");
    assert!(answering.is_disjoint(&away), "{answering:?}");
    std::thread::sleep(Duration::from_secs(25));
    let applied = i64::from(2 * PARTITIONS) + 2 * (i64::from(PARTITIONS) - away.len() as i64);
    assert_eq!(telex.messages(), applied);
    assert_eq!(metric(&processor, "processor_rebuilds_total{cause=\"stalled\"}"), None);
    assert!(processor.server.is_running());
    second.start_again();
    (0..PARTITIONS).for_each(|partition| writer.messages(&client_of(partition), 4..5));
    telex.assert_clean();
}

#[test]
fn a_takeover_that_must_wait_does_not_stop_what_is_owned_already() {
    let (mut telex, writer) = Telex::with_writer();
    let first = telex.ready_processor();
    let mut second = telex.processor();
    wait_for("the second's half", SOON, || {
        [&first, &second].iter().all(|one| metric(one, "processor_owned_partitions") == Some(6))
    });
    let of_first = format!("count(*) filter (where owner like '%:{}')", first.server.pid());
    let partitions: Vec<i32> =
        (0..PARTITIONS).filter(|partition| telex.progress(&of_first, *partition) == 1).collect();
    assert_eq!(partitions.len(), 6);
    let lock = telex.hold("lock table halts in access exclusive mode");
    second.stop().unwrap();
    wait_for("the other half to wait", SOON, || {
        readiness(&first).1.matches("not taken up: database").count() == 6
    });
    for partition in &partitions {
        writer.messages(&client_of(*partition), 0..3);
    }
    wait_for("what is owned already", SOON, || telex.messages() == 18);
    drop(lock);
    wait_for("the rest", SOON, || metric(&first, "processor_owned_partitions") == Some(12));
    telex.assert_clean();
}
