//! Over how many partitions keys are spread, as the processors say it ([`schemas::placement`]): an API that spread them
//! over another number would acknowledge messages that lie where their clients are not.
//!
//! [`crate::watch`] asks before the first message is kept and every few seconds from then on, `hooks replay` before it
//! writes. Who does not know what is said keeps nothing; who knows that nothing is said goes on.

use std::time::{Duration, Instant};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use schemas::{PartitionCount, Placement, placement};

use crate::{
    config::KafkaConfig,
    publish::{self, KafkaPublisher},
};

/// How long the brokers may take to send all that is said: as long as for any question, since a stop waits for it.
const DEADLINE: Duration = Duration::from_secs(5);

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Placement(Placement),
    /// Nothing; why, for a person.
    Nothing(String),
}

impl Heard {
    /// What is wrong with spreading keys over so many partitions.
    pub fn objection(&self, partition_count: PartitionCount) -> Option<String> {
        match self {
            Self::Placement(said) if said.partition_count != partition_count => Some(format!(
                "--partition-count (INGEST_PARTITION_COUNT) is {partition_count}, and the processors spread keys over \
                 {} partitions: set that number; docs/growing-partitions.md says why",
                said.partition_count
            )),
            Self::Placement(..) | Self::Nothing(_) => None,
        }
    }
}

/// What is said of the topic of messages. The whole log is read each time: it has a few records, and one that somebody has
/// deleted and made again may end where the former did. Blocks.
///
/// # Errors
/// Not known: the brokers do not answer.
pub fn listen(publisher: &KafkaPublisher, kafka: &KafkaConfig) -> Result<Heard, KafkaError> {
    let (topic, deadline) = (placement::topic_of(&kafka.topic), Instant::now() + DEADLINE);
    let is_forbidden =
        |error: &KafkaError| error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
    let forbidden = || Heard::Nothing(format!("the brokers do not let this user read a topic {topic}"));
    let (start, end) = match publisher.log_of(&topic, DEADLINE) {
        Ok(log) => log,
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => {
            return Ok(Heard::Nothing(format!("there is no topic {topic}")));
        }
        Err(error) if is_forbidden(&error) => return Ok(forbidden()),
        Err(error) => return Err(error),
    };
    match read(kafka, &topic, (start, end), deadline) {
        Ok(Some(said)) => Ok(Heard::Placement(said)),
        Ok(None) => Ok(Heard::Nothing(format!("the topic {topic} is empty"))),
        Err(error) if is_forbidden(&error) => Ok(forbidden()),
        Err(error) => Err(error),
    }
}

/// The placement that is in force, of all between the ends of the log. Each time by another client: none goes on where it
/// stood in a topic that is gone.
fn read(
    kafka: &KafkaConfig,
    topic: &str,
    (start, end): (i64, i64),
    deadline: Instant,
) -> Result<Option<Placement>, KafkaError> {
    if start >= end {
        return Ok(None);
    }
    let mut client = publish::client(kafka);
    client
        // Nothing is ever committed under this name, which every reader may use.
        .set("group.id", "telex.reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        // The last offsets of the log may have no record.
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "1024");
    let consumer: BaseConsumer = client.create()?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Offset(start))?;
    consumer.assign(&place)?;
    let mut in_force = None;
    let mut trouble = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                if let Some(said) = record.payload().and_then(Placement::decode) {
                    in_force = Some(said.highest(in_force));
                }
                if record.offset() + 1 >= end {
                    return Ok(in_force);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(in_force),
            Some(Err(error)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                    return Err(error);
                }
                // It passes; the client tries again by itself.
                trouble = error;
            }
            None => {}
        }
    }
    Err(trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_count_is_refused_by_both_numbers_and_none_that_nobody_has_said() {
        let count = |count| PartitionCount::new(count).unwrap();
        let said = Placement { topic_ref: 1, topic_id: uuid::Uuid::nil(), partition_count: count(24) };
        let heard = Heard::Placement(said);
        assert_eq!(heard.objection(count(24)), None);
        for other in [12, 48] {
            let objection = heard.objection(count(other)).unwrap();
            for part in
                ["--partition-count", "INGEST_PARTITION_COUNT", &format!("is {other},"), "over 24 ", "docs/"]
            {
                assert!(objection.contains(part), "{objection}");
            }
        }
        assert_eq!(Heard::Nothing("there is no topic".to_owned()).objection(count(12)), None);
    }
}
