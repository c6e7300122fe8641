//! Reads the quarantine from its beginning, or from a time on, to where it ends when the reading begins.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};
use schemas::{Quarantined, Timestamp, quarantine::Foreign};

/// How long the brokers may take to answer, and to send the next record.
const DEADLINE: Duration = Duration::from_secs(15);

/// A record of the quarantine.
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    pub item: Result<Quarantined, Foreign>,
}

/// Calls `each` for every record that was appended at `since` or later, in the order of each partition. Blocks.
///
/// # Errors
/// The brokers do not answer, there is no such topic, or `each` fails.
pub fn read(
    client: &ClientConfig,
    topic: &str,
    since: Option<Timestamp>,
    mut each: impl FnMut(Found) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut client = client.clone();
    // Nothing is ever committed under this name, which every reader may use.
    client
        .set("group.id", "telex.reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    // The end may be of a transaction, after which no record comes.
    client.set("enable.partition.eof", "true");
    let consumer: BaseConsumer = client.create()?;
    let mut ends = ranges(&consumer, topic, since)?;
    let mut places = TopicPartitionList::new();
    for (partition, from, _) in &ends {
        places.add_partition_offset(topic, *partition, Offset::Offset(*from))?;
    }
    consumer.assign(&places)?;
    let mut last = Instant::now();
    ends.retain(|(_, from, end)| from < end);
    while !ends.is_empty() {
        let Some(polled) = consumer.poll(Duration::from_millis(200)) else {
            if last.elapsed() > DEADLINE {
                bail!("the brokers sent no record for {} s", DEADLINE.as_secs());
            }
            continue;
        };
        last = Instant::now();
        let record = match polled {
            Err(KafkaError::PartitionEOF(ended)) => {
                ends.retain(|(partition, ..)| *partition != ended);
                continue;
            }
            polled => polled.context("the quarantine cannot be read")?,
        };
        let (partition, offset) = (record.partition(), record.offset());
        if ends.iter().any(|(known, _, end)| *known == partition && offset < *end) {
            each(Found { partition, offset, item: decode(&record) })?;
        }
        ends.retain(|(known, _, end)| *known != partition || offset + 1 < *end);
    }
    Ok(())
}

/// Number, first offset to read and end of each partition.
fn ranges(
    consumer: &BaseConsumer,
    topic: &str,
    since: Option<Timestamp>,
) -> anyhow::Result<Vec<(i32, i64, i64)>> {
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).context("the brokers do not answer")?;
    let partitions = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
    let partitions = partitions.with_context(|| format!("there is no topic {topic}"))?.partitions();
    let range = |partition: i32| {
        let (start, end) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
        let from = match since {
            None => start,
            // A log without such a record ends before it.
            Some(since) => at_time(consumer, topic, partition, since)?.unwrap_or(end),
        };
        Ok((partition, from.clamp(start, end), end))
    };
    partitions.iter().map(|partition| range(partition.id())).collect()
}

/// The first record that was appended then or later, by the brokers' clock, if there is one.
fn at_time(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    time: Timestamp,
) -> anyhow::Result<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(time.as_millis()))?;
    let answered = consumer.offsets_for_times(asked, DEADLINE).context("the brokers do not answer")?;
    let element = answered.find_partition(topic, partition).context("the brokers left a partition out")?;
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    })
}

fn decode(record: &BorrowedMessage<'_>) -> Result<Quarantined, Foreign> {
    let headers: Vec<_> = record.headers().into_iter().flat_map(|headers| headers.iter()).collect();
    let headers = headers.iter().map(|header| (header.key, header.value));
    Quarantined::decode(record.key(), record.payload(), headers)
}
