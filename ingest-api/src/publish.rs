//! Records to Kafka: an idempotent producer with acks=all and an explicit partition. A record that
//! entered the queue is delivered or fails, whether or not its sender still waits (R3).

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use schemas::{EncodedRecord, Partition};
use service_kit::kafka_settings::KafkaSettings;
use tokio::sync::oneshot;

use crate::{
    admission::Admitted,
    config::KafkaConfig,
    error::{ApiError, Unavailable},
    metrics::Metrics,
};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Gets the brokers' answer. It may be dropped: the record is on its way all the same.
pub type Acknowledgement = oneshot::Receiver<Result<Delivered, ApiError>>;

/// Something that keeps records.
pub trait Publish: Send + Sync + 'static {
    /// Puts a record into the queue; records of one partition are kept in the order of these calls. Never
    /// waits.
    ///
    /// # Errors
    /// The queue refuses it.
    fn enqueue(
        &self,
        record: EncodedRecord,
        partition: Partition,
        admitted: Arc<Admitted>,
    ) -> Result<Acknowledgement, ApiError>;
}

/// Waits for the brokers' answer, until `deadline`.
///
/// # Errors
/// It is not known whether the record is kept.
pub async fn acknowledged(
    acknowledgement: Acknowledgement,
    deadline: tokio::time::Instant,
) -> Result<Delivered, ApiError> {
    match tokio::time::timeout_at(deadline, acknowledgement).await {
        Ok(Ok(answer)) => answer,
        // The ticket is dropped unanswered only with the producer.
        Ok(Err(_dropped)) => Err(ApiError::Unavailable(Unavailable::Kafka)),
        Err(_elapsed) => Err(ApiError::Unavailable(Unavailable::AckTimeout)),
    }
}

/// Goes with a record through the producer.
pub struct Ticket {
    reply: oneshot::Sender<Result<Delivered, ApiError>>,
    since: Instant,
    _admitted: Arc<Admitted>,
}

/// Gets the delivery reports, on the producer's thread.
pub struct Reports {
    metrics: Arc<Metrics>,
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
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        let outcome = match report {
            Ok(record) => {
                self.metrics.ingest_ack_seconds.observe(ticket.since.elapsed().as_secs_f64());
                Ok(Delivered { partition: record.partition(), offset: record.offset() })
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code();
                let label = code.map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
                self.metrics.ingest_delivery_failures_total.with_label_values(&[&label]).inc();
                Err(refusal(code))
            }
        };
        if ticket.reply.send(outcome).is_err_and(|unanswered| unanswered.is_ok()) {
            self.metrics.ingest_acked_unanswered_total.inc();
        }
    }
}

/// Everything but the size is "not known" (R1): whether a record that timed out is in the log cannot be
/// told.
const fn refusal(code: Option<RDKafkaErrorCode>) -> ApiError {
    match code {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => ApiError::RecordTooLarge,
        Some(RDKafkaErrorCode::QueueFull) => ApiError::Unavailable(Unavailable::QueueFull),
        Some(_) | None => ApiError::Unavailable(Unavailable::Kafka),
    }
}

/// The version of this program and of the Kafka client in it, with what that was built with: codecs, TLS, SASL.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let built_with = plain().create_native_config().and_then(|config| config.get("builtin.features"));
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let (version, built_with) = (env!("CARGO_PKG_VERSION"), built_with.unwrap_or_default());
    format!("{version}\nlibrdkafka {librdkafka}, built with {built_with}")
});

#[expect(clippy::disallowed_methods, reason = "the one constructor of this crate")]
fn plain() -> ClientConfig {
    ClientConfig::new()
}

/// Keeps records in a Kafka topic.
pub struct KafkaPublisher {
    producer: ThreadedProducer<Reports>,
    topic: String,
}

impl KafkaPublisher {
    /// A producer; connects by itself.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(config: &KafkaConfig, metrics: Arc<Metrics>) -> KafkaResult<Self> {
        let mut client = plain();
        // First, so that what is set below stands in any case.
        let connection = config.connection.iter().flat_map(KafkaSettings::iter);
        client.extend(connection.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let producer = client
            .set("bootstrap.servers", &config.brokers)
            .set("client.id", "telex-ingest-api")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", config.message_timeout_ms.to_string())
            .set("socket.timeout.ms", config.socket_timeout_ms.to_string())
            .set("linger.ms", config.linger_ms.to_string())
            .set("compression.type", "lz4")
            .set("allow.auto.create.topics", "false")
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("message.max.bytes", "1000000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .create_with_context(Reports { metrics })?;
        Ok(Self { producer, topic: config.topic.clone() })
    }

    /// Records in the queue.
    #[must_use]
    pub fn queued(&self) -> i32 {
        self.producer.in_flight_count()
    }

    /// The error after which the producer is dead (R4).
    #[must_use]
    pub fn fatal_error(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(code, _)| format!("{code:?}"))
    }

    /// How many partitions the topic has, or why that is not known. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// The brokers did not answer, or there is no such topic.
    pub fn partitions(&self, timeout: Duration) -> Result<usize, KafkaError> {
        let metadata = self.producer.client().fetch_metadata(Some(&self.topic), timeout)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
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
        self.producer.flush(timeout)
    }
}

impl Publish for KafkaPublisher {
    fn enqueue(
        &self,
        record: EncodedRecord,
        partition: Partition,
        admitted: Arc<Admitted>,
    ) -> Result<Acknowledgement, ApiError> {
        let (reply, acknowledgement) = oneshot::channel();
        let ticket = Box::new(Ticket { reply, since: Instant::now(), _admitted: admitted });
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_ref()) })
            });
        let base = BaseRecord::with_opaque_to(&self.topic, ticket)
            .partition(partition.0)
            .key(&record.key)
            .payload(&record.value)
            .headers(headers);
        match self.producer.send(base) {
            Ok(()) => Ok(acknowledgement),
            Err((error, _)) => Err(refusal(error.rdkafka_error_code())),
        }
    }
}
