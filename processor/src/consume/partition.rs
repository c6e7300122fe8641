//! One partition's state in its lane, for one stretch of ownership. Sync and pure.

use std::{cmp::Ordering, sync::Arc, time::Instant};

use schemas::Timestamp;

use crate::{
    consume::dialogs::DialogCache,
    domain::{
        dead_letter::{DeadLetterConfig, DeadLetterLimit},
        halt::StopReason,
        position::{NextOffset, Offset, OwnerEpoch},
        rules::PartitionRules,
        seat::{AssignmentEpoch, Seat},
    },
    kafka::continuity::Explained,
};

/// A partition that a lane owns.
#[derive(Debug)]
pub struct PartitionState {
    /// The stretch of ownership in memory.
    pub assignment_epoch: AssignmentEpoch,
    /// The stretch of ownership in PostgreSQL.
    pub owner_epoch: OwnerEpoch,
    pub cache: DialogCache,
    pub rules: Arc<PartitionRules>,
    /// How many of its records may be dead letters.
    pub limit: DeadLetterLimit,
    /// When the oldest of its records in hand was appended.
    pub oldest_in_hand: Option<Timestamp>,
    /// The record that must come next.
    expected: NextOffset,
    /// The offsets that were explained last: a record among them would mean that they were not.
    explained: Option<Explained>,
    /// Why nothing more is taken in: what came before is applied, then the partition halts.
    stopping: Option<StopReason>,
}

/// What to do with a record that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one.
    Next,
    /// It belongs to another stretch of ownership, came before, or behind a stop: drop it.
    Stale,
    /// It must not be applied: offsets are missing before it that nothing explains (R12), or it came before
    /// its turn. What came before it is sound.
    Stop(StopReason),
    /// It lies among offsets that were explained as empty, so that what is in hand must not be applied either.
    Contradiction(StopReason),
}

impl PartitionState {
    /// A partition taken up at `next_offset`.
    pub fn new(
        Seat { assignment_epoch, owner_epoch, next_offset, rules }: Seat,
        cache: DialogCache,
        dead_letters: DeadLetterConfig,
        now: Instant,
    ) -> Self {
        Self {
            assignment_epoch,
            owner_epoch,
            cache,
            rules,
            limit: DeadLetterLimit::new(dead_letters, now),
            oldest_in_hand: None,
            expected: next_offset,
            explained: None,
            stopping: None,
        }
    }

    /// The record that must come next.
    pub const fn expected(&self) -> NextOffset {
        self.expected
    }

    /// Takes in nothing more. The first reason stands.
    pub fn stop(&mut self, reason: StopReason) {
        self.stopping.get_or_insert(reason);
    }

    /// Why the partition halts once all that it took in is applied.
    pub const fn stopping(&self) -> Option<&StopReason> {
        self.stopping.as_ref()
    }

    /// Expects what comes after offsets that hold nothing to apply, if they are the next. Otherwise they are
    /// stale, or something is missing before them: then the record that follows stops the partition.
    pub fn explain(&mut self, assignment_epoch: AssignmentEpoch, explained: Explained) -> bool {
        let is_next = assignment_epoch == self.assignment_epoch
            && self.stopping.is_none()
            && explained.from == self.expected;
        if is_next {
            (self.expected, self.explained) = (explained.to, Some(explained));
        }
        is_next
    }

    /// Looks at a record that came, and expects the one after it if it is the next.
    pub fn arrive(&mut self, assignment_epoch: AssignmentEpoch, offset: Offset) -> Arrival {
        if assignment_epoch != self.assignment_epoch {
            return Arrival::Stale;
        }
        let was_explained =
            self.explained.is_some_and(|last| (last.from.offset()..last.to.offset()).contains(&offset));
        let gap = StopReason::OffsetGap { expected: self.expected, found: offset };
        match offset.cmp(&self.expected.offset()) {
            Ordering::Less if was_explained => return Arrival::Contradiction(gap),
            Ordering::Less => return Arrival::Stale,
            // Behind a stop there is nothing to be done, but what comes before it is still looked at.
            Ordering::Equal | Ordering::Greater if self.stopping.is_some() => return Arrival::Stale,
            Ordering::Greater => return Arrival::Stop(gap),
            Ordering::Equal => {}
        }
        if self.rules.awaits_switch(offset) {
            let partition_count = self.rules.count_at(offset).get();
            return Arrival::Stop(StopReason::AwaitsSwitch { offset, partition_count });
        }
        self.expected = offset.next();
        Arrival::Next
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Partition, PartitionCount};

    use super::*;
    use crate::consume::dialogs::CacheBudget;

