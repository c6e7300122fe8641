//! The topic's records as they come, of all partitions together: order holds within a partition. Blocking. Reads as
//! one who only looks: outside of any group, and without a word to the brokers about how far it is.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::bail;
use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, DefaultConsumerContext},
    types::RDKafkaErrorCode,
};
use schemas::{Partition, Timestamp};

use super::{
    client::{self, KafkaConfig, REQUEST_DEADLINE},
    topic::{self, Inspector},
    window::at_time,
};
use crate::domain::record::RawRecord;

/// How long the brokers may say nothing while records are known to be there.
const SILENCE_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub enum Begin {
    /// With what comes next.
    End,
    /// With the oldest record.
    Start,
    /// With the first record appended then or later.
    Time(Timestamp),
    /// With this offset; of one partition.
    Offset(i64),
}

#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// One partition, or all.
    pub partition: Option<Partition>,
    pub from: Begin,
    /// Whether to wait for more at the end of the log.
    pub follow: bool,
}

/// Tells each record until `tell` breaks or, without `follow`, what was there at the start has been told.
///
/// # Errors
/// The brokers did not answer, the offset lies outside the log, or `tell` failed.
pub fn tail(
    kafka: &KafkaConfig,
    scope: Scope,
    mut tell: impl FnMut(&RawRecord) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let consumer = client::reader(kafka)?;
    let mut places = places(&consumer, kafka, scope)?;
    let mut assignment = TopicPartitionList::new();
    for (partition, (from, _)) in &places {
        assignment.add_partition_offset(&kafka.topic, partition.0, KafkaOffset::Offset(*from))?;
    }
    consumer.assign(&assignment)?;
    places.retain(|_, (from, end)| from < end);
    let mut heard_at = Instant::now();
    while scope.follow || !places.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let record = topic::copy(&message);
                drop(message);
                heard_at = Instant::now();
                let end = places.get(&record.partition).map(|(_, end)| *end);
                if (scope.follow || end.is_some()) && tell(&record)?.is_break() {
                    return Ok(());
                }
                if end.is_some_and(|end| record.offset.0 + 1 >= end) {
                    places.remove(&record.partition);
                }
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    bail!("the log no longer holds what is to be read: {error}")
                }
                Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Fatal) => {
                    return Err(error.into());
                }
                // It passes; the client tries again by itself.
                _ => tracing::warn!(%error, "reading from the brokers failed, trying again"),
            },
            None => {}
        }
        if !places.is_empty() && heard_at.elapsed() > SILENCE_DEADLINE {
            bail!("no record came for {} s", SILENCE_DEADLINE.as_secs());
        }
    }
    Ok(())
}

/// Of each partition: where to begin, and where its log ends now.
fn places(
    consumer: &BaseConsumer<DefaultConsumerContext>,
    kafka: &KafkaConfig,
    scope: Scope,
) -> anyhow::Result<HashMap<Partition, (i64, i64)>> {
    let count = Inspector::new(kafka)?.identity()?.partition_count.get();
    let partitions: Vec<Partition> = match scope.partition {
        Some(partition) if (0..count).contains(&partition.0) => vec![partition],
        Some(partition) => bail!("--partition {partition}: the topic has {count} partitions, from 0 on"),
        None => (0..count).map(Partition).collect(),
    };
    let mut places = HashMap::with_capacity(partitions.len());
    for partition in partitions {
        let (start, end) = consumer.fetch_watermarks(&kafka.topic, partition.0, REQUEST_DEADLINE)?;
        let from = match scope.from {
            Begin::End => end,
            Begin::Start => start,
            Begin::Offset(offset) if (start..=end).contains(&offset) => offset,
            Begin::Offset(offset) => {
                bail!("--from-offset {offset}: the log of partition {partition} goes from {start} to {end}")
            }
            Begin::Time(time) => at_time(consumer, &kafka.topic, partition, time)?.unwrap_or(end),
        };
        places.insert(partition, (from, end));
    }
    Ok(places)
}
