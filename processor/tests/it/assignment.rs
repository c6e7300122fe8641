//! What Telex rests on in librdkafka: a rebalance may be answered with a part of what the group gives, or
//! with nothing, and the rest joins later; a partition that never joined can be taken away.
#![expect(clippy::disallowed_methods, reason = "clients that are not ours")]

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use dev_env::programs::PARTITIONS;
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    bindings::rd_kafka_resp_err_t as Code,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    types::RDKafkaRespErr,
};
use rstest::rstest;

use crate::{
    harness::{SOON, Telex, wait_for},
    topic::Writer,
};

/// Answers a rebalance at once: with the first `joins` of the partitions, all of them remembered.
struct Member {
    joins: usize,
    given: Mutex<BTreeSet<i32>>,
    /// Taken away without ever having joined.
    taken_unread: Mutex<BTreeSet<i32>>,
}

impl Member {
    fn given(&self) -> BTreeSet<i32> {
        self.given.lock().unwrap().clone()
    }
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let held = consumer.assignment().unwrap();
        let mut answer = TopicPartitionList::new();
        for element in list.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                if held.count() + answer.count() < self.joins {
                    answer.add_partition_offset(topic, partition, Offset::Offset(0)).unwrap();
                }
                self.given.lock().unwrap().insert(partition);
            } else {
                match held.find_partition(topic, partition) {
                    Some(_) => drop(answer.add_partition(topic, partition)),
                    None => drop(self.taken_unread.lock().unwrap().insert(partition)),
                }
                self.given.lock().unwrap().remove(&partition);
            }
        }
        if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            consumer.incremental_assign(&answer).unwrap();
        } else {
            consumer.incremental_unassign(&answer).unwrap();
        }
    }
}

fn member(telex: &Telex, protocol: &str, joins: usize) -> BaseConsumer<Member> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &telex.programs.kafka)
        .set("group.id", telex.group())
        .set("group.protocol", protocol)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    if protocol == "classic" {
        config.set("partition.assignment.strategy", "cooperative-sticky").set("session.timeout.ms", "6000");
    }
    let context =
        Member { joins, given: Mutex::new(BTreeSet::new()), taken_unread: Mutex::new(BTreeSet::new()) };
    let consumer: BaseConsumer<Member> = config.create_with_context(context).unwrap();
    consumer.subscribe(&[&telex.programs.topic]).unwrap();
    consumer
}

/// The partitions of the records that come within a time.
fn read(consumer: &BaseConsumer<Member>, within: Duration) -> Vec<i32> {
    let (until, mut partitions) = (Instant::now() + within, Vec::new());
    while Instant::now() < until {
        if let Some(message) = consumer.poll(Duration::from_millis(50)) {
            partitions.push(message.unwrap().partition());
        }
    }
    partitions.sort_unstable();
    partitions
}

fn write_to_each(telex: &Telex) {
    let writer = Writer::new(telex);
    (0..PARTITIONS).for_each(|partition| writer.garbage(partition));
    writer.flush();
}

#[rstest]
#[case::classic("classic")]
#[case::consumer("consumer")]
fn a_rebalance_may_be_answered_in_part_and_the_rest_joins_later(#[case] protocol: &str) {
    let telex = Telex::new();
    write_to_each(&telex);
    let first = member(&telex, protocol, 3);
    wait_for("the assignment", SOON, || {
        read(&first, Duration::from_millis(100));
        first.context().given().len() == 12
    });
    let held = |consumer: &BaseConsumer<Member>| -> BTreeSet<i32> {
        consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
    };
    let joined = held(&first);
    assert_eq!(joined.len(), 3, "only what the answer named");
    assert!(read(&first, Duration::from_secs(3)).iter().all(|partition| joined.contains(partition)));
    // Two more join, long after the answer.
    let late: Vec<i32> = (0..PARTITIONS).filter(|partition| !joined.contains(partition)).take(2).collect();
    let mut list = TopicPartitionList::new();
    for partition in &late {
        list.add_partition_offset(&telex.programs.topic, *partition, Offset::Offset(0)).unwrap();
    }
    first.incremental_assign(&list).unwrap();
    assert_eq!(read(&first, Duration::from_secs(5)), late, "what joins later is read from its offset");

    // A second member takes half of the twelve: seven were never read by the first.
    let second = member(&telex, protocol, 12);
    wait_for("the second's half", SOON, || {
        read(&first, Duration::from_millis(100));
        read(&second, Duration::from_millis(100));
        second.context().given().len() == 6 && first.context().given().len() == 6
    });
    assert_ne!(*first.context().taken_unread.lock().unwrap(), BTreeSet::new(), "one that never joined left");
    assert!(held(&second).is_disjoint(&held(&first)));
    write_to_each(&telex);
    let kept: Vec<i32> = held(&first).into_iter().collect();
    assert_eq!(read(&first, Duration::from_secs(5)), kept, "what stays is read on");
}
