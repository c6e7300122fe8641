//! How much of a batch is tried at once, after PostgreSQL could not take a whole one in time. Sync and pure.

use crate::domain::batch::Batch;

/// After so many full parts in a row that were applied, a part may be twice as large: a size that fails once
/// costs a timeout, and must not be tried every other time.
const STREAK: u32 = 8;

/// How many records the next part of a batch may hold.
#[derive(Debug)]
pub struct PartLimit {
    whole: usize,
    /// Less than a whole one; `None`: no limit.
    limit: Option<usize>,
    /// Full parts applied since the limit changed.
    streak: u32,
}

impl PartLimit {
    /// No limit, for batches of about `whole` records.
    pub const fn new(whole: usize) -> Self {
        Self { whole, limit: None, streak: 0 }
    }

    /// A part of so many records was too much: the next is half as large.
    pub fn shrink(&mut self, records: usize) {
        (self.limit, self.streak) = (Some((records / 2).max(1)), 0);
    }

    /// A part of so many records was applied.
    pub fn applied(&mut self, records: usize) {
        let Some(limit) = self.limit.filter(|limit| records >= *limit) else { return };
        self.streak += 1;
        if self.streak >= STREAK {
            (self.limit, self.streak) = (Some(limit * 2).filter(|limit| *limit < self.whole), 0);
        }
    }

    /// The part of a batch that may be tried now, and what comes after it. The records of a partition stay in
    /// their order.
    pub fn cut(&self, batch: Batch) -> (Batch, Option<Batch>) {
        let Some(mut room) = self.limit.filter(|limit| *limit < batch.len()) else {
            return (batch, None);
        };
        let (mut part, mut rest) = (Batch::default(), Batch::default());
        for run in batch.runs {
            match run.records.len() {
                _ if room == 0 => rest.runs.push(run),
                records if records <= room => {
                    room -= records;
                    part.runs.push(run);
                }
                _ => {
                    let (first, second) = run.split_at(room);
                    room = 0;
                    part.runs.push(first);
                    rest.runs.push(second);
                }
            }
        }
        (part, Some(rest))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{Partition, PartitionCount, Timestamp};

    use super::*;
    use crate::domain::{
        batch::Run,
        decode::Record,
        position::{NextOffset, Offset, OwnerEpoch},
        record::RawRecord,
        rules::PartitionRules,
    };

    fn run(partition: i32, from: i64, records: i64) -> Run {
        let partition = Partition(partition);
        let rules = PartitionRules::new(partition, PartitionCount::new(12).unwrap());
        let record = |offset| {
            let nothing = std::iter::empty();
            let raw = RawRecord::new(partition, Offset(offset), Timestamp::EPOCH, None, None, nothing);
            Arc::new(Record::decode(raw, &rules))
        };
        Run {
            partition,
            owner_epoch: OwnerEpoch(1),
            from: NextOffset(from),
            to: NextOffset(from + records),
            records: (from..from + records).map(record).collect(),
        }
    }

    /// Partition, first and next offset of each run.
    fn stretches(batch: &Batch) -> Vec<(i32, i64, i64)> {
        batch.runs.iter().map(|run| (run.partition.0, run.from.0, run.to.0)).collect()
    }

    #[test]
    fn a_part_is_cut_from_the_front_and_each_partition_stays_in_order() {
        let mut limit = PartLimit::new(2_000);
        let batch = Batch { runs: vec![run(0, 5, 3), run(3, 0, 4), run(7, 9, 2)] };
        let (whole, rest) = limit.cut(batch.clone());
        assert!(rest.is_none() && whole.len() == 9, "no limit yet");
        limit.shrink(9);
        let (part, rest) = limit.cut(batch);
        assert_eq!(stretches(&part), [(0, 5, 8), (3, 0, 1)]);
        let rest = rest.unwrap();
        assert_eq!(stretches(&rest), [(3, 1, 4), (7, 9, 11)]);
        limit.shrink(1);
        let (part, rest) = limit.cut(rest);
        assert_eq!((stretches(&part), rest.unwrap().len()), (vec![(3, 1, 2)], 4));
    }

    #[test]
    fn the_limit_halves_down_to_one_record_and_grows_back_after_successes() {
        let mut limit = PartLimit::new(2_000);
        let mut records = 2_000;
        for expected in [1_000, 500, 250, 125, 62, 31, 15, 7, 3, 1, 1] {
            limit.shrink(records);
            assert_eq!(limit.limit, Some(expected));
            records = expected;
        }
        for _ in 1..STREAK {
            limit.applied(1);
        }
        assert_eq!(limit.limit, Some(1));
        limit.applied(1);
        assert_eq!(limit.limit, Some(2));
        limit.applied(1);
        assert_eq!(limit.streak, 0, "a part that was not full says nothing");
        for _ in 0..STREAK * 10 {
            limit.applied(2_000);
        }
        assert_eq!(limit.limit, None, "whole batches again");
    }
}
