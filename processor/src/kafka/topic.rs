//! Is it the topic that we think it is? Identity, range, settings and single records, asked of the
//! brokers by clients of their own, so that the consumer's positions are never touched. Blocking:
//! called from threads that may wait.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kafka_ffi::{LogEdge, log_edges};
use rdkafka::{
    Message as _, Offset as KafkaOffset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    metadata::MetadataTopic,
};
use schemas::{Partition, PartitionCount, Timestamp};
use service_kit::Problems;
use uuid::Uuid;

use super::{
    client::{self, KafkaConfig, REQUEST_DEADLINE},
    continuity::is_unreadable,
};
use crate::domain::{
    obstacle::Obstacle,
    position::{LogRange, Offset},
    record::RawRecord,
};

/// How safe the topic's settings must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TopicProfile {
    /// Three replicas, two of them in sync, retention of a week. The promise of a 202 rests on this.
    Production,
    /// One broker is enough.
    Development,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicIdentity {
    pub cluster_id: String,
    pub name: String,
    /// The topic's id, given by the cluster when it was created.
    pub topic_id: Uuid,
    /// How many partitions it has now.
    pub partition_count: PartitionCount,
}

/// Why the topic could not be looked at. Settings that are not safe need a person; all else may pass.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No topic of this name.
    #[error("topic {0} does not exist, or has no partitions that can be counted")]
    NoTopic(String),
    /// The brokers do not show it to this user.
    #[error("{0} lacks Describe on topic {1}")]
    Forbidden(String, String),
    /// The topic's settings put records at risk.
    #[error("the topic's settings are not safe: {0}")]
    Unsafe(Problems),
    /// The brokers did not say which cluster it is.
    #[error("the brokers did not name their cluster")]
    NoCluster,
    #[error(transparent)]
    Described(#[from] kafka_ffi::DescribeError),
    /// A record that lies in the log did not come.
    #[error("the record at partition {0}, offset {1} did not come within the deadline")]
    NoRecord(Partition, Offset),
    /// The client or the brokers.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("a question to the brokers panicked")]
    Panicked,
}

/// What each partition answered, or why it did not.
pub type PerPartition<T> = HashMap<Partition, Result<T, RDKafkaErrorCode>>;

/// How long all partitions together may take to name the edges of their logs. Those whose leaders answer are
/// waited for no longer because of one whose leader does not.
const RANGE_DEADLINE: Duration = Duration::from_secs(4);

/// How long a single record may take.
pub const RECORD_DEADLINE: Duration = Duration::from_secs(5);

pub struct Inspector {
    topic: String,
    /// Whom the brokers take us for, for people.
    user: String,
    reader: BaseConsumer<DefaultConsumerContext>,
    /// Held while the reader is assigned: of two takeovers at once, each would take the other's records.
    reading: Mutex<()>,
    admin: AdminClient<DefaultClientContext>,
    /// What the last audit has found.
    is_compacted: Arc<AtomicBool>,
}

