//! The part of Kafka's protocol that a checker and a saboteur need. Each request goes over a connection of its own
//! to the broker that it is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Range,
};

use anyhow::{Context as _, Result, bail, ensure};
use kafka_protocol::{
    messages::{
        BrokerId, create_partitions_request::*, create_topics_request::*, delete_records_request::*,
        delete_topics_request::DeleteTopicsRequest, describe_quorum_request::*, fetch_request::*,
        incremental_alter_configs_request::*, list_offsets_request::*, metadata_request::*,
        produce_request::*,
    },
    protocol::Request,
};

use super::{
    batch::{self, Form, Header, Record},
    broker::{address, ask, check, only, retried, text},
};

/// How long the brokers may take over a change.
const CHANGE_MS: i32 = 15_000;

/// Kafka, by the addresses of its brokers.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Asked one after the other.
    pub bootstrap: Vec<SocketAddr>,
}

/// What the brokers know of a topic.
#[derive(Debug, Clone)]
pub struct Topic {
    pub id: [u8; 16],
    /// The leader of each partition; none while there is none.
    pub leaders: BTreeMap<i32, Option<(i32, SocketAddr)>>,
    /// The replicas in sync of each partition.
    pub in_sync: BTreeMap<i32, Vec<i32>>,
}

/// A partition's records, and where its log starts and ends.
#[derive(Debug, Clone, Default)]
pub struct PartitionLog {
    pub start: i64,
    /// The next record to be appended.
    pub end: i64,
    /// The records between, also those of transactions that were aborted.
    pub records: Vec<Record>,
    /// Where the markers of transactions lie.
    pub control: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Start,
    /// The place of the next.
    Latest,
}

impl Cluster {
    pub fn of(address: SocketAddr) -> Self {
        Self { bootstrap: vec![address] }
    }

