//! Says to those who have no tables over how many partitions keys are spread: in a compacted topic beside that of messages
//! ([`schemas::placement`]), which every ingest API reads. Only what the tables hold is said, and after they hold it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::{
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
};
use schemas::{Partition, Placement, placement};

use super::{
    client::{self, KafkaConfig, REQUEST_DEADLINE},
    producer::{Outgoing, Producer},
};

/// Why it is not said.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// An installation from before this topic: a person has to make it.
    #[error("there is no topic {0}: docs/growing-partitions.md says how it is made")]
    NoTopic(String),
    /// The client or the brokers. It may be said nevertheless.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    #[error("writing the placement panicked")]
    Panicked,
}

/// Writes placements. It is connected only while it asks or writes, which is rare.
pub struct Announcer {
    kafka: KafkaConfig,
    topic: String,
    /// What was written last, so that it is not written again and again.
    written: Mutex<Option<Placement>>,
}

impl Announcer {
    /// Of the topic of messages that these settings name.
    pub fn new(kafka: &KafkaConfig) -> Self {
        Self { kafka: kafka.clone(), topic: placement::topic_of(&kafka.topic), written: Mutex::new(None) }
    }

    /// Says it, whatever was said before. Blocks.
    ///
    /// # Errors
    /// It is not known whether it is said.
    pub fn announce(&self, placement: Placement) -> Result<(), AnnounceError> {
        self.is_silent()?;
        self.write(placement)
    }

    /// Says it once if a person has decided it, and otherwise only where nobody has said anything: the number of
    /// partitions with which an empty database meets a topic may not be the one that its keys are spread over. Answers
    /// whether it has. Blocks.
    ///
    /// # Errors
    /// It is not known whether it is said.
    pub fn uphold(&self, placement: Placement, is_decided: bool) -> Result<bool, AnnounceError> {
        let is_new = *self.written() != Some(placement);
        let is_wanted = self.is_silent()? || (is_decided && is_new);
        if is_wanted {
            self.write(placement)?;
        }
        Ok(is_wanted)
    }

    fn write(&self, placement: Placement) -> Result<(), AnnounceError> {
        let (key, value) = (placement.key(), placement.encode());
        let record =
            Outgoing { partition: Partition(0), key: key.as_bytes(), value: value.as_bytes(), headers: &[] };
        Producer::new(&self.kafka, &self.topic)?.write(&record)?;
        *self.written() = Some(placement);
        Ok(())
    }

    /// Whether nothing has been said yet.
    fn is_silent(&self) -> Result<bool, AnnounceError> {
        let observer = client::observer(&self.kafka)?;
        let metadata = observer.fetch_metadata(Some(&self.topic), REQUEST_DEADLINE)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let error = found.map_or(Some(RDKafkaErrorCode::UnknownTopicOrPartition), |topic| {
            topic.error().map(RDKafkaErrorCode::from)
        });
        match error {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                return Err(AnnounceError::NoTopic(self.topic.clone()));
            }
            Some(error) => return Err(KafkaError::MetadataFetch(error).into()),
        }
        let (start, end) = observer.fetch_watermarks(&self.topic, 0, REQUEST_DEADLINE)?;
        Ok(start >= end)
    }

    fn written(&self) -> MutexGuard<'_, Option<Placement>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
