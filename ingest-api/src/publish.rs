//! Records to Kafka: an idempotent producer with acks=all and an explicit partition. A record that
//! entered the queue is delivered or fails, whether or not its sender still waits (R3).
//!
//! The size of a batch cannot be changed while a producer lives. When the topic's limit changes another producer takes
//! over, once the queue of the former is empty: a client's records never overtake each other.

mod desk;
mod reports;
mod tickets;

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ThreadedProducer},
};
use schemas::{EncodedRecord, Partition};
use service_kit::kafka_settings::KafkaSettings;

use self::{
    desk::Desks,
    reports::{RefusedBatch, Reports},
    tickets::Ticket,
};
pub use self::{
    desk::{Acknowledgement, Desk, acknowledged},
    tickets::{Delivered, Queued},
};
use crate::{
    admission::Admitted,
    budget::{Budget, Level},
    config::KafkaConfig,
    error::{ApiError, Unavailable},
    kafka_client::plain,
    metrics::Metrics,
    topic_limits::{RECORD_BATCH_BYTES_MAX, TopicSettings},
};

/// A webhook has half of it at most.
const RECORD_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// What Kafka adds to a record (lengths, timestamps) and to a batch (its header), at most.
const RECORD_FRAME_BYTES: usize = 40;
const HEADER_FRAME_BYTES: usize = 4;
const BATCH_FRAME_BYTES: usize = 61;

/// Records that may be in the queue, and the bytes of them.
const QUEUE_RECORDS_MAX: u32 = 20_000;
const QUEUE_BYTES_MAX: u32 = 128 * 1024 * 1024;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To this partition of the topic of messages.
    Messages(Partition),
    /// To the topic of what can never be a message, to the partition that its key says.
    Quarantine,
}

pub trait Publish: Send + Sync + 'static {
    /// Puts a record into the queue; records of one partition are kept in the order of these calls. Never
    /// waits. `admitted` is the share of a request in what may be in flight.
    ///
    /// # Errors
    /// The queue refuses it.
    fn enqueue(
        &self,
        record: EncodedRecord,
        to: Destination,
        admitted: Option<Arc<Admitted>>,
    ) -> Result<Acknowledgement, ApiError>;
}

type Producer = ThreadedProducer<Reports>;

const QUEUE_FULL: ApiError = ApiError::Unavailable(Unavailable::QueueFull);
const NOT_OPEN: ApiError = ApiError::Unavailable(Unavailable::Kafka);

/// Keeps records in a Kafka topic.
pub struct KafkaPublisher {
    config: KafkaConfig,
    metrics: Arc<Metrics>,
    admin: AdminClient<DefaultClientContext>,
    refused: Arc<RefusedBatch>,
    is_forbidden: Arc<AtomicBool>,
    desks: Arc<Desks>,
    queue: Arc<Budget>,
    /// Whether it is known that messages go to the partitions in which they are looked for.
    is_open: AtomicBool,
    /// Held for reading while a record enters the queue. None while one producer takes over from another.
    producer: RwLock<Option<Producer>>,
}

impl KafkaPublisher {
    /// A producer; connects by itself, and takes no message before it is [opened](Self::open). Each of so many shards
    /// has to [`attend`](Self::attend).
    pub fn new(config: &KafkaConfig, shards: u8, metrics: Arc<Metrics>) -> KafkaResult<Self> {
        let publisher = Self {
            admin: client(config).create()?,
            config: config.clone(),
            desks: Arc::new(Desks::new(shards, &metrics)),
            queue: Budget::new(Level::new(QUEUE_RECORDS_MAX), Level::new(QUEUE_BYTES_MAX)),
            metrics,
            refused: Arc::default(),
            is_forbidden: Arc::default(),
            is_open: AtomicBool::new(false),
            producer: RwLock::new(None),
        };
        publisher.resize(RECORD_BATCH_BYTES_MAX)?;
        Ok(publisher)
    }

