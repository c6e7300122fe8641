//! How far a partition is applied, and what became of a step whose outcome is not known. Pure.

use schemas::Partition;

use super::{
    counters::Counters,
    position::{LastRecord, NextOffset, Offset, OwnerEpoch},
};

/// A row of `partition_progress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub partition: Partition,
    /// The first offset that was ever to be applied.
    pub birth_offset: Offset,
    /// How far it is applied.
    pub next_offset: NextOffset,
    pub owner_epoch: OwnerEpoch,
    pub last_digest: Option<LastRecord>,
    /// What became of the records.
    pub counters: Counters,
    /// Offsets that an operator passed over, or that nobody can account for.
    pub skipped: i64,
    /// Offsets that an operator went back over, so that they count twice.
    pub repeated: i64,
}

impl Progress {
    /// A partition of which nothing is applied, and which nobody has owned.
    pub fn born(partition: Partition, birth_offset: Offset) -> Self {
        Self {
            partition,
            birth_offset,
            next_offset: NextOffset(birth_offset.0),
            owner_epoch: OwnerEpoch(0),
            last_digest: None,
            counters: Counters::default(),
            skipped: 0,
            repeated: 0,
        }
    }

    /// How many offsets are behind the partition.
    pub const fn applied(&self) -> i64 {
        self.next_offset.0 - self.birth_offset.0
    }

    /// How many of them are accounted for.
    pub const fn accounted(&self) -> i64 {
        self.counters.total() + self.skipped - self.repeated
    }

    /// The conservation gap (P1): anything but 0 means that a record was lost or counted twice.
    pub const fn gap(&self) -> i64 {
        self.applied() - self.accounted()
    }
}

/// What became of a step whose outcome is not known: an error at COMMIT, a compare-and-set that
/// missed, an answer that never came (R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The partition has moved: the step was committed.
    Done,
    /// It has not moved, and is still ours: apply the step again.
    Redo,
    /// It is somewhere else, or somebody else's: forget everything about it.
    Fenced,
}

/// Judges a step by the row as it is now. The epoch is part of it: a former owner's rows may stand at
/// our `to` without our transaction having happened.
#[must_use]
pub fn judge(row: Option<&Progress>, from: NextOffset, to: NextOffset, owner_epoch: OwnerEpoch) -> Verdict {
    match row {
        Some(row) if row.owner_epoch == owner_epoch && row.next_offset == to => Verdict::Done,
        Some(row) if row.owner_epoch == owner_epoch && row.next_offset == from => Verdict::Redo,
        Some(_) | None => Verdict::Fenced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(next_offset: i64, owner_epoch: i64) -> Progress {
        let (next_offset, owner_epoch) = (NextOffset(next_offset), OwnerEpoch(owner_epoch));
        Progress { next_offset, owner_epoch, ..Progress::born(Partition(0), Offset(0)) }
    }

    #[test]
    fn an_unknown_outcome_is_read_from_the_row() {
        let judge =
            |row: Option<Progress>| judge(row.as_ref(), NextOffset(10), NextOffset(20), OwnerEpoch(3));
        assert_eq!(judge(Some(row(20, 3))), Verdict::Done);
        assert_eq!(judge(Some(row(10, 3))), Verdict::Redo);
        assert_eq!(judge(Some(row(20, 4))), Verdict::Fenced, "it may be the new owner's step");
        assert_eq!(judge(Some(row(10, 4))), Verdict::Fenced);
        assert_eq!(judge(Some(row(5, 3))), Verdict::Fenced, "a failover lost what was committed");
        assert_eq!(judge(None), Verdict::Fenced);
    }
}
