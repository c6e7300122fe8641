//! Is it the topic that we think it is? Identity, range, settings and single records, asked of the
//! brokers by clients of their own, so that the consumer's positions are never touched. Blocking:
//! called from threads that may wait.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset as KafkaOffset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext},
    error::KafkaError,
    message::BorrowedMessage,
};
use schemas::{Partition, PartitionCount, Timestamp};
use uuid::Uuid;

use super::{
    client::{self, KafkaConfig, REQUEST_DEADLINE},
    ffi,
    record::RawRecord,
};
use crate::position::Offset;

/// How safe the topic's settings have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TopicProfile {
    /// What a 202 promises rests on it: three replicas, two of them in sync, retention of a week.
    Production,
    /// One broker is enough.
    Development,
}

/// Which topic it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub name: String,
    /// The topic's id, given by the cluster when it was created.
    pub topic_id: Uuid,
    /// How many partitions it has now.
    pub partition_count: PartitionCount,
}

/// The range of a partition's log: `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// The oldest record.
    pub start: Offset,
    /// The place of the next record to be appended.
    pub end: Offset,
}

/// Why the topic could not be looked at. Settings that are not safe need a person; all else may pass.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No topic of this name.
    #[error("topic {0} does not exist, or has no partitions that can be counted")]
    NoTopic(String),
    /// The topic's settings put records at risk.
    #[error("the topic's settings are not safe: {}", .0.join("; "))]
    Unsafe(Vec<String>),
    /// The brokers did not say which cluster it is.
    #[error("the brokers did not name their cluster")]
    NoCluster,
    /// The topic's id.
    #[error(transparent)]
    TopicId(#[from] ffi::TopicIdError),
    /// A record that lies in the log did not come.
    #[error("the record at partition {0}, offset {1} did not come within the deadline")]
    NoRecord(Partition, Offset),
    /// The end of a log.
    #[error("the brokers did not name the end of partition {0}'s log")]
    NoEnd(Partition),
    /// The client or the brokers.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
}

/// Looks at the topic.
pub struct Inspector {
    topic: String,
    reader: BaseConsumer<DefaultConsumerContext>,
    /// Held while the reader is assigned: of two takeovers at once, each would take the other's records.
    reading: Mutex<()>,
    admin: AdminClient<DefaultClientContext>,
    /// What the last audit has found.
    is_compacted: Arc<AtomicBool>,
}