    /// Makes batches of this many bytes at most, from the next record on. Until the queue is empty, records are
    /// refused as when it is full. Blocks, for the life of a record at most.
    ///
    /// # Errors
    /// A setting that librdkafka refuses; nothing has changed.
    pub fn resize(&self, batch_bytes_max: u32) -> KafkaResult<()> {
        let next = self.make(batch_bytes_max)?;
        let former = self.producer.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(former) = &former {
            let lifetime = self.config.message_timeout + Duration::from_secs(1);
            // What is left after its lifetime has failed, and its senders know.
            let _left = former.flush(lifetime).is_err();
        }
        *self.producer.write().unwrap_or_else(PoisonError::into_inner) = Some(next);
        self.metrics.ingest_record_batch_bytes_max.set(batch_bytes_max.into());
        Ok(())
    }

    fn make(&self, batch_bytes_max: u32) -> KafkaResult<Producer> {
        client(&self.config)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", self.config.message_timeout.as_millis().to_string())
            .set("linger.ms", self.config.linger.as_millis().to_string())
            .set("compression.type", "lz4")
            // Of records in quarantine; messages name their partition.
            .set("partitioner", "murmur2_random")
            // Never reached: the queue's own limits come first.
            .set("queue.buffering.max.messages", (2 * QUEUE_RECORDS_MAX).to_string())
            .set("queue.buffering.max.kbytes", (2 * QUEUE_BYTES_MAX / 1024).to_string())
            // Of one record, before it is compressed: a webhook that is quarantined whole, with its headers. What a
            // topic takes is for the topic to say.
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("batch.size", batch_bytes_max.to_string())
            .create_with_context(Reports {
                metrics: Arc::clone(&self.metrics),
                desks: Arc::clone(&self.desks),
                batch_bytes_max,
                refused: Arc::clone(&self.refused),
                topic: self.config.topic.clone(),
                is_forbidden: Arc::clone(&self.is_forbidden),
            })
    }

    /// Takes messages from now on: nobody has said that keys are spread over another number of partitions.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Hands out the reports about what this shard, the one of this number, has put into the queue; for as long as it
    /// lives.
    pub async fn attend(&self, shard: usize) {
        if let Some(desk) = self.desks.of_shard(shard) {
            desk.attend().await;
        }
    }

