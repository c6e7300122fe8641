//! From an event to the answer "kept": what the routes that write have in common once they know what to
//! write.

use std::sync::Arc;

use schemas::{Envelope, Event, record};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    admission::Admitted,
    error::ApiError,
    publish::{self, Acknowledgement, Delivered, Publish},
    receive::Received,
    router::Shared,
};

/// The answer 202 of a route that writes one record.
#[derive(Debug, Serialize)]
pub struct Kept<'a> {
    /// Whose record it is: its key.
    pub client_id: String,
    /// Where it lies.
    pub record: Coordinates<'a>,
    /// The request that brought it.
    pub request_id: &'a str,
}

/// Where a record lies in the topic: with them its producer can tell when it has been applied.
#[derive(Debug, Serialize)]
pub struct Coordinates<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl<P: Publish> Shared<P> {
    /// Puts the record of an event into the queue to Kafka.
    ///
    /// # Errors
    /// The queue refuses it.
    pub fn enqueue(
        &self,
        event: &Event,
        envelope: &Envelope,
        admitted: Arc<Admitted>,
    ) -> Result<Acknowledgement, ApiError> {
        let partition = event.client_id().partition(self.partition_count);
        self.publisher.enqueue(record::encode(event, envelope), partition, admitted)
    }

    /// Writes the record of an event and waits for the brokers' acknowledgement.
    ///
    /// # Errors
    /// It is not known whether the record is kept.
    pub async fn keep<'a>(
        &'a self,
        event: &Event,
        mut received: Received,
        request_id: &'a str,
    ) -> Result<Kept<'a>, ApiError> {
        let acknowledgement = self.enqueue(event, &received.envelope, received.admitted)?;
        let deadline = Instant::now() + self.limits.ack_deadline();
        let delivered = publish::acknowledged(acknowledgement, deadline).await?;
        let client_id = event.client_id().key();
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
        Ok(Kept { client_id, record: self.coordinates(delivered), request_id })
    }

    /// Of a record, for the answer.
    pub fn coordinates(&self, delivered: Delivered) -> Coordinates<'_> {
        let Delivered { partition, offset } = delivered;
        Coordinates { topic: &self.topic, partition, offset }
    }
}
