//! The items of a selection, one after the other: each is read, shown and forgotten, however large the topic is.

use std::{collections::BTreeMap, fmt};

use anyhow::anyhow;
use kafka_ffi::Headers;
use rdkafka::Message as _;
use schemas::{Partition, Quarantined, Timestamp, quarantine::Foreign};

use crate::{
    domain::{
        position::{NextOffset, Offset},
        record::Header,
    },
    kafka::{
        client::KafkaConfig,
        topic::InspectError,
        window::{self, Window},
    },
    prove::{log::Log, scope::Stretch},
};

/// Which items.
#[derive(Debug, Default)]
pub struct Selection {
    pub hook: Option<String>,
    pub reason: Option<String>,
    pub window: Window,
}

impl Selection {
    fn takes(&self, item: &Quarantined) -> bool {
        let is = |asked: &Option<String>, found: &str| asked.as_ref().is_none_or(|asked| asked == found);
        is(&self.hook, &item.hook) && is(&self.reason, &item.reason)
    }
}

/// An item, and where it was found.
pub struct Found {
    pub partition: Partition,
    pub offset: Offset,
    /// When the broker appended it.
    pub appended_at: Timestamp,
    pub item: Quarantined,
}

/// Records of other programs: how many have the same fault, and where the first of them lies. There are as many
/// kinds of them as an item has headers.
#[derive(Debug, Default)]
pub struct Others(pub BTreeMap<&'static str, (u64, Partition, Offset)>);

impl Others {
    fn count(&mut self, Foreign(header): Foreign, partition: Partition, offset: Offset) {
        self.0.entry(header).or_insert((0, partition, offset)).0 += 1;
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (header, (records, partition, offset))) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(
                f,
                "{separator}records of other programs: {records}; {} (the first at partition {partition}, offset {offset})",
                Foreign(header)
            )?;
        }
        Ok(())
    }
}

/// Shows `each` item of a selection that the topic holds now, in the order of places.
///
/// # Errors
/// There is no such topic, the brokers did not answer, or `each` failed.
pub fn read(
    kafka: &KafkaConfig,
    selection: &Selection,
    mut each: impl FnMut(Found) -> anyhow::Result<()>,
) -> anyhow::Result<Others> {
    let ranges = window::ranges(kafka, selection.window).map_err(|error| explain(error, kafka))?;
    let mut log = Log::new(kafka)?;
    let mut others = Others::default();
    for (partition, range) in ranges {
        let [from, to] = [range.start, range.end].map(|Offset(offset)| NextOffset(offset));
        log.read(Stretch { partition, from, to }, |record| {
            let (offset, appended_at) = (record.offset, record.appended_at());
            let (key, value) = (record.message.key(), record.message.payload());
            match decode(key, value, Headers::of(record.message)) {
                Ok(item) if selection.takes(&item) => each(Found { partition, offset, appended_at, item }),
                Ok(_) => Ok(()),
                Err(foreign) => {
                    others.count(foreign, partition, offset);
                    Ok(())
                }
            }
        })?;
    }
    Ok(others)
}

/// What a record says. A header whose name is not text means nothing.
///
/// # Errors
/// It is no item: another program wrote it.
pub fn decode<'a>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = Header<'a>> + Clone,
) -> Result<Quarantined, Foreign> {
    let named = |(name, value): Header<'a>| std::str::from_utf8(name).ok().map(|name| (name, value));
    Quarantined::decode(key, value, headers.filter_map(named))
}

/// Why the topic cannot be looked at; of one that is not there, how it is made.
pub fn explain(error: InspectError, kafka: &KafkaConfig) -> anyhow::Error {
    match error {
        InspectError::NoTopic(topic) => anyhow!(
            "topic {topic} does not exist, or this user may not look at it; create it with `kafka-topics.sh \
             --bootstrap-server {} --create --topic {topic} --partitions 3 --config cleanup.policy=delete \
             --config message.timestamp.type=LogAppendTime --config retention.ms=2592000000 \
             --config max.message.bytes=2097152`, in production also with `--replication-factor 3 --config \
             min.insync.replicas=2`",
            kafka.brokers
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_other_programs_are_counted_by_what_is_wrong_and_the_first_is_named() {
        let mut others = Others::default();
        assert_eq!(others.to_string(), "");
        for offset in [7, 9] {
            others.count(Foreign("ce_type"), Partition(1), Offset(offset));
        }
        others.count(Foreign("telex_hook"), Partition(2), Offset(0));
        assert_eq!(
            others.to_string(),
            "records of other programs: 2; the header ce_type is missing or malformed \
             (the first at partition 1, offset 7)\n\
             records of other programs: 1; the header telex_hook is missing or malformed \
             (the first at partition 2, offset 0)"
        );
    }

    #[test]
    fn a_topic_that_is_not_there_is_told_with_the_command_that_makes_it() {
        let kafka = KafkaConfig {
            brokers: "kafka:9092".to_owned(),
            connection: None,
            topic: "telex.quarantine".to_owned(),
        };
        let said = explain(InspectError::NoTopic(kafka.topic.clone()), &kafka).to_string();
        assert!(said.contains("--bootstrap-server kafka:9092 --create --topic telex.quarantine"), "{said}");
        let said = explain(InspectError::NoCluster, &kafka).to_string();
        assert!(!said.contains("--create"), "{said}");
    }
}