    fn seat(epoch: u64, next_offset: i64, rules: Arc<PartitionRules>) -> Seat {
        let (assignment_epoch, owner_epoch) = (AssignmentEpoch(epoch), OwnerEpoch(9));
        Seat { assignment_epoch, owner_epoch, next_offset: NextOffset(next_offset), rules }
    }

    fn rules(partition: i32) -> Arc<PartitionRules> {
        Arc::new(PartitionRules::new(Partition(partition), PartitionCount::new(12).unwrap()))
    }

    fn owned(seat: Seat) -> PartitionState {
        let limit = DeadLetterConfig { dead_letters_per_minute_max: 1, dead_letters_percent_max: 1 };
        PartitionState::new(seat, DialogCache::new(CacheBudget::new(10)), limit, Instant::now())
    }

    #[test]
    fn records_follow_each_other_or_the_partition_stops() {
        let mut state = owned(seat(2, 5, rules(3)));
        let (now, before) = (AssignmentEpoch(2), AssignmentEpoch(1));
        assert_eq!(state.arrive(before, Offset(5)), Arrival::Stale, "an older assignment's");
        assert_eq!(state.arrive(now, Offset(4)), Arrival::Stale, "already applied");
        assert_eq!(state.arrive(now, Offset(5)), Arrival::Next);
        assert_eq!(state.arrive(now, Offset(5)), Arrival::Stale, "came twice");
        let gap = StopReason::OffsetGap { expected: NextOffset(6), found: Offset(8) };
        assert_eq!(state.arrive(now, Offset(8)), Arrival::Stop(gap));
        assert_eq!(state.arrive(now, Offset(6)), Arrival::Next);
        assert_eq!(state.stopping(), None, "whoever looks after the partition stops it");
    }

    #[test]
    fn nothing_is_taken_in_or_passed_over_behind_a_stop_and_its_first_reason_stands() {
        let mut state = owned(seat(2, 5, rules(3)));
        let (now, gap) = (AssignmentEpoch(2), |found| StopReason::OffsetGap {
            expected: NextOffset(5),
            found: Offset(found),
        });
        state.stop(gap(7));
        state.stop(gap(9));
        assert_eq!(state.stopping(), Some(&gap(7)));
        assert_eq!(state.arrive(now, Offset(5)), Arrival::Stale);
        let explained = Explained { partition: Partition(3), from: NextOffset(5), to: NextOffset(7) };
        assert!(!state.explain(now, explained));
    }

    #[test]
    fn a_record_among_explained_offsets_is_not_passed_over_behind_a_stop() {
        let mut state = owned(seat(2, 5, rules(3)));
        let now = AssignmentEpoch(2);
        assert!(
            state.explain(now, Explained { partition: Partition(3), from: NextOffset(5), to: NextOffset(8) })
        );
        let gap = |found| StopReason::OffsetGap { expected: NextOffset(8), found: Offset(found) };
        assert_eq!(state.arrive(now, Offset(12)), Arrival::Stop(gap(12)));
        state.stop(gap(12));
        assert_eq!(state.arrive(now, Offset(6)), Arrival::Contradiction(gap(6)));
    }

    #[test]
    fn explained_offsets_are_passed_over_only_where_they_are_the_next() {
        let (now, before) = (AssignmentEpoch(2), AssignmentEpoch(1));
        let mut state = owned(seat(2, 5, rules(3)));
        let explain =
            |from, to| Explained { partition: Partition(3), from: NextOffset(from), to: NextOffset(to) };
        assert!(!state.explain(before, explain(5, 8)), "an older assignment's");
        assert!(!state.explain(now, explain(3, 8)), "begins before");
        assert!(!state.explain(now, explain(6, 8)), "something is missing before it");
        let gap = StopReason::OffsetGap { expected: NextOffset(5), found: Offset(8) };
        assert_eq!(state.arrive(now, Offset(8)), Arrival::Stop(gap));
        assert!(state.explain(now, explain(5, 8)));
        assert_eq!(state.arrive(now, Offset(4)), Arrival::Stale);
        assert_eq!(state.arrive(now, Offset(8)), Arrival::Next);
        assert_eq!(state.arrive(now, Offset(8)), Arrival::Stale, "came twice");
        let found = StopReason::OffsetGap { expected: NextOffset(9), found: Offset(7) };
        assert_eq!(
            state.arrive(now, Offset(7)),
            Arrival::Contradiction(found),
            "it was not explained after all"
        );
    }

    #[test]
    fn a_record_in_a_partition_that_no_key_belongs_to_yet_has_to_wait() {
        let mut state = owned(seat(1, 0, rules(12)));
        let reason = StopReason::AwaitsSwitch { offset: Offset(0), partition_count: 12 };
        assert_eq!(state.arrive(AssignmentEpoch(1), Offset(0)), Arrival::Stop(reason));
    }
}