    /// What the brokers know of a topic.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let asked = vec![MetadataRequestTopic::default().with_name(Some(text(name)))];
        let request = MetadataRequest::default().with_topics(Some(asked));
        let answer = self.ask_any(12, &request.with_allow_auto_topic_creation(false))?;
        let mut brokers = BTreeMap::new();
        for broker in answer.brokers {
            brokers.insert(broker.node_id, address(&broker.host, broker.port)?);
        }
        let found = only(answer.topics)?;
        check(found.error_code).with_context(|| format!("topic {name}"))?;
        let mut topic =
            Topic { id: found.topic_id.into_bytes(), leaders: BTreeMap::new(), in_sync: BTreeMap::new() };
        for partition in found.partitions {
            let leader = brokers.get(&partition.leader_id).map(|address| (partition.leader_id.0, *address));
            topic.leaders.insert(partition.partition_index, leader);
            let in_sync = partition.isr_nodes.into_iter().map(|id| id.0).collect();
            topic.in_sync.insert(partition.partition_index, in_sync);
        }
        Ok(topic)
    }

    /// One end of each partition's log.
    pub fn ends(&self, name: &str, end: End) -> Result<BTreeMap<i32, i64>> {
        let time = if end == End::Start { -2 } else { -1 };
        let mut ends = BTreeMap::new();
        for (partition, leader) in self.topic(name)?.leaders {
            let (_, leader) = leader.with_context(|| format!("partition {partition} has no leader"))?;
            let asked = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time);
            let asked = ListOffsetsTopic::default().with_name(text(name)).with_partitions(vec![asked]);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1));
            let answer = ask(leader, 1, &request.with_topics(vec![asked]))?;
            let answer = only(only(answer.topics)?.partitions)?;
            check(answer.error_code)?;
            ends.insert(partition, answer.offset);
        }
        Ok(ends)
    }

    /// The whole log of each partition, up to where it ends now.
    pub fn read(&self, name: &str) -> Result<BTreeMap<i32, PartitionLog>> {
        let (starts, ends) = (self.ends(name, End::Start)?, self.ends(name, End::Latest)?);
        let whole = starts.into_iter().map(|(partition, start)| {
            let end = ends.get(&partition).copied().context("no offset")?;
            anyhow::Ok((partition, self.read_range(name, partition, start..end)?))
        });
        whole.collect()
    }

    /// A stretch of a partition's log.
    pub fn read_range(&self, name: &str, partition: i32, range: Range<i64>) -> Result<PartitionLog> {
        const BYTES_MAX: i32 = 8 << 20;
        let leader = self.leader(name, partition)?;
        let mut log = PartitionLog { start: range.start, end: range.end, ..PartitionLog::default() };
        let mut next = range.start;
        while next < range.end {
            let asked = FetchPartition::default().with_partition(partition).with_fetch_offset(next);
            let asked = vec![asked.with_partition_max_bytes(BYTES_MAX)];
            let asked = FetchTopic::default().with_topic(text(name)).with_partitions(asked);
            let request = FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1);
            let request = request.with_max_bytes(BYTES_MAX).with_topics(vec![asked]);
            let answer = only(only(ask(leader, 4, &request)?.responses)?.partitions)?;
            check(answer.error_code)?;
            let fetched = batch::decode(&answer.records.unwrap_or_default())?;
            let wanted = next..range.end;
            next = match fetched.next_offset() {
                Some(after) if after > next => after,
                _ => bail!("partition {partition}: nothing at {next} although the log ends at {}", range.end),
            };
            log.records.extend(fetched.records.into_iter().filter(|record| wanted.contains(&record.offset)));
            log.control.extend(fetched.control.into_iter().filter(|offset| wanted.contains(offset)));
        }
        Ok(log)
    }

    fn leader(&self, name: &str, partition: i32) -> Result<SocketAddr> {
        Ok(self.topic(name)?.leaders.get(&partition).copied().flatten().context("no leader")?.1)
    }

    /// Appends a record and says where it lies.
    ///
    /// # Errors
    /// A broker's error; the record may be in the log.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        record: (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
        form: Form,
    ) -> Result<i64> {
        self.produce_batch(topic, partition, batch::encode(record, headers, form)?, None)
    }

    /// Appends records without key and value.
    pub fn fill(&self, topic: &str, partition: i32, count: i32) -> Result<()> {
        retried(|| self.produce_batch(topic, partition, batch::filler(count), None)).map(drop)
    }

    pub(super) fn produce_batch(
        &self,
        topic: &str,
        partition: i32,
        batch: Vec<u8>,
        transaction: Option<&str>,
    ) -> Result<i64> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.into()));
        let data = TopicProduceData::default().with_name(text(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_transactional_id(transaction.map(text)).with_acks(-1);
        let request = request.with_timeout_ms(10_000).with_topic_data(vec![data]);
        let answer = ask(self.leader(topic, partition)?, 7, &request)?;
        let answer = only(only(answer.responses)?.partition_responses)?;
        check(answer.error_code)?;
        Ok(answer.base_offset)
    }

    /// The node that is the active controller.
    pub fn controller(&self) -> Result<i32> {
        let log = TopicData::default().with_topic_name(text("__cluster_metadata"));
        let log = log.with_partitions(vec![PartitionData::default()]);
        let answer = self.ask_any(0, &DescribeQuorumRequest::default().with_topics(vec![log]))?;
        check(answer.error_code)?;
        let quorum = only(only(answer.topics)?.partitions)?;
        check(quorum.error_code)?;
        Ok(quorum.leader_id.0)
    }

    /// Makes a topic whose partitions lie where `replicas` says, and waits until the brokers know it.
    pub fn create_topic(&self, name: &str, replicas: &[Vec<i32>], settings: &[(&str, &str)]) -> Result<()> {
        let assignments = (0..).zip(replicas).map(|(partition, brokers)| {
            let brokers = brokers.iter().copied().map(BrokerId).collect();
            CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(brokers)
        });
        let settings = settings.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default().with_name(text(name)).with_num_partitions(-1);
        let topic = topic.with_replication_factor(-1).with_assignments(assignments.collect());
        let topic = topic.with_configs(settings.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(CHANGE_MS);
        check(only(self.ask_any(4, &request)?.topics)?.error_code)?;
        // The answer comes from the controller; the brokers follow.
        retried(|| {
            ensure!(self.topic(name)?.leaders.values().all(Option::is_some), "topic {name} does not come");
            Ok(())
        })
    }

    /// Deletes a topic, and waits until the brokers know it no more.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![text(name)]);
        check(only(self.ask_any(1, &request.with_timeout_ms(CHANGE_MS))?.responses)?.error_code)?;
        retried(|| {
            ensure!(self.topic(name).is_err(), "topic {name} does not go");
            Ok(())
        })
    }

    /// Removes the records below some offsets, as retention does.
    pub fn delete_records(&self, name: &str, below: &BTreeMap<i32, i64>) -> Result<()> {
        for (partition, offset) in below {
            let cut = DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset);
            let cut = DeleteRecordsTopic::default().with_name(text(name)).with_partitions(vec![cut]);
            let request = DeleteRecordsRequest::default().with_topics(vec![cut]).with_timeout_ms(CHANGE_MS);
            let answer = only(ask(self.leader(name, *partition)?, 0, &request)?.topics)?;
            check(only(answer.partitions)?.error_code)?;
        }
        Ok(())
    }

    pub fn set_topic_setting(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        const TOPIC: i8 = 2;
        // An operation that is not named sets it.
        let setting = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default().with_resource_type(TOPIC);
        let resource = resource.with_resource_name(text(topic)).with_configs(vec![setting]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        check(only(self.ask_any(0, &request)?.responses)?.error_code)
    }

    /// Raises the number of a topic's partitions.
    pub fn create_partitions(&self, name: &str, count: i32) -> Result<()> {
        let topic = CreatePartitionsTopic::default().with_name(text(name)).with_count(count);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic.with_assignments(None)]);
        check(only(self.ask_any(0, &request.with_timeout_ms(CHANGE_MS))?.results)?.error_code)
    }

    pub(super) fn ask_any<R: Request>(&self, version: i16, request: &R) -> Result<R::Response> {
        let mut last = None;
        for broker in &self.bootstrap {
            match ask(*broker, version, request) {
                Ok(response) => return Ok(response),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no brokers")?)
    }
}
