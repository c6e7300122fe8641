//! What can be in the way of a takeover.

use std::fmt;

use super::position::Offset;

/// Why a partition cannot be taken up now. Passes, or is put right by a person; nothing is written meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// PostgreSQL does not answer, or is not the one to ask.
    Database(String),
    Brokers(String),
    /// The partition's leader does not name the range of its log, if there is one.
    LogRange(String),
    /// The last applied record lies in the log and does not come.
    NoRecord(Offset),
    /// The row moves, or somebody's transaction holds it.
    RowMoves,
    /// A later version of this program has halted it, for a reason that this one does not know.
    UnknownHalt,
    /// The attempt did not end in time.
    Deadline,
}

impl Obstacle {
    /// The stable code: log field, metric label, readiness text.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Database(_) => "database",
            Self::Brokers(_) => "brokers",
            Self::LogRange(_) => "log_range",
            Self::NoRecord(_) => "no_record",
            Self::RowMoves => "row_moves",
            Self::UnknownHalt => "unknown_halt",
            Self::Deadline => "deadline",
        }
    }

    /// Whether it is about all partitions, so that they are tried again together.
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Database(_) | Self::Brokers(_) | Self::RowMoves => true,
            Self::LogRange(_) | Self::NoRecord(_) | Self::UnknownHalt | Self::Deadline => false,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(why) | Self::Brokers(why) => f.write_str(why),
            Self::LogRange(why) => write!(f, "its leader does not name the range of its log: {why}"),
            Self::NoRecord(offset) => write!(f, "the record at {offset} does not arrive"),
            Self::RowMoves => f.write_str("its row moves, or is held by a transaction"),
            Self::UnknownHalt => f.write_str("a later version halted it for a reason that is not known here"),
            Self::Deadline => f.write_str("the attempt did not end in time"),
        }
    }
}