impl Inspector {
    /// Makes the clients; connects when something is asked.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, InspectError> {
        Ok(Self {
            topic: kafka.topic.clone(),
            user: kafka.user(),
            reader: client::reader(kafka)?,
            reading: Mutex::new(()),
            admin: client::admin(kafka)?,
            is_compacted: Arc::default(),
        })
    }

    /// Whether the topic was compacted when it was last audited: then its offsets have gaps that nothing explains.
    pub fn is_compacted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_compacted)
    }

    /// Which topic it is.
    pub fn identity(&self) -> Result<TopicIdentity, InspectError> {
        let client = self.reader.client();
        let metadata = self.reader.fetch_metadata(Some(&self.topic), REQUEST_DEADLINE)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let error = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
        if error == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            return Err(InspectError::Forbidden(self.user.clone(), self.topic.clone()));
        }
        let partition_count = found
            .filter(|_| error.is_none())
            .and_then(|topic| i32::try_from(topic.partitions().len()).ok())
            .and_then(PartitionCount::new)
            .ok_or_else(|| InspectError::NoTopic(self.topic.clone()))?;
        Ok(TopicIdentity {
            cluster_id: client.fetch_cluster_id(REQUEST_DEADLINE).ok_or(InspectError::NoCluster)?,
            name: self.topic.clone(),
            topic_id: kafka_ffi::topic_id(client, &self.topic, REQUEST_DEADLINE)?,
            partition_count,
        })
    }

    /// The range of a partition's log.
    pub fn log_range(&self, partition: Partition) -> Result<LogRange, InspectError> {
        let (start, end) = self.reader.fetch_watermarks(&self.topic, partition.0, REQUEST_DEADLINE)?;
        Ok(LogRange { start: Offset(start), end: Offset(end) })
    }

    /// Asks on a thread that may block.
    ///
    /// # Errors
    /// Those of the question, and [`InspectError::Panicked`].
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Self) -> Result<T, InspectError> + Send + 'static,
    ) -> Result<T, InspectError> {
        let inspector = Arc::clone(self);
        tokio::task::spawn_blocking(move || question(&inspector)).await.unwrap_or(Err(InspectError::Panicked))
    }

    /// The ranges of these partitions' logs, or of none: for what is decided about a topic as a whole.
    ///
    /// # Errors
    /// One of them has no leader that answers.
    pub fn all_ranges(&self, partitions: Range<i32>) -> Result<Vec<(Partition, LogRange)>, InspectError> {
        partitions.map(Partition).map(|partition| Ok((partition, self.log_range(partition)?))).collect()
    }

    /// The ranges of some partitions' logs, each answered or refused by itself. A partition whose leader did not
    /// answer at all is refused as timed out.
    ///
    /// # Errors
    /// No broker answered.
    pub fn log_ranges(&self, partitions: &[Partition]) -> Result<PerPartition<LogRange>, InspectError> {
        let starts = self.edges(partitions, LogEdge::Start)?;
        // Ends last: a range is never empty the wrong way round.
        let answering: Vec<Partition> = partitions
            .iter()
            .copied()
            .filter(|partition| matches!(starts.get(partition), Some(Ok(_))))
            .collect();
        let ends = self.edges(&answering, LogEdge::End)?;
        let range = |partition: &Partition| {
            let start = starts.get(partition).copied().unwrap_or(Err(RDKafkaErrorCode::OperationTimedOut))?;
            let end = ends.get(partition).copied().unwrap_or(Err(RDKafkaErrorCode::OperationTimedOut))?;
            Ok(LogRange { start, end })
        };
        Ok(partitions.iter().map(|partition| (*partition, range(partition))).collect())
    }

    /// The ends of the logs of some partitions. A partition without an answer is absent.
    ///
    /// # Errors
    /// No broker answered.
    pub fn log_ends(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Offset)>, InspectError> {
        let ends = self.edges(partitions, LogEdge::End)?;
        Ok(ends.into_iter().filter_map(|(partition, end)| Some((partition, end.ok()?))).collect())
    }

    fn edges(&self, partitions: &[Partition], edge: LogEdge) -> Result<PerPartition<Offset>, InspectError> {
        if partitions.is_empty() {
            return Ok(PerPartition::new());
        }
        let edges = match log_edges(self.reader.client(), &self.topic, partitions, edge, RANGE_DEADLINE) {
            Ok(edges) => edges,
            // None of them has a leader that could be asked.
            Err(code @ RDKafkaErrorCode::NoEnt) => {
                return Ok(partitions.iter().map(|partition| (*partition, Err(code))).collect());
            }
            Err(code) => return Err(InspectError::Kafka(KafkaError::OffsetFetch(code))),
        };
        Ok(edges.into_iter().map(|(partition, edge)| (partition, edge.map(Offset))).collect())
    }

    /// The records at the given places, all of which must lie in the log.
    ///
    /// # Errors
    /// A record that did not come within the deadline.
    pub fn records_at(
        &self,
        places: &[(Partition, Offset)],
    ) -> Result<HashMap<Partition, RawRecord>, InspectError> {
        let found = self.records_within(places, REQUEST_DEADLINE)?;
        match places.iter().find(|(partition, _)| !found.contains_key(partition)) {
            Some((partition, offset)) => Err(InspectError::NoRecord(*partition, *offset)),
            None => Ok(found),
        }
    }

    /// Those of the records at the given places that come within a time. A partition that brings none is absent.
    ///
    /// # Errors
    /// The client cannot be assigned.
    pub fn records_within(
        &self,
        places: &[(Partition, Offset)],
        within: Duration,
    ) -> Result<HashMap<Partition, RawRecord>, InspectError> {
        let mut found = HashMap::with_capacity(places.len());
        self.read(places, within, |polled| {
            // A transport error here shows by the place that is missing in the end.
            if let Ok(message) = polled {
                let record = copy(&message);
                if places.contains(&(record.partition, record.offset)) {
                    found.insert(record.partition, record);
                }
            }
            found.len() == places.len()
        })?;
        Ok(found)
    }

    /// Whether the record at a place can be read: `Some` names what a client answers instead, although it is
    /// alone with the partition. `None`: it can be read, or the brokers do not answer.
    ///
    /// # Errors
    /// The client cannot be assigned.
    pub fn unreadable_at(
        &self,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<RDKafkaErrorCode>, InspectError> {
        let mut unreadable = None;
        self.read(&[(partition, offset)], RECORD_DEADLINE, |polled| {
            match polled {
                Ok(_) => return true,
                Err(error) => unreadable = error.rdkafka_error_code().filter(is_unreadable),
            }
            unreadable.is_some()
        })?;
        Ok(unreadable)
    }

    /// Reads from the given places on until `is_done` says so or the time is over.
    fn read(
        &self,
        places: &[(Partition, Offset)],
        within: Duration,
        mut is_done: impl FnMut(KafkaResult<BorrowedMessage<'_>>) -> bool,
    ) -> Result<(), InspectError> {
        if places.is_empty() {
            return Ok(());
        }
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in places {
            assignment.add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(offset.0))?;
        }
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.reader.assign(&assignment)?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if self.reader.poll(Duration::from_millis(100)).is_some_and(&mut is_done) {
                break;
            }
        }
        Ok(self.reader.unassign()?)
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
        problems(&settings, replicas, profile).or(()).map_err(InspectError::Unsafe)
    }

    /// The smallest number of replicas of a partition.
    fn replicas(&self) -> Result<usize, InspectError> {
        let metadata = self.reader.fetch_metadata(Some(&self.topic), REQUEST_DEADLINE)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.map(|partition| partition.replicas().len()).min().unwrap_or(0))
    }
}

