//! Why a partition stands still until a person decides. A stop is not a failure to be retried: going
//! on would lose, double or misplace records (P10, R25). Nothing is written for a halted partition;
//! the others go on.
#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::position::{NextOffset, Offset};

/// The reason of a stop, with the numbers that a person needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// The topic was deleted and created again: its records are not those that were applied.
    TopicRecreated {
        /// The id in the registry.
        registered: Uuid,
        /// The id that the brokers answer with.
        found: Uuid,
    },
    /// The topic belongs to another cluster: staging's brokers with production's database, or a new cluster
    /// that nobody has accepted yet.
    OtherCluster {
        /// The cluster in the registry.
        registered: String,
        /// The cluster that the brokers answer with.
        found: String,
        /// The id of the topic there.
        topic_id: Uuid,
    },
    /// The partition had a row once, and has none now: nobody knows how far it is applied.
    UnregisteredPartition,
    /// A record came to a partition that no key belongs to yet, or whose clients are not applied to the
    /// end in their former partitions: it waits for `processor partitions switch`.
    AwaitsSwitch {
        offset: Offset,
        /// Over how many partitions keys are spread there.
        partition_count: i32,
    },
    /// Retention removed records that were not yet applied.
    BelowLogStart {
        /// How far the partition is applied.
        next_offset: NextOffset,
        /// The oldest record still there.
        log_start: Offset,
    },
    /// The log ends before what was applied: it was truncated, or it is another one.
    BeyondLogEnd {
        /// How far the partition is applied.
        next_offset: NextOffset,
        /// The end of the log.
        log_end: Offset,
    },
    /// The last applied record is not the one that stands at its place now.
    DigestMismatch { offset: Offset },
    /// Records are missing between two that follow each other.
    OffsetGap {
        /// The offset that should have come.
        expected: NextOffset,
        found: Offset,
    },
    /// The counters do not add up to the records applied.
    NotConserved {
        /// `next_offset - birth_offset`.
        applied: i64,
        /// Messages, duplicates, commands and dead letters together.
        counted: i64,
    },
    /// Too many records became dead letters: more likely a bad deploy than bad records.
    DeadLetterLimit {
        /// Dead letters in the window.
        dead_letters: u64,
        /// Records in the window.
        records: u64,
    },
    /// A row was there that only the record's partition writes: another writer is at work in the tables.
    ForeignWrite {
        /// The record that would have written it.
        offset: Offset,
    },
    /// The tables refuse good records: they are not those of the migrations any more.
    SchemaMismatch(Box<SchemaFault>),
    /// The brokers hand out a batch that no client can read: an unknown codec or format, or a checksum that
    /// does not match. It is the same however often it is fetched.
    UnreadableBatch {
        /// The offset that should have come next; the batch holds it or begins there.
        offset: Offset,
        /// What the client says, by its own name.
        error: String,
    },
}

/// What the server says of tables that refuse good records: names, never values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaFault {
    /// The error's class and code.
    pub sqlstate: String,
    /// The table, if the server names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// The function, of a trigger for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routine: Option<String>,
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}", self.sqlstate)?;
        let names = [
            ("table", &self.table),
            ("column", &self.column),
            ("constraint", &self.constraint),
            ("function", &self.routine),
        ];
        names.into_iter().try_for_each(|(kind, name)| match name {
            Some(name) => write!(f, ", {kind} {name}"),
            None => Ok(()),
        })
    }
}

