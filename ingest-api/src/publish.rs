//! Records to Kafka: an idempotent producer with acks=all and an explicit partition. A record that
//! entered the queue is delivered or fails, whether or not its sender still waits (R3).
//!
//! The size of a batch cannot be changed while a producer lives. When the topic's limit changes another producer takes
//! over, once the queue of the former is empty: a client's records never overtake each other.

mod desk;
mod tickets;

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use schemas::{EncodedRecord, Partition};
use service_kit::kafka_settings::KafkaSettings;
use tokio::sync::Notify;

use self::{desk::Desks, tickets::Ticket};
pub use self::{
    desk::{Acknowledgement, Desk, acknowledged},
    tickets::{Delivered, Queued},
};
use crate::{
    admission::Admitted,
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

/// Gets the delivery reports, on the producer's thread.
pub struct Reports {
    metrics: Arc<Metrics>,
    desks: Arc<Desks>,
    /// Bytes that several records may have together.
    batch_bytes_max: u32,
    refused: Arc<RefusedBatch>,
}

/// A batch of several records was too large for the topic.
#[derive(Debug, Default)]
struct RefusedBatch {
    /// How large batches were allowed to be; 0 if none was refused.
    batch_bytes_max: AtomicU32,
    news: Notify,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, detail = message, "kafka client");
            }
        }
    }
}

impl ProducerContext for Reports {
    /// The number of a ticket.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: usize) {
        let ticket = Ticket(ticket);
        let desk = self.desks.of(ticket);
        let answer = match report {
            Ok(record) => Ok(Delivered { partition: record.partition(), offset: record.offset() }),
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                let label = code.map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
                self.metrics.ingest_delivery_failures_total.with_label_values(&[&label]).inc();
                Err(self.refusal(code, desk.batch_bytes(ticket).unwrap_or_default()))
            }
        };
        desk.post(ticket, answer);
    }
}

impl Reports {
    /// Everything but the size of this very record is "not known" (R1): whether a record that timed out is in the log
    /// cannot be told. Too large is the whole batch, and who is in it with others may fit alone.
    fn refusal(&self, code: Option<RDKafkaErrorCode>, batch_bytes: usize) -> ApiError {
        let is_alone = batch_bytes > usize::try_from(self.batch_bytes_max).unwrap_or(usize::MAX);
        match code {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) if is_alone => ApiError::RecordTooLarge,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                self.refused.batch_bytes_max.store(self.batch_bytes_max, Ordering::Release);
                self.refused.news.notify_one();
                ApiError::Unavailable(Unavailable::Kafka)
            }
            Some(RDKafkaErrorCode::QueueFull) => ApiError::Unavailable(Unavailable::QueueFull),
            Some(_) | None => ApiError::Unavailable(Unavailable::Kafka),
        }
    }
}

type Producer = ThreadedProducer<Reports>;

/// Keeps records in a Kafka topic.
pub struct KafkaPublisher {
    config: KafkaConfig,
    metrics: Arc<Metrics>,
    admin: AdminClient<DefaultClientContext>,
    refused: Arc<RefusedBatch>,
    desks: Arc<Desks>,
    /// Held for reading while a record enters the queue. None while one producer takes over from another.
    producer: RwLock<Option<Producer>>,
}

impl KafkaPublisher {
    /// A producer; connects by itself. Each of so many shards has to [`attend`](Self::attend).
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(config: &KafkaConfig, shards: u8, metrics: Arc<Metrics>) -> KafkaResult<Self> {
        let publisher = Self {
            admin: client(config).create()?,
            config: config.clone(),
            desks: Arc::new(Desks::new(shards, &metrics)),
            metrics,
            refused: Arc::default(),
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
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "131072")
            // Of one record, before it is compressed: a webhook that is quarantined whole, with its headers. What a
            // topic takes is for the topic to say.
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("batch.size", batch_bytes_max.to_string())
            .create_with_context(Reports {
                metrics: Arc::clone(&self.metrics),
                desks: Arc::clone(&self.desks),
                batch_bytes_max,
                refused: Arc::clone(&self.refused),
            })
    }

    /// Hands out the reports about what this shard, the one of this number, has put into the queue; for as long as it
    /// lives.
    pub async fn attend(&self, shard: usize) {
        if let Some(desk) = self.desks.of_shard(shard) {
            desk.attend().await;
        }
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
        self.producer().as_ref().map_or(0, Producer::in_flight_count)
    }

    /// The error after which the producer is dead (R4).
    pub fn fatal_error(&self) -> Option<String> {
        let producer = self.producer();
        producer.as_ref()?.client().fatal_error().map(|(code, _)| format!("{code:?}"))
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
        let producer = self.producer();
        let producer = producer.as_ref().ok_or(ApiError::Unavailable(Unavailable::QueueFull))?;
        let batch_bytes = batch_bytes(&record);
        let queued = Queued { since: Instant::now(), batch_bytes, admitted };
        let acknowledgement =
            self.desks.here().issue(queued).ok_or(ApiError::Unavailable(Unavailable::QueueFull))?;
        let Ticket(ticket) = acknowledgement.ticket();
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
        match producer.send(base) {
            Ok(()) => Ok(acknowledgement),
            // Refused before it is in any batch, so its size is its own.
            Err((error, _)) => {
                acknowledgement.cancel();
                Err(producer.client().context().refusal(error.rdkafka_error_code(), usize::MAX))
            }
        }
    }
}
