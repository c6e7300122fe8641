//! How a lane lets go of a partition: it is released, another owner has it, or it must not go on.
//!
//! Nothing of it is applied afterwards but by an attempt that was under way, whose compare-and-set decides.

use std::{collections::HashSet, sync::Arc};

use schemas::Partition;
use tokio::sync::oneshot;

use super::{Lane, LaneReport, Phase};
use crate::domain::{batch::Batch, halt::StopReason, position::OwnerEpoch};

impl Lane {
    pub(super) fn release(&mut self, partitions: Vec<Partition>, done: oneshot::Sender<()>) {
        for partition in &partitions {
            self.forget(*partition);
        }
        self.releases.push((partitions.into_iter().collect(), done));
    }

    /// Answers the releases of which no attempt is under way any more.
    pub(super) fn answer_releases(&mut self) {
        let busy = match &self.phase {
            Phase::Busy { work, .. } => Some(Arc::clone(work.batch())),
            Phase::Idle | Phase::Waiting { .. } => None,
        };
        let is_busy = |partitions: &HashSet<Partition>| {
            busy.as_ref().is_some_and(|batch| partitions.iter().any(|partition| batch.holds(*partition)))
        };
        for (partitions, done) in std::mem::take(&mut self.releases) {
            if is_busy(&partitions) {
                self.releases.push((partitions, done));
            } else {
                // If nobody waits any more, the release's deadline has passed.
                let _deadline_passed = done.send(()).is_err();
            }
        }
    }

    /// Forgets a partition. An attempt that is under way goes on; what is left of its batch is dropped
    /// before the next, by [`Self::still_owned`].
    pub(super) fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
        self.pending.forget(partition);
    }

    pub(super) async fn fenced(&mut self, partition: Partition) {
        if let Some(state) = self.partitions.get(&partition) {
            let report = LaneReport::Fenced(partition, state.assignment_epoch);
            self.forget(partition);
            self.report(report).await;
        }
    }

    /// Halts a partition before a record that must not be applied, once those before it are: where it stands
    /// then is the place that the reason is about, and whoever resumes from there skips nothing that is sound.
    pub(super) async fn stop(&mut self, partition: Partition, reason: StopReason) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.stop(reason);
        let (assignment_epoch, owner_epoch) = (state.assignment_epoch, state.owner_epoch);
        if self.has_in_hand(partition, owner_epoch) {
            self.report(LaneReport::Stops(partition, assignment_epoch)).await;
        }
        self.halt_if_stopped(partition).await;
    }

    /// Halts a partition that takes in nothing more and has nothing in hand.
    pub(super) async fn halt_if_stopped(&mut self, partition: Partition) {
        let Some(state) = self.partitions.get(&partition) else { return };
        let Some(reason) = state.stopping().cloned() else { return };
        if !self.has_in_hand(partition, state.owner_epoch) {
            self.halt(partition, reason).await;
        }
    }

    /// Whether offsets of a partition are under way or wait. Those of a former stretch of ownership do not count:
    /// nobody will say that they are applied.
    fn has_in_hand(&self, partition: Partition, owner_epoch: OwnerEpoch) -> bool {
        let holds = |batch: &Batch| batch.holds_of(partition, owner_epoch);
        let under_way = match &self.phase {
            Phase::Busy { work, .. } | Phase::Waiting { work, .. } => holds(work.batch()),
            Phase::Idle => false,
        };
        under_way || self.parts.iter().any(holds) || self.pending.holds(partition)
    }

    pub(super) async fn halt(&mut self, partition: Partition, reason: StopReason) {
        if let Some(state) = self.partitions.get(&partition) {
            self.count_failure("halt");
            let report = LaneReport::Halted(partition, state.assignment_epoch, reason);
            self.forget(partition);
            self.report(report).await;
        }
    }
}
