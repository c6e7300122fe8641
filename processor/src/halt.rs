//! Why a partition stands still until a person decides. A stop is not a failure to be retried: going
//! on would lose, double or misplace records (P10, R25). Nothing is written for a halted partition;
//! the others go on.
#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;

use uuid::Uuid;

use crate::position::{NextOffset, Offset};

/// The reason of a stop, with the numbers that a person needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The topic was deleted and created again: its records are not those that were applied.
    TopicRecreated {
        /// The id in the registry.
        registered: Uuid,
        /// The id that the brokers answer with.
        found: Uuid,
    },
    /// The partition came after the topic was registered: keys have moved to it (P4).
    UnregisteredPartition,
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
    DigestMismatch {
        /// That place.
        offset: Offset,
    },
    /// Records are missing between two that follow each other.
    OffsetGap {
        /// The offset that should have come.
        expected: NextOffset,
        /// The offset that came.
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
    /// A message was there although its client was not: another writer is at work in the tables.
    ForeignWrite {
        /// The record whose message was there.
        offset: Offset,
    },
}

impl StopReason {
    /// The stable code: log field, metric label, readiness text.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::UnregisteredPartition => "unregistered_partition",
            Self::BelowLogStart { .. } => "below_log_start",
            Self::BeyondLogEnd { .. } => "beyond_log_end",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::OffsetGap { .. } => "offset_gap",
            Self::NotConserved { .. } => "not_conserved",
            Self::DeadLetterLimit { .. } => "dead_letter_limit",
            Self::ForeignWrite { .. } => "foreign_write",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicRecreated { registered, found } => {
                write!(f, "the topic's id is {found}, registered is {registered}")
            }
            Self::UnregisteredPartition => f.write_str("the partition is not in the registry"),
            Self::BelowLogStart { next_offset, log_start } => {
                write!(f, "the log starts at {log_start}, next offset is {next_offset}: records are lost")
            }
            Self::BeyondLogEnd { next_offset, log_end } => {
                write!(f, "the log ends at {log_end}, next offset is {next_offset}")
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
                write!(f, "the message of the record at {offset} was there before its client")
            }
        }
    }
}
