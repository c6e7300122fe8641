//! From an event to the answer "kept": what the routes that write have in common once they know what to
//! write.

use std::sync::Arc;

use axum::body::Bytes;
use schemas::{ClientId, EncodedRecord, Warning};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    admission::Admitted,
    error::ApiError,
    publish::{self, Acknowledgement, Delivered, Destination, Publish},
    receive::Received,
    state::Shared,
};

/// The answer 202 of a route that writes one record.
#[derive(Debug, Serialize)]
pub struct Kept<'a> {
    /// Whose record it is: its key.
    pub client_id: String,
    pub record: Coordinates<'a>,
    /// What of it is kept otherwise than it came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warned>,
    /// The request that brought it.
    pub request_id: &'a str,
}

/// A warning, for the answer.
#[derive(Debug, Serialize)]
pub struct Warned {
    pub pointer: &'static str,
    pub code: &'static str,
    pub detail: &'static str,
}

impl From<Warning> for Warned {
    fn from(warning: Warning) -> Self {
        Self { pointer: warning.pointer(), code: warning.as_str(), detail: warning.detail() }
    }
}

/// Where a record lies in the topic: with them its producer can tell when it has been applied.
#[derive(Debug, Serialize)]
pub struct Coordinates<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

impl<P: Publish> Shared<P> {
    /// Puts a record of a client into the queue to Kafka.
    ///
    /// # Errors
    /// The queue refuses it.
    pub fn enqueue(
        &self,
        client_id: ClientId,
        record: EncodedRecord,
        admitted: Arc<Admitted>,
    ) -> Result<Acknowledgement, ApiError> {
        let to = Destination::Messages(client_id.partition(self.partition_count));
        self.publisher.enqueue(record, to, Some(admitted))
    }

    /// Counts the messages that are kept otherwise than they came, and says how.
    pub fn warn(&self, warnings: Vec<Warning>) -> Vec<Warned> {
        for warning in &warnings {
            self.metrics.ingest_warnings_total.with_label_values(&[warning.as_str()]).inc();
        }
        warnings.into_iter().map(Warned::from).collect()
    }

    /// Writes a record of a client and waits for the brokers' acknowledgement.
    ///
    /// # Errors
    /// It is not known whether the record is kept.
    pub async fn keep<'a>(
        &'a self,
        client_id: ClientId,
        record: EncodedRecord,
        mut received: Received,
        request_id: &'a str,
    ) -> Result<Kept<'a>, ApiError> {
        // Whoever waits for Kafka holds nothing but the record in its queue.
        received.bytes = Bytes::new();
        let acknowledgement = self.enqueue(client_id, record, received.admitted)?;
        let deadline = Instant::now() + self.limits.ack_deadline;
        let delivered = publish::acknowledged(acknowledgement, deadline).await?;
        let client_id = client_id.key();
        tracing::debug!(
            request_id,
            client_id,
            partition = delivered.partition,
            offset = delivered.offset,
            "record kept"
        );
        if let Some(span) = &mut received.span {
            span.set("messaging.destination.name", self.topic.clone());
            span.set("messaging.destination.partition.id", delivered.partition.to_string());
            span.set("messaging.kafka.offset", delivered.offset);
        }
        Ok(Kept { client_id, record: self.coordinates(delivered), warnings: Vec::new(), request_id })
    }

    /// Of a record, for the answer.
    pub fn coordinates(&self, delivered: Delivered) -> Coordinates<'_> {
        let Delivered { partition, offset } = delivered;
        Coordinates { topic: &self.topic, partition, offset }
    }
}
