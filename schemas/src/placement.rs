//! Over how many partitions the keys of a topic are spread, as the processors, who know it from their tables, say it to
//! those who write to the topic and see no tables. It lies in a compacted topic of its own, beside the topic of messages.
//!
//! Each word has a key of its own, so that none ever takes another's place: who reads takes the highest. A processor
//! that is late, and says what was true before, changes nothing.

use serde::Deserialize;
use uuid::Uuid;

use crate::key::PartitionCount;

/// A value is a hundred bytes long. What is much longer is somebody else's.
const VALUE_BYTES_MAX: usize = 1_024;

/// The topic that says it of the topic of messages with this name. It is no setting: two programs that do not agree on
/// it would not notice that they do not agree on anything else.
pub fn topic_of(messages: &str) -> String {
    format!("{messages}.placement")
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The number of the topic in the tables. A topic that a person has accepted in the place of a former one has a
    /// higher number than that; in tables that were built again, a topic may have a lower one than before.
    pub topic_ref: i16,
    /// The topic's id in its cluster, for people.
    pub topic_id: Uuid,
    /// Over how many partitions keys are spread. For one topic it only grows.
    pub partition_count: PartitionCount,
}

/// The value as it is read.
#[derive(Deserialize)]
struct Written {
    topic_ref: i16,
    topic_id: String,
    partition_count: i32,
}

impl Placement {
    /// The record's key.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.topic_ref, self.topic_id, self.partition_count)
    }

    /// The record's value: a JSON object, to which members may be added.
    pub fn encode(&self) -> String {
        let Self { topic_ref, topic_id, partition_count } = self;
        let (topic_id, partition_count) = (topic_id.to_string(), partition_count.get());
        serde_json::json!({ "topic_ref": topic_ref, "topic_id": topic_id, "partition_count": partition_count })
            .to_string()
    }

    /// Out of a record's value; `None` if it is nothing of the kind.
    pub fn decode(value: &[u8]) -> Option<Self> {
        if value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let Written { topic_ref, topic_id, partition_count } = serde_json::from_slice(value).ok()?;
        Some(Self {
            topic_ref,
            topic_id: Uuid::try_parse(&topic_id).ok()?,
            partition_count: PartitionCount::new(partition_count)?,
        })
    }

    /// The one that is in force, of this and what was read before: of one topic the highest count, whoever says it; of
    /// two topics the one with the higher number.
    pub fn highest(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.topic_id == self.topic_id => Self {
                topic_ref: before.topic_ref.max(self.topic_ref),
                partition_count: before.partition_count.max(self.partition_count),
                ..self
            },
            Some(before) if before.topic_ref > self.topic_ref => before,
            // The same number for two topics comes from two databases: the later is the one in use.
            Some(_) | None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each number has a topic of its own.
    fn placement(topic_ref: i16, count: i32) -> Placement {
        let topic = u128::try_from(topic_ref).unwrap();
        Placement {
            topic_ref,
            topic_id: Uuid::from_u128(0xfb_ef_be_00_00_00_00_00_00_00_00_00_00_00_00_00 | topic),
            partition_count: PartitionCount::new(count).unwrap(),
        }
    }

    #[test]
    fn a_placement_is_read_as_it_was_written_and_members_may_be_added() {
        let written = placement(1, 24).encode();
        assert_eq!(
            written,
            r#"{"partition_count":24,"topic_id":"fbefbe00-0000-0000-0000-000000000001","topic_ref":1}"#
        );
        assert_eq!(Placement::decode(written.as_bytes()), Some(placement(1, 24)));
        let later = written.replacen('{', r#"{"since":"2027-01-01","#, 1);
        assert_eq!(Placement::decode(later.as_bytes()), Some(placement(1, 24)));
    }

    #[test]
    fn what_is_no_placement_says_nothing() {
        let written = placement(1, 24).encode();
        for wrong in [
            "",
            "24",
            "{}",
            &written.replace("24", "0"),
            &written.replace("24", "\"24\""),
            &written.replace("fbefbe00", "nobody"),
            &written.replacen('{', &format!("{{{}", " ".repeat(VALUE_BYTES_MAX)), 1),
        ] {
            assert_eq!(Placement::decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    fn heard(words: &[Placement]) -> Option<Placement> {
        words.iter().fold(None, |before, word| Some(word.highest(before)))
    }

    #[test]
    fn whatever_the_order_of_words_the_highest_count_of_the_newest_topic_is_in_force() {
        let (first, grown, accepted) = (placement(1, 12), placement(1, 24), placement(2, 12));
        assert_eq!(heard(&[]), None);
        assert_eq!(heard(&[first, grown, first]), Some(grown), "a late word changes nothing");
        assert_eq!(heard(&[grown, accepted]), Some(accepted));
        assert_eq!(heard(&[accepted, grown, first]), Some(accepted));
    }

    #[test]
    fn tables_that_were_built_again_are_heard_although_their_numbers_begin_anew() {
        let numbered = |topic_ref, placement| Placement { topic_ref, ..placement };
        // In the lost tables the topic was the second, in these it is the first.
        let (former, lost, switched) = (placement(1, 12), placement(2, 12), numbered(1, placement(2, 24)));
        assert_eq!(heard(&[former, lost, switched]), Some(placement(2, 24)));
        assert_eq!(heard(&[former, switched, lost]), Some(placement(2, 24)), "a late word changes nothing");
        let accepted = numbered(2, placement(3, 12));
        assert_eq!(heard(&[former, lost, switched, accepted]), Some(accepted));
    }

    #[test]
    fn no_word_takes_anothers_place_when_the_topic_is_compacted() {
        let keys = [placement(1, 12), placement(1, 24), placement(2, 12)].map(|word| word.key());
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");
        assert_eq!(topic_of("telex.messages"), "telex.messages.placement");
    }
}
