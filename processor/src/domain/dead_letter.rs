//! Records that can never be applied, and how many of them are still believable.
#![deny(clippy::wildcard_enum_match_arm)]

use std::{
    fmt,
    time::{Duration, Instant},
};

use schemas::RecordFault;

use crate::domain::halt::StopReason;

/// Why a record can never be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// The record breaks the contract of the topic.
    Record(RecordFault),
    /// Its id was used before with another body: the first wins.
    ConflictingDuplicate,
    /// PostgreSQL refuses its data, alone in a transaction.
    RejectedByDatabase {
        /// The error's class and code.
        sqlstate: String,
    },
}

impl DeadLetterReason {
    /// The stable code: column, metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Record(fault) => fault.as_str(),
            Self::ConflictingDuplicate => "conflicting_duplicate",
            Self::RejectedByDatabase { .. } => "rejected_by_database",
        }
    }

    /// Whether it speaks against the program rather than against one sender: anybody can reuse an id,
    /// and must not be able to halt a partition with it (R23).
    pub const fn is_limited(&self) -> bool {
        match self {
            Self::Record(_) | Self::RejectedByDatabase { .. } => true,
            Self::ConflictingDuplicate => false,
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(fault) => fault.fmt(f),
            Self::ConflictingDuplicate => f.write_str("the id was used before with another body"),
            Self::RejectedByDatabase { sqlstate } => {
                write!(f, "the database refuses it: SQLSTATE {sqlstate}")
            }
        }
    }
}

/// How many dead letters a partition may have. Above it, the deploy is more likely to be bad than the
/// records (R23).
#[derive(Debug, Clone, clap::Args)]
pub struct DeadLetterConfig {
    /// A partition halts if it has more dead letters than this in a minute.
    #[arg(long, env = "PROCESSOR_DEAD_LETTERS_PER_MINUTE_MAX", default_value_t = 100)]
    pub dead_letters_per_minute_max: u64,
    /// A partition halts if more than this percentage of its records are dead letters, once a minute has a thousand records.
    #[arg(long, env = "PROCESSOR_DEAD_LETTERS_PERCENT_MAX", default_value_t = 1)]
    pub dead_letters_percent_max: u64,
}

/// Records below which a percentage says nothing.
const RECORDS_MIN: u64 = 1_000;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts the dead letters of one partition, by the minute.
#[derive(Debug, Clone)]
pub struct DeadLetterLimit {
    config: DeadLetterConfig,
    since: Instant,
    records: u64,
    dead_letters: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitPassed {
    /// Dead letters in the window.
    pub dead_letters: u64,
    /// Records in the window.
    pub records: u64,
}

impl From<LimitPassed> for StopReason {
    fn from(passed: LimitPassed) -> Self {
        Self::DeadLetterLimit { dead_letters: passed.dead_letters, records: passed.records }
    }
}

impl DeadLetterLimit {
    /// An empty window from `now` on.
    pub const fn new(config: DeadLetterConfig, now: Instant) -> Self {
        Self { config, since: now, records: 0, dead_letters: 0 }
    }

    /// Counts records, and those among them that are to become dead letters, before they are applied.
    ///
    /// # Errors
    /// [`LimitPassed`]: they must not be applied.
    pub fn admit(&mut self, records: u64, dead_letters: u64, now: Instant) -> Result<(), LimitPassed> {
        if now.duration_since(self.since) >= WINDOW {
            *self = Self::new(self.config.clone(), now);
        }
        self.records += records;
        self.dead_letters += dead_letters;
        let many = self.dead_letters > self.config.dead_letters_per_minute_max;
        let percent_max = self.config.dead_letters_percent_max;
        let dense = self.records >= RECORDS_MIN && self.dead_letters * 100 > self.records * percent_max;
        if dead_letters > 0 && (many || dense) {
            return Err(LimitPassed { dead_letters: self.dead_letters, records: self.records });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: DeadLetterConfig =
        DeadLetterConfig { dead_letters_per_minute_max: 100, dead_letters_percent_max: 1 };

    #[test]
    fn a_minute_has_room_for_a_hundred_dead_letters() {
        let start = Instant::now();
        let mut limit = DeadLetterLimit::new(CONFIG, start);
        assert_eq!(limit.admit(100, 100, start), Ok(()));
        assert_eq!(limit.admit(1, 1, start), Err(LimitPassed { dead_letters: 101, records: 101 }));
        assert_eq!(limit.admit(1, 1, start + WINDOW), Ok(()));
    }

    #[test]
    fn one_in_a_hundred_is_too_many_only_among_a_thousand() {
        let start = Instant::now();
        let mut limit = DeadLetterLimit::new(CONFIG, start);
        assert_eq!(limit.admit(999, 20, start), Ok(()));
        assert_eq!(limit.admit(1_000, 0, start), Ok(()), "good records are never refused");
        assert_eq!(limit.admit(1, 1, start), Err(LimitPassed { dead_letters: 21, records: 2_000 }));
    }
}