impl StopReason {
    /// The stable code: log field, metric label, readiness text.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::OtherCluster { .. } => "other_cluster",
            Self::UnregisteredPartition => "unregistered_partition",
            Self::AwaitsSwitch { .. } => "awaits_switch",
            Self::BelowLogStart { .. } => "below_log_start",
            Self::BeyondLogEnd { .. } => "beyond_log_end",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::OffsetGap { .. } => "offset_gap",
            Self::NotConserved { .. } => "not_conserved",
            Self::DeadLetterLimit { .. } => "dead_letter_limit",
            Self::ForeignWrite { .. } => "foreign_write",
            Self::SchemaMismatch(_) => "schema_mismatch",
            Self::UnreadableBatch { .. } => "unreadable_batch",
        }
    }

    /// The numbers as the column `halts.numbers` keeps them.
    pub fn numbers(&self) -> Value {
        let mut numbers = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = numbers.as_object_mut() {
            fields.remove("reason");
        }
        numbers
    }

    /// The reason from its code and numbers. `None`: another version of this program wrote them.
    pub fn from_stored(code: &str, mut numbers: Value) -> Option<Self> {
        numbers.as_object_mut()?.insert("reason".to_owned(), code.into());
        serde_json::from_value(numbers).ok()
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicRecreated { registered, found } => {
                write!(f, "the topic's id is {found}, the registered one is {registered}")
            }
            Self::OtherCluster { registered, found, topic_id } => write!(
                f,
                "the topic belongs to cluster {found} and has the id {topic_id} there, the registered cluster is {registered}"
            ),
            Self::UnregisteredPartition => f.write_str("the partition is not in the registry"),
            Self::AwaitsSwitch { offset, partition_count } => {
                write!(
                    f,
                    "the record at {offset} waits: keys are spread over {partition_count} partitions there"
                )
            }
            Self::BelowLogStart { next_offset, log_start } => {
                write!(f, "the log starts at {log_start}, the next offset is {next_offset}: records are lost")
            }
            Self::BeyondLogEnd { next_offset, log_end } => {
                write!(f, "the log ends at {log_end}, the next offset is {next_offset}")
            }
            Self::DigestMismatch { offset } => {
                write!(f, "the record at {offset} is not the one that was applied")
            }
            Self::OffsetGap { expected, found } => {
                write!(f, "expected the record at {expected}, found {found}")
            }
            Self::NotConserved { applied, counted } => {
                write!(f, "{applied} records applied, {counted} counted")
            }
            Self::DeadLetterLimit { dead_letters, records } => {
                write!(f, "{dead_letters} dead letters in {records} records")
            }
            Self::ForeignWrite { offset } => {
                write!(f, "a row that the record at {offset} writes was there before it")
            }
            Self::SchemaMismatch(fault) => write!(f, "the tables refuse good records: {fault}"),
            Self::UnreadableBatch { offset, error } => {
                write!(f, "the batch at {offset} cannot be read by any client: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_reason_is_read_back_from_what_was_stored_of_it() {
        let (next_offset, offset) = (NextOffset(5), Offset(9));
        let reasons = [
            StopReason::TopicRecreated { registered: Uuid::from_u128(1), found: Uuid::from_u128(2) },
            StopReason::OtherCluster {
                registered: "here".to_owned(),
                found: "there".to_owned(),
                topic_id: Uuid::from_u128(3),
            },
            StopReason::UnregisteredPartition,
            StopReason::AwaitsSwitch { offset, partition_count: 12 },
            StopReason::BelowLogStart { next_offset, log_start: offset },
            StopReason::BeyondLogEnd { next_offset, log_end: offset },
            StopReason::DigestMismatch { offset },
            StopReason::OffsetGap { expected: next_offset, found: offset },
            StopReason::NotConserved { applied: 5, counted: 6 },
            StopReason::DeadLetterLimit { dead_letters: 101, records: 2_000 },
            StopReason::ForeignWrite { offset },
            StopReason::SchemaMismatch(Box::new(SchemaFault {
                sqlstate: "23502".to_owned(),
                table: Some("messages".to_owned()),
                column: Some("tenant".to_owned()),
                constraint: None,
                routine: None,
            })),
            StopReason::UnreadableBatch { offset, error: "NotImplemented".to_owned() },
        ];
        // The error lists every variant: none is forgotten above.
        let of_a_later_version = serde_json::json!({"reason": "of_a_later_version"});
        let error = serde_json::from_value::<StopReason>(of_a_later_version).unwrap_err().to_string();
        let codes: BTreeSet<&str> = error.split('`').skip(1).step_by(2).skip(1).collect();
        assert_eq!(reasons.iter().map(StopReason::as_str).collect::<BTreeSet<_>>(), codes, "{error}");
        for reason in reasons {
            assert_eq!(StopReason::from_stored(reason.as_str(), reason.numbers()), Some(reason));
        }
        let numbers = StopReason::BelowLogStart { next_offset, log_start: offset }.numbers();
        assert_eq!(numbers, serde_json::json!({"next_offset": 5, "log_start": 9}));
        assert_eq!(StopReason::from_stored("of_a_later_version", numbers), None);
    }
}
