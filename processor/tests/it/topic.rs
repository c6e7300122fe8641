//! What a test does to its topic behind the programs' backs.
#![expect(clippy::disallowed_methods, reason = "clients that are not ours")]

use std::{collections::BTreeSet, time::Duration};

use dev_env::{
    kafka::admin as dev_admin,
    programs::{PARTITIONS, PLACEMENT_PARTITIONS, PLACEMENT_SETTINGS, TOPIC_SETTINGS},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::{ClientId, Envelope, Event, ExternalClientId, Message, PartitionCount, Phone, Timestamp};

use crate::{
    fill,
    harness::{SOON, Telex, block_on, message, wait_for},
};

impl Telex {
    /// With somebody who writes to its topic.
    pub fn with_writer() -> (Self, Writer) {
        let telex = Self::new();
        let writer = Writer::new(&telex);
        (telex, writer)
    }
}

/// Writes to the topic as another system may.
pub struct Writer {
    producer: BaseProducer,
    topic: String,
}

impl Writer {
    pub fn new(telex: &Telex) -> Self {
        Self::with(telex, &[])
    }

    pub fn with(telex: &Telex, settings: &[(&str, &str)]) -> Self {
        let mut config = config(telex);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Self { producer: config.create().unwrap(), topic: telex.programs.topic.clone() }
    }

    /// A valid message of a client, in its partition.
    pub fn message(&self, client: &str, id: &str, text: &str) {
        self.message_in(partition_of(client), client, id, text);
    }

    /// The same in any partition.
    pub fn message_in(&self, partition: i32, client: &str, id: &str, text: &str) {
        let received_at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let parsed = Message::parse(message(client, id, text).to_string().as_bytes(), received_at).unwrap();
        let envelope = Envelope { received_at, request_id: None, trace_parent: None };
        let record = schemas::record::encode(&Event::MessageReceived(Box::new(parsed)), &envelope);
        let to = BaseRecord::to(&self.topic).partition(partition).headers(fill::headers(&record));
        self.producer.send(to.key(&record.key).payload(&record.value)).map_err(|(error, _)| error).unwrap();
    }

    pub fn messages(&self, client: &str, ids: std::ops::Range<u32>) {
        for id in ids {
            self.message(client, &format!("m-{id}"), "Hello");
        }
        self.flush();
    }

    /// A record that says nothing.
    pub fn garbage(&self, partition: i32) {
        let record = BaseRecord::<[u8], [u8]>::to(&self.topic).partition(partition).payload(b"{");
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn flush(&self) {
        self.producer.flush(Duration::from_secs(20)).unwrap();
    }

    /// Writes in transactions of Kafka, whose ends take offsets that no consumer sees.
    pub fn transactional(telex: &Telex) -> Self {
        let writer = Self::with(telex, &[("transactional.id", telex.group())]);
        // A coordinator that is being elected is not there yet.
        wait_for("a producer id", SOON, || {
            writer.producer.init_transactions(Duration::from_secs(30)).is_ok()
        });
        writer
    }

    /// Writes in a transaction that stays open until [`Self::end`].
    pub fn begin(&self, write: impl FnOnce(&Self)) {
        self.producer.begin_transaction().unwrap();
        write(self);
        self.flush();
    }

    /// Commits the open transaction.
    pub fn end(&self) {
        self.producer.commit_transaction(Duration::from_secs(30)).unwrap();
    }

    /// Writes in a transaction that is committed.
    pub fn commit(&self, write: impl FnOnce(&Self)) {
        self.begin(write);
        self.end();
    }

    /// Writes in a transaction that is aborted: the records are in the log, and no consumer sees them.
    pub fn abort(&self, write: impl FnOnce(&Self)) {
        self.begin(write);
        self.producer.abort_transaction(Duration::from_secs(30)).unwrap();
    }
}

pub fn client_id(client: &str) -> ClientId {
    let phone = Phone::parse("+70000000000").unwrap();
    ClientId::of(&ExternalClientId::parse(client).unwrap(), &phone.into())
}

/// The partition of a client.
pub fn partition_of(client: &str) -> i32 {
    client_id(client).partition(PartitionCount::new(PARTITIONS).unwrap()).0
}

/// A client of a partition.
pub fn client_of(partition: i32) -> String {
    (0..).map(|at| format!("client-{at}")).find(|name| partition_of(name) == partition).unwrap()
}

/// A client of another partition than `other`'s.
pub fn client_beside(other: &str) -> String {
    (0..).map(|at| format!("beside-{at}")).find(|name| partition_of(name) != partition_of(other)).unwrap()
}

/// Deletes the topic and creates it again.
pub fn recreate(telex: &Telex) {
    recreate_as(telex, &telex.programs.topic, PARTITIONS, &TOPIC_SETTINGS);
}

/// The same with the topic in which processors tell ingest APIs over how many partitions keys are spread.
pub fn recreate_placement(telex: &Telex) {
    let name = schemas::placement::topic_of(&telex.programs.topic);
    recreate_as(telex, &name, PLACEMENT_PARTITIONS, &PLACEMENT_SETTINGS);
}

fn recreate_as(telex: &Telex, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    block_on(async {
        let results = admin(telex).delete_topics(&[name], &AdminOptions::new()).await.unwrap();
        results.into_iter().next().unwrap().unwrap();
    });
    let broker = telex.programs.kafka.parse().unwrap();
    // The name is free when the deletion has gone round.
    wait_for("the topic to be created again", Duration::from_secs(30), || {
        dev_admin::create_topic(broker, name, partitions, settings).is_ok()
    });
}

/// How many brokers partitions can be given to.
pub fn brokers(telex: &Telex) -> usize {
    let client = admin(telex);
    let metadata = client.inner().fetch_metadata(None, Duration::from_secs(20)).unwrap();
    metadata.brokers().len()
}

/// The partitions that a broker leads.
pub fn led_by(telex: &Telex, broker: i32) -> BTreeSet<i32> {
    let consumer: BaseConsumer = config(telex).set("group.id", "telex.test").create().unwrap();
    let metadata = consumer.fetch_metadata(Some(&telex.programs.topic), Duration::from_secs(20)).unwrap();
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    partitions.filter(|partition| partition.leader() == broker).map(|partition| partition.id()).collect()
}

/// Gives the topic more partitions as somebody does who does not know Telex: nobody registers them.
pub fn raise_in_place(telex: &Telex, count: usize) {
    let partitions = NewPartitions::new(&telex.programs.topic, count);
    let made = block_on(async {
        admin(telex).create_partitions([&partitions], &AdminOptions::new()).await.unwrap()
    });
    made[0].as_ref().unwrap();
}

/// Removes the records of a partition before an offset, as retention does.
pub fn trim(telex: &Telex, partition: i32, before: i64) {
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(&telex.programs.topic, partition, Offset::Offset(before)).unwrap();
    block_on(async { admin(telex).delete_records(&places, &AdminOptions::new()).await.unwrap() });
}

/// Changes a setting of the topic. All others fall back to the cluster's, but for those that the audit needs.
pub fn alter(telex: &Telex, name: &str, value: &str) {
    let mut resource = AlterConfig::new(ResourceSpecifier::Topic(&telex.programs.topic));
    for (other, kept) in TOPIC_SETTINGS.iter().filter(|(other, _)| *other != name) {
        resource = resource.set(other, kept);
    }
    let resource = resource.set(name, value);
    block_on(async {
        let results = admin(telex).alter_configs([&resource], &AdminOptions::new()).await.unwrap();
        results.into_iter().next().unwrap().unwrap();
    });
}

/// Commits offsets to the processors' group from outside; nobody may be in it.
pub fn commit_to_group(telex: &Telex, offset: i64) {
    let consumer: BaseConsumer = config(telex).set("group.id", telex.group()).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        offsets.add_partition_offset(&telex.programs.topic, partition, Offset::Offset(offset)).unwrap();
    }
    consumer.assign(&offsets).unwrap();
    wait_for("the commit", Duration::from_secs(30), || consumer.commit(&offsets, CommitMode::Sync).is_ok());
}

/// What the processors' group has committed, by partition.
pub fn committed(telex: &Telex) -> Vec<Option<i64>> {
    committed_by(telex, telex.group())
}

/// What a group has committed, by partition.
pub fn committed_by(telex: &Telex, group: &str) -> Vec<Option<i64>> {
    let consumer: BaseConsumer = config(telex).set("group.id", group).create().unwrap();
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition(&telex.programs.topic, partition);
    }
    // A coordinator that moves says so instead of answering.
    let mut committed = None;
    wait_for("the group's coordinator", Duration::from_secs(30), || {
        committed = consumer.committed_offsets(asked.clone(), Duration::from_secs(10)).ok();
        committed.is_some()
    });
    let committed = committed.unwrap();
    let mut elements = committed.elements();
    elements.sort_by_key(|element| element.partition());
    elements
        .iter()
        .map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
        .collect()
}

/// The end of a partition's log.
pub fn log_end(telex: &Telex, partition: i32) -> i64 {
    let consumer: BaseConsumer = config(telex).set("group.id", "telex.test").create().unwrap();
    consumer.fetch_watermarks(&telex.programs.topic, partition, Duration::from_secs(20)).unwrap().1
}

fn admin(telex: &Telex) -> AdminClient<DefaultClientContext> {
    config(telex).create().unwrap()
}

pub fn config(telex: &Telex) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &telex.programs.kafka);
    config
}
