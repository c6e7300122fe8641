//! What the producer says of itself and of each record, on its own thread. Nothing here waits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::RDKafkaErrorCode,
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use super::{
    desk::Desks,
    tickets::{Delivered, Ticket},
};
use crate::{
    error::{ApiError, Unavailable},
    metrics::Metrics,
};

/// How a delivery without a place is counted: a 202 could not say where its record lies.
const NO_OFFSET: &str = "NoOffset";

/// Gets the delivery reports, on the producer's thread.
pub struct Reports {
    pub metrics: Arc<Metrics>,
    pub desks: Arc<Desks>,
    /// Bytes that several records may have together.
    pub batch_bytes_max: u32,
    pub refused: Arc<RefusedBatch>,
    /// That of messages.
    pub topic: String,
    /// Whether the last message that the brokers answered was refused because this user may not write it.
    pub is_forbidden: Arc<AtomicBool>,
}

/// A batch of several records was too large for the topic.
#[derive(Debug, Default)]
pub struct RefusedBatch {
    /// How large batches were allowed to be; 0 if none was refused.
    pub batch_bytes_max: AtomicU32,
    pub news: Notify,
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
            Ok(record) => {
                self.note(record.topic(), false);
                Delivered::at(record.partition(), record.offset()).ok_or_else(|| {
                    self.count_failure(NO_OFFSET);
                    ApiError::Unavailable(Unavailable::Kafka)
                })
            }
            Err((error, record)) => {
                let code = error.rdkafka_error_code();
                if code == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                    self.note(record.topic(), true);
                }
                let label = code.map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
                self.count_failure(&label);
                Err(self.refusal(code, desk.batch_bytes(ticket).unwrap_or_default()))
            }
        };
        desk.post(ticket, answer);
    }
}

impl Reports {
    fn note(&self, topic: &str, is_forbidden: bool) {
        if topic == self.topic {
            self.is_forbidden.store(is_forbidden, Ordering::Release);
        }
    }

    fn count_failure(&self, label: &str) {
        self.metrics.ingest_delivery_failures_total.with_label_values(&[label]).inc();
    }

    /// Everything but the size of this very record is "not known" (R1): whether a record that timed out is in the log
    /// cannot be told. It is the whole batch that is too large: a record that is in it with others may fit alone.
    pub fn refusal(&self, code: Option<RDKafkaErrorCode>, batch_bytes: usize) -> ApiError {
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
