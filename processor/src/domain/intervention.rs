//! What it means to move a partition by hand: which offsets are skipped, which are repeated. Pure; the
//! command says it before anything is written.

use schemas::Partition;

use crate::domain::{
    position::{LogRange, NextOffset, Offset},
    progress::Progress,
};

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub partition: Partition,
    pub from: NextOffset,
    pub to: NextOffset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Offsets that are passed over.
    pub skipped: i64,
    /// Those of them whose records are still in the log.
    pub skipped_in_log: i64,
    /// Offsets that are gone back over: what the log holds there is applied again.
    pub repeated: i64,
    /// What the sum of the row lacked before (P1): positive if offsets were not counted, negative if
    /// some were counted twice. The move settles it.
    pub unaccounted: i64,
    /// Records that the log holds from there on.
    pub left: i64,
}

impl Effect {
    /// What is added to `partition_progress.skipped`.
    pub fn skipped_in_all(&self) -> i64 {
        self.skipped + self.unaccounted.max(0)
    }

    /// What is added to `partition_progress.repeated`.
    pub fn repeated_in_all(&self) -> i64 {
        self.repeated + (-self.unaccounted).max(0)
    }
}

/// Why a move makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller has looked at something else.
    #[error("--from is {given}, but the partition's next offset is {next_offset}")]
    NotThere { given: NextOffset, next_offset: NextOffset },
    /// Nothing to be read there any more.
    #[error("--to is {given}, but the log starts at {log_start}")]
    BelowLogStart { given: NextOffset, log_start: Offset },
    /// Nothing to be read there yet.
    #[error("--to is {given}, but the log ends at {log_end}")]
    BeyondLogEnd {
        given: NextOffset,
        /// The end of the log.
        log_end: Offset,
    },
    /// The partition was born later.
    #[error("--to is {given}, but the partition was born at {birth_offset}")]
    BeforeBirth {
        given: NextOffset,
        /// The first offset that was ever to be applied.
        birth_offset: Offset,
    },
}

/// What a move of the row's partition does.
pub fn plan(row: &Progress, log: LogRange, wanted: Move) -> Result<Effect, Refusal> {
    let Move { from, to, .. } = wanted;
    if from != row.next_offset {
        return Err(Refusal::NotThere { given: from, next_offset: row.next_offset });
    }
    if to.offset() < log.start {
        return Err(Refusal::BelowLogStart { given: to, log_start: log.start });
    }
    if to.offset() > log.end {
        return Err(Refusal::BeyondLogEnd { given: to, log_end: log.end });
    }
    if to.offset() < row.birth_offset {
        return Err(Refusal::BeforeBirth { given: to, birth_offset: row.birth_offset });
    }
    Ok(Effect {
        skipped: (to.0 - from.0).max(0),
        skipped_in_log: (to.0 - from.0.max(log.start.0)).max(0),
        repeated: (from.0 - to.0).max(0),
        unaccounted: row.gap(),
        left: log.end.0 - to.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::counters::Counters;

    fn row(birth: i64, next: i64, counted: i64) -> Progress {
        let counters = Counters { messages: counted, ..Counters::default() };
        Progress { next_offset: NextOffset(next), counters, ..Progress::born(Partition(0), Offset(birth)) }
    }

    fn plan(row: &Progress, (start, end): (i64, i64), (from, to): (i64, i64)) -> Result<Effect, Refusal> {
        let log = LogRange { start: Offset(start), end: Offset(end) };
        super::plan(row, log, Move { partition: row.partition, from: NextOffset(from), to: NextOffset(to) })
    }

    const NOTHING: Effect = Effect { skipped: 0, skipped_in_log: 0, repeated: 0, unaccounted: 0, left: 0 };

    #[test]
    fn a_gap_is_told_apart_from_records_that_could_still_be_read() {
        let row = row(0, 100, 100);
        assert_eq!(plan(&row, (120, 150), (100, 120)), Ok(Effect { skipped: 20, left: 30, ..NOTHING }));
        let further = Effect { skipped: 25, skipped_in_log: 5, left: 25, ..NOTHING };
        assert_eq!(plan(&row, (120, 150), (100, 125)), Ok(further));
        let all_there = Effect { skipped: 1, skipped_in_log: 1, left: 49, ..NOTHING };
        assert_eq!(plan(&row, (0, 150), (100, 101)), Ok(all_there));
    }

    #[test]
    fn going_back_repeats_and_staying_does_nothing() {
        let row = row(0, 100, 100);
        assert_eq!(plan(&row, (0, 80), (100, 80)), Ok(Effect { repeated: 20, ..NOTHING }));
        assert_eq!(plan(&row, (0, 100), (100, 100)), Ok(NOTHING));
    }

    #[test]
    fn a_sum_that_does_not_close_is_settled_by_the_move() {
        let lacking = plan(&row(0, 100, 98), (0, 100), (100, 100)).unwrap();
        assert_eq!((lacking.skipped_in_all(), lacking.repeated_in_all()), (2, 0));
        let doubled = plan(&row(0, 100, 103), (0, 100), (100, 100)).unwrap();
        assert_eq!((doubled.skipped_in_all(), doubled.repeated_in_all()), (0, 3));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_with_those_that_do() {
        let row = row(10, 100, 90);
        let refused = |log, range| plan(&row, log, range).unwrap_err().to_string();
        assert_eq!(refused((0, 200), (99, 100)), "--from is 99, but the partition's next offset is 100");
        assert_eq!(refused((120, 200), (100, 119)), "--to is 119, but the log starts at 120");
        assert_eq!(refused((0, 200), (100, 201)), "--to is 201, but the log ends at 200");
        assert_eq!(refused((0, 200), (100, 9)), "--to is 9, but the partition was born at 10");
    }
}
