//! Which part of a topic was appended within a time: of each partition, from where to where. Blocking; every question
//! has a deadline.

use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};
use schemas::{Partition, Timestamp};

use super::{
    client::{self, KafkaConfig, REQUEST_DEADLINE},
    topic::{InspectError, Inspector},
};
use crate::domain::position::{LogRange, Offset};

/// From when to when, by the brokers' clock; whole milliseconds count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// Nothing that was appended before. `None`: all that the log holds.
    pub since: Option<Timestamp>,
    /// Only what was appended before. `None`: all that is there now.
    pub until: Option<Timestamp>,
}

/// What each partition holds of a window: `[start, end)`, empty where it holds nothing.
///
/// # Errors
/// There is no such topic, or a partition's leader did not answer within its deadline.
pub fn ranges(kafka: &KafkaConfig, window: Window) -> Result<Vec<(Partition, LogRange)>, InspectError> {
    let count = Inspector::new(kafka)?.identity()?.partition_count.get();
    let consumer = client::reader(kafka)?;
    let range = |partition: Partition| {
        let (start, end) = consumer.fetch_watermarks(&kafka.topic, partition.0, REQUEST_DEADLINE)?;
        // A log without such a record ends before it.
        let at =
            |time| Ok::<_, KafkaError>(at_time(&consumer, &kafka.topic, partition, time)?.unwrap_or(end));
        let from = window.since.map_or(Ok(start), at)?;
        let to = window.until.map_or(Ok(end), at)?;
        Ok((partition, LogRange { start: Offset(from.clamp(start, end)), end: Offset(to.clamp(start, end)) }))
    };
    (0..count).map(Partition).map(range).collect()
}

/// The first record appended then or later; `None` if there is none.
///
/// # Errors
/// The partition's leader did not answer within its deadline.
pub fn at_time(
    consumer: &BaseConsumer<DefaultConsumerContext>,
    topic: &str,
    partition: Partition,
    time: Timestamp,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition.0, KafkaOffset::Offset(time.as_millis()))?;
    let answered = consumer.offsets_for_times(asked, REQUEST_DEADLINE)?;
    let left_out = KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition);
    let element = answered.find_partition(topic, partition.0).ok_or(left_out)?;
    element.error()?;
    Ok(match element.offset() {
        KafkaOffset::Offset(offset) => Some(offset),
        _ => None,
    })
}