    /// Gives a record to librdkafka.
    fn send(&self, record: &EncodedRecord, to: Destination, Ticket(ticket): Ticket) -> Result<(), ApiError> {
        let producer = self.producer();
        let producer = producer.as_ref().ok_or(QUEUE_FULL)?;
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_ref()) })
            });
        let base = match to {
            Destination::Messages(partition) => {
                BaseRecord::with_opaque_to(&self.config.topic, ticket).partition(partition.0)
            }
            Destination::Quarantine => BaseRecord::with_opaque_to(&self.config.quarantine_topic, ticket),
        };
        let base = base.key(&record.key).payload(&record.value).headers(headers);
        // Refused before it is in any batch, so its size is its own.
        let refusal =
            |error: KafkaError| producer.client().context().refusal(error.rdkafka_error_code(), usize::MAX);
        producer.send(base).map_err(|(error, _)| refusal(error))
    }

    fn producer(&self) -> RwLockReadGuard<'_, Option<Producer>> {
        self.producer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that several records may have together now.
    pub fn batch_bytes_max(&self) -> u32 {
        let producer = self.producer();
        producer
            .as_ref()
            .map_or(RECORD_BATCH_BYTES_MAX, |producer| producer.client().context().batch_bytes_max)
    }

    /// Whether a batch of several records was too large since the last call, though it kept to the size in force.
    pub fn take_refused(&self) -> bool {
        self.refused.batch_bytes_max.swap(0, Ordering::AcqRel) == self.batch_bytes_max()
    }

    /// Completes when a batch of several records was too large.
    pub async fn refused(&self) {
        self.refused.news.notified().await;
    }

    /// The topic's settings that matter here.
    ///
    /// # Errors
    /// The brokers did not answer, or may not.
    pub async fn settings(&self, timeout: Duration) -> Result<TopicSettings, KafkaError> {
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let resource = ResourceSpecifier::Topic(&self.config.topic);
        let answers = self.admin.describe_configs([&resource], &options).await?;
        let answer = answers.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::UnknownTopicOrPartition));
        answer.map(|resource| TopicSettings::of(&resource)).map_err(KafkaError::AdminOp)
    }

    pub fn queued(&self) -> i32 {
        i32::try_from(self.queue.number()).unwrap_or(i32::MAX)
    }

    /// The error after which the producer is dead (R4).
    pub fn fatal_error(&self) -> Option<String> {
        let producer = self.producer();
        let (code, _) = producer.as_ref()?.client().fatal_error()?;
        Some(match code {
            // An idempotent producer gets its number only if it may write to a topic, or IdempotentWrite on the cluster.
            RDKafkaErrorCode::ClusterAuthorizationFailed => format!(
                "{} ({code:?}); started again with this right, the ingest API goes on",
                self.config.lacks_write()
            ),
            _ => format!("{code:?}"),
        })
    }

    /// Whether the last message that the brokers answered was refused because this user may not write it.
    pub fn is_forbidden(&self) -> bool {
        self.is_forbidden.load(Ordering::Acquire)
    }

    /// How many partitions the topic has, or why that is not known. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// The brokers did not answer, or there is no such topic.
    pub fn partitions(&self, timeout: Duration) -> Result<usize, KafkaError> {
        self.partitions_of(&self.config.topic, timeout)
    }

    /// The same of the quarantine's topic.
    ///
    /// # Errors
    /// The brokers did not answer, or there is no such topic.
    pub fn quarantine_partitions(&self, timeout: Duration) -> Result<usize, KafkaError> {
        self.partitions_of(&self.config.quarantine_topic, timeout)
    }

    /// Where the log of a topic with one partition begins and ends. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// The brokers did not answer, or there is no such topic.
    pub fn log_of(&self, name: &str, timeout: Duration) -> Result<(i64, i64), KafkaError> {
        // Only this question's answer says that there is no such topic.
        let asked = Instant::now();
        self.partitions_of(name, timeout)?;
        let log = self.admin.inner().fetch_watermarks(name, 0, timeout.saturating_sub(asked.elapsed()));
        log.map_err(|error| {
            KafkaError::OffsetFetch(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))
        })
    }

    fn partitions_of(&self, name: &str, timeout: Duration) -> Result<usize, KafkaError> {
        let metadata = self.admin.inner().fetch_metadata(Some(name), timeout)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        match topic.map(|topic| (topic.error(), topic.partitions().len())) {
            Some((None, partitions)) => Ok(partitions),
            Some((Some(error), _)) => Err(KafkaError::MetadataFetch(error.into())),
            None => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    }

    /// Waits until the queue is empty, for `timeout` at most.
    ///
    /// # Errors
    /// Records are left.
    pub fn flush(&self, timeout: Duration) -> KafkaResult<()> {
        self.producer().as_ref().map_or(Ok(()), |producer| producer.flush(timeout))
    }
}

/// What all clients have in common.
pub fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = plain();
    // First, so that what is set below and by the caller stands in any case.
    let connection = config.connection.iter().flat_map(KafkaSettings::iter);
    client.extend(connection.map(|(name, value)| (name.to_owned(), value.to_owned())));
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "telex-ingest-api")
        .set("socket.timeout.ms", config.socket_timeout.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "1000")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true");
    client
}

/// Of a batch with this record alone, at most.
fn batch_bytes(record: &EncodedRecord) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_FRAME_BYTES);
    BATCH_FRAME_BYTES + RECORD_FRAME_BYTES + record.key.len() + record.value.len() + headers.sum::<usize>()
}

impl Publish for KafkaPublisher {
    fn enqueue(
        &self,
        record: EncodedRecord,
        to: Destination,
        admitted: Option<Arc<Admitted>>,
    ) -> Result<Acknowledgement, ApiError> {
        if matches!(to, Destination::Messages(_)) && !self.is_open() {
            return Err(NOT_OPEN);
        }
        let batch_bytes = batch_bytes(&record);
        let room = self.queue.take(u32::try_from(batch_bytes).unwrap_or(u32::MAX)).ok_or(QUEUE_FULL)?;
        let queued = Queued { since: Instant::now(), batch_bytes, admitted, room: Some(room) };
        let acknowledgement = self.desks.here().issue(queued).ok_or(QUEUE_FULL)?;
        match self.send(&record, to, acknowledgement.ticket()) {
            Ok(()) => Ok(acknowledgement),
            Err(error) => {
                acknowledgement.cancel();
                Err(error)
            }
        }
    }
}
