//! The records of the topic, one stretch of a partition after the other, read on the thread that
//! compares them. A record is looked at where the Kafka client keeps it; nothing is copied.

use std::time::{Duration, Instant};

use anyhow::bail;
use kafka_ffi::Headers;
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Message as _},
    types::RDKafkaErrorCode,
};
use schemas::{Event, Partition, PartitionCount, RecordFault, RecordView, Timestamp, record};

use super::scope::Stretch;
use crate::{
    domain::position::{NextOffset, Offset, RecordDigest},
    kafka::{
        client::{self, KafkaConfig},
        topic::appended_at,
    },
};

/// How long the brokers may say nothing while records are known to be there.
const SILENCE_DEADLINE: Duration = Duration::from_secs(30);

/// Reads stretches of the topic.
pub struct Log {
    consumer: BaseConsumer<DefaultConsumerContext>,
    topic: String,
    /// Where the consumer stands: a stretch that begins here is read on.
    at: Option<(Partition, NextOffset)>,
}

impl Log {
    /// Connects when something is read.
    pub fn new(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        Ok(Self { consumer: client::scanner(kafka)?, topic: kafka.topic.clone(), at: None })
    }

    /// Shows `each` record of a stretch in the order of offsets. What lies between them the consumer has passed over
    /// without an error.
    ///
    /// # Errors
    /// The brokers did not answer, or `each` failed.
    pub fn read(
        &mut self,
        stretch: Stretch,
        mut each: impl FnMut(&LogRecord<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Stretch { partition, from, to } = stretch;
        if self.at.take() != Some((partition, from)) {
            let mut assignment = TopicPartitionList::new();
            assignment.add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(from.0))?;
            self.consumer.assign(&assignment)?;
        }
        let mut next = from;
        // Asked only when nothing comes: a record takes a few microseconds, the clock would be a part of it.
        let mut silent_since = None;
        while next < to {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let offset = Offset(message.offset());
                    // Left over from the stretch before.
                    if message.partition() != partition.0 || offset < next.offset() {
                        continue;
                    }
                    next = offset.next();
                    if offset.0 >= to.0 {
                        // The stretch's last records are not there; this one is of the next.
                        return Ok(());
                    }
                    silent_since = None;
                    each(&LogRecord { message: &message, partition, offset })?;
                }
                // Nothing more may be read, and all that may was shown: what is left of the stretch has no record.
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition.0 => return Ok(()),
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if !passes(&error) => return Err(error.into()),
                Some(Err(_)) | None
                    if silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE_DEADLINE =>
                {
                    bail!(
                        "partition {partition}: no record at offset {next} within {} s",
                        SILENCE_DEADLINE.as_secs()
                    );
                }
                Some(Err(_)) | None => {}
            }
        }
        self.at = Some((partition, to));
        Ok(())
    }
}

/// Whether the client gets over an error by itself.
fn passes(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    let is_about_the_log = matches!(
        code,
        Some(
            RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::BadMessage
                | RDKafkaErrorCode::NotImplemented
                | RDKafkaErrorCode::BadCompression
        )
    );
    !matches!(error, KafkaError::MessageConsumptionFatal(_)) && !is_about_the_log
}

/// A record where the Kafka client keeps it.
pub struct LogRecord<'a> {
    pub message: &'a BorrowedMessage<'a>,
    pub partition: Partition,
    pub offset: Offset,
}

impl LogRecord<'_> {
    pub fn appended_at(&self) -> Timestamp {
        appended_at(self.message)
    }

    /// What `partition_progress` keeps of the last record.
    pub fn digest(&self) -> RecordDigest {
        RecordDigest::of(self.message.key(), self.message.payload(), self.appended_at())
    }

    /// What it says.
    pub fn decode(&self, count: PartitionCount) -> Result<(Event, schemas::Envelope), RecordFault> {
        let headers = Headers::of(self.message)
            .filter_map(|(name, value)| std::str::from_utf8(name).ok().map(|name| (name, value)));
        let view = RecordView { key: self.message.key(), value: self.message.payload(), headers };
        record::decode(view, self.partition, count)
    }
}