/// Copies a record out of the Kafka client's memory.
pub fn copy(message: &BorrowedMessage<'_>) -> RawRecord {
    RawRecord::new(
        Partition(message.partition()),
        Offset(message.offset()),
        appended_at(message),
        message.key(),
        message.payload(),
        kafka_ffi::Headers::of(message),
    )
}

/// When a record was appended. Without LogAppendTime the topic's audit has already refused the topic.
pub fn appended_at(message: &BorrowedMessage<'_>) -> Timestamp {
    message.timestamp().to_millis().and_then(Timestamp::from_millis).unwrap_or(Timestamp::EPOCH)
}

fn problems(settings: &ConfigResource, replicas: usize, profile: TopicProfile) -> Problems {
    // What the brokers say instead (an answer has a code for each resource) is left out by rust-rdkafka.
    if settings.entries.is_empty() {
        let hidden = "the brokers show none of them: this user needs the right DescribeConfigs on the topic";
        return hidden.to_owned().into();
    }
    let value = |name: &str| settings.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    let number = |name: &str| value(name).parse::<i64>().unwrap_or(0);
    let mut problems = Problems::default();
    let mut require = |holds: bool, rule: &str| problems.require(holds, rule);
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

impl From<InspectError> for Obstacle {
    fn from(error: InspectError) -> Self {
        Self::Brokers(error.to_string())
    }
}

#[cfg(test)]
mod tests;