impl Inspector {
    /// Makes the clients; connects when something is asked.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, InspectError> {
        Ok(Self {
            topic: kafka.topic.clone(),
            reader: client::reader(kafka)?,
            reading: Mutex::new(()),
            admin: client::admin(kafka)?,
            is_compacted: Arc::default(),
        })
    }

    /// Whether the topic was compacted when it was last audited: then its offsets have gaps that nothing explains.
    #[must_use]
    pub fn is_compacted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_compacted)
    }

    /// Which topic it is.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn identity(&self) -> Result<TopicIdentity, InspectError> {
        let client = self.reader.client();
        let metadata = self.reader.fetch_metadata(Some(&self.topic), REQUEST_DEADLINE)?;
        let partition_count = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic && topic.error().is_none())
            .and_then(|topic| i32::try_from(topic.partitions().len()).ok())
            .and_then(PartitionCount::new)
            .ok_or_else(|| InspectError::NoTopic(self.topic.clone()))?;
        Ok(TopicIdentity {
            cluster_id: client.fetch_cluster_id(REQUEST_DEADLINE).ok_or(InspectError::NoCluster)?,
            name: self.topic.clone(),
            topic_id: ffi::topic_id(client, &self.topic, REQUEST_DEADLINE)?,
            partition_count,
        })
    }

    /// The range of a partition's log.
    ///
    /// # Errors
    /// The brokers did not answer.
    pub fn log_range(&self, partition: Partition) -> Result<LogRange, InspectError> {
        let (start, end) = self.reader.fetch_watermarks(&self.topic, partition.0, REQUEST_DEADLINE)?;
        Ok(LogRange { start: Offset(start), end: Offset(end) })
    }

    /// The ends of the logs of some partitions: one question to each of their leaders.
    ///
    /// # Errors
    /// The brokers did not answer.
    pub fn log_ends(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Offset)>, InspectError> {
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition_offset(&self.topic, partition.0, KafkaOffset::End)?;
        }
        let answered = self.reader.offsets_for_times(asked, REQUEST_DEADLINE)?;
        let ends = answered.elements().into_iter().map(|element| {
            element.error()?;
            match element.offset() {
                KafkaOffset::Offset(end) => Ok((Partition(element.partition()), Offset(end))),
                _ => Err(InspectError::NoEnd(Partition(element.partition()))),
            }
        });
        ends.collect()
    }

    /// The records at the given places, all of which must lie in the log.
    ///
    /// # Errors
    /// A record that did not come within the deadline.
    pub fn records_at(
        &self,
        places: &[(Partition, Offset)],
    ) -> Result<HashMap<Partition, RawRecord>, InspectError> {
        let mut found = HashMap::with_capacity(places.len());
        if places.is_empty() {
            return Ok(found);
        }
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in places {
            assignment.add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(offset.0))?;
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.reader.assign(&assignment)?;
        let deadline = Instant::now() + REQUEST_DEADLINE;
        while found.len() < places.len() && Instant::now() < deadline {
            // A transport error here is told again by the deadline, with the place that is missing.
            if let Some(Ok(message)) = self.reader.poll(Duration::from_millis(100)) {
                let record = copy(&message);
                if places.contains(&(record.partition, record.offset)) {
                    found.insert(record.partition, record);
                }
            }
        }
        self.reader.unassign()?;
        match places.iter().find(|(partition, _)| !found.contains_key(partition)) {
            Some((partition, offset)) => Err(InspectError::NoRecord(*partition, *offset)),
            None => Ok(found),
        }
    }

    /// Refuses a topic whose settings put records at risk (R13).
    ///
    /// # Errors
    /// [`InspectError::Unsafe`] with everything that is wrong.
    pub async fn audit(&self, profile: TopicProfile) -> Result<(), InspectError> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST_DEADLINE));
        let resource = ResourceSpecifier::Topic(&self.topic);
        let answers = self.admin.describe_configs([&resource], &options).await?;
        let settings = answers
            .into_iter()
            .next()
            .ok_or_else(|| InspectError::NoTopic(self.topic.clone()))?
            .map_err(KafkaError::AdminOp)?;
        let policy = settings.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
        self.is_compacted.store(policy != Some("delete"), Ordering::Release);
        let replicas = self.replicas()?;
        let problems = problems(&settings, replicas, profile);
        if problems.is_empty() { Ok(()) } else { Err(InspectError::Unsafe(problems)) }
    }

    /// The smallest number of replicas of a partition.
    fn replicas(&self) -> Result<usize, InspectError> {
        let metadata = self.reader.fetch_metadata(Some(&self.topic), REQUEST_DEADLINE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.map(|partition| partition.replicas().len()).min().unwrap_or(0))
    }
}

/// Copies a record out of the Kafka client's memory.
#[must_use]
pub fn copy(message: &BorrowedMessage<'_>) -> RawRecord {
    RawRecord::new(
        (Partition(message.partition()), Offset(message.offset()), appended_at(message)),
        message.key(),
        message.payload(),
        ffi::Headers::of(message),
    )
}

/// When a record was appended. Without LogAppendTime the topic's audit has already refused the topic.
#[must_use]
pub fn appended_at(message: &BorrowedMessage<'_>) -> Timestamp {
    message.timestamp().to_millis().and_then(Timestamp::from_millis).unwrap_or(Timestamp::EPOCH)
}

fn problems(settings: &ConfigResource, replicas: usize, profile: TopicProfile) -> Vec<String> {
    let value = |name: &str| settings.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    let number = |name: &str| value(name).parse::<i64>().unwrap_or(0);
    let mut problems = Vec::new();
    let mut require = |holds: bool, what: &str| {
        if !holds {
            problems.push(what.to_owned());
        }
    };
    require(value("cleanup.policy") == "delete", "cleanup.policy must be delete: the key is the client");
    require(
        value("message.timestamp.type") == "LogAppendTime",
        "message.timestamp.type must be LogAppendTime: a producer's clock must not decide about retention",
    );
    match profile {
        TopicProfile::Production => {
            const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;
            let retention_ms = number("retention.ms");
            require(
                retention_ms == -1 || retention_ms >= WEEK_MS,
                "retention.ms must be 604800000 or more, or -1",
            );
            require(value("retention.bytes") == "-1", "retention.bytes must be -1");
            require(number("min.insync.replicas") >= 2, "min.insync.replicas must be 2 or more");
            require(
                value("unclean.leader.election.enable") == "false",
                "unclean.leader.election.enable must be false",
            );
            require(replicas >= 3, "the replication factor must be 3 or more");
        }
        TopicProfile::Development => {}
    }
    problems
}
