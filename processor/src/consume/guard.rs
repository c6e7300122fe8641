//! A row against itself and against the log. Pure.

use crate::domain::{
    halt::StopReason,
    position::{LogRange, Offset, RecordDigest},
    progress::Progress,
};

/// Checks a row against itself and the log (R10). Answers with the last applied record, if it is still
/// there to be compared.
pub fn guard(row: &Progress, log: LogRange) -> Result<Option<(Offset, RecordDigest)>, StopReason> {
    let (next_offset, counted) = (row.next_offset, row.accounted());
    if row.gap() != 0 {
        return Err(StopReason::NotConserved { applied: row.applied(), counted });
    }
    if next_offset.offset() < log.start {
        return Err(StopReason::BelowLogStart { next_offset, log_start: log.start });
    }
    if next_offset.offset() > log.end {
        return Err(StopReason::BeyondLogEnd { next_offset, log_end: log.end });
    }
    let last = row.last_digest.filter(|last| last.offset >= log.start);
    Ok(last.map(|last| (last.offset, last.digest)))
}

#[cfg(test)]
mod tests {
    use schemas::Partition;

    use super::*;
    use crate::domain::{
        counters::Counters,
        position::{LastRecord, NextOffset},
    };

    fn row(birth: i64, next: i64, counted: i64) -> Progress {
        let last = LastRecord { offset: Offset(next - 1), digest: RecordDigest([7; 32]) };
        Progress {
            next_offset: NextOffset(next),
            last_digest: (next > birth).then_some(last),
            counters: Counters { messages: counted, ..Counters::default() },
            ..Progress::born(Partition(1), Offset(birth))
        }
    }

    fn log(start: i64, end: i64) -> LogRange {
        LogRange { start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn offsets_that_an_operator_skipped_or_repeated_are_part_of_the_sum() {
        let skipped = Progress { skipped: 4, last_digest: None, ..row(0, 9, 5) };
        assert_eq!(guard(&skipped, log(9, 9)), Ok(None));
        let repeated = Progress { repeated: 4, last_digest: None, ..row(0, 9, 13) };
        assert_eq!(guard(&repeated, log(9, 9)), Ok(None));
    }

    #[test]
    fn a_partition_is_taken_up_only_where_its_log_continues() {
        assert_eq!(guard(&row(0, 0, 0), log(0, 9)), Ok(None), "nothing was applied yet");
        assert_eq!(guard(&row(0, 9, 9), log(0, 9)), Ok(Some((Offset(8), RecordDigest([7; 32])))));
        assert_eq!(guard(&row(0, 5, 5), log(5, 9)), Ok(None), "retention has just reached it");
        let digest = RecordDigest([9; 32]);
        let marker_last =
            Progress { last_digest: Some(LastRecord { offset: Offset(6), digest }), ..row(0, 9, 9) };
        let last = Ok(Some((Offset(6), digest)));
        assert_eq!(guard(&marker_last, log(0, 9)), last, "markers follow the record");
        assert_eq!(guard(&marker_last, log(7, 9)), Ok(None), "retention has left the markers alone");
        let next_offset = NextOffset(5);
        let below = StopReason::BelowLogStart { next_offset, log_start: Offset(6) };
        assert_eq!(guard(&row(0, 5, 5), log(6, 9)), Err(below));
        let beyond = StopReason::BeyondLogEnd { next_offset, log_end: Offset(4) };
        assert_eq!(guard(&row(0, 5, 5), log(0, 4)), Err(beyond));
        assert_eq!(guard(&row(0, 5, 6), log(0, 9)), Err(StopReason::NotConserved { applied: 5, counted: 6 }));
    }
}
