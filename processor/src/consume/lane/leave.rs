//! How a lane lets go of a partition: it is released, another owner has it, or it must not go on.
//!
//! Afterwards only an attempt that was under way can still apply something of it, and its compare-and-set decides.

use schemas::Partition;

use super::{Act, LaneMachine, LaneNews, Phase};
use crate::domain::{batch::Batch, halt::StopReason};

impl LaneMachine {
    pub(super) fn release(&mut self, number: u64, partitions: Vec<Partition>) {
        for partition in &partitions {
            self.forget(*partition);
        }
        self.releases.push((number, partitions.into_iter().collect()));
    }

    /// Answers the releases whose partitions no attempt holds any more.
    pub(super) fn answer_releases(&mut self) {
        let busy = match &self.phase {
            Phase::Busy { work, .. } => Some(work.batch()),
            Phase::Idle | Phase::Waiting { .. } => None,
        };
        self.releases.retain(|(number, partitions)| {
            let is_busy =
                busy.is_some_and(|batch| partitions.iter().any(|partition| batch.holds(*partition)));
            if !is_busy {
                self.acts.push(Act::Released(*number));
            }
            is_busy
        });
    }

    /// Forgets a partition, and whatever of it waits. An attempt that is under way goes on, but its end tells the lane
    /// only about the other partitions.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
        self.pending.forget(partition);
        for part in &mut self.parts {
            part.runs.retain(|run| run.partition != partition);
        }
        self.parts.retain(|part| !part.is_empty());
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Busy { left, .. } => drop(left.insert(partition)),
            Phase::Waiting { work, until } => {
                let until = *until;
                let kept = work.only(|run| run.partition != partition);
                self.phase = kept.map_or(Phase::Idle, |work| Phase::Waiting { work, until });
            }
        }
    }

    pub(super) fn fenced(&mut self, partition: Partition) {
        if self.partitions.contains_key(&partition) {
            self.report(partition, LaneNews::Fenced);
            self.forget(partition);
        }
    }

    /// Halts a partition before a record that must not be applied, once those before it are: where it stands
    /// then is the place that the reason is about, and whoever resumes from there skips nothing that is sound.
    pub(super) fn stop(&mut self, partition: Partition, reason: StopReason) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.stop(reason);
        if self.has_in_hand(partition) {
            self.report(partition, LaneNews::Stops);
        }
        self.halt_if_stopped(partition);
    }

    /// Halts a partition that takes in nothing more and has nothing in hand.
    pub(super) fn halt_if_stopped(&mut self, partition: Partition) {
        let Some(state) = self.partitions.get(&partition) else { return };
        let Some(reason) = state.stopping().cloned() else { return };
        if !self.has_in_hand(partition) {
            self.halt(partition, reason);
        }
    }

    /// Whether offsets of a partition are under way or wait. Those of a former stretch of ownership do not count:
    /// nobody will say that they are applied.
    fn has_in_hand(&self, partition: Partition) -> bool {
        let holds = |batch: &Batch| batch.holds(partition);
        let under_way = match &self.phase {
            Phase::Busy { work, left, .. } => !left.contains(&partition) && holds(work.batch()),
            Phase::Waiting { work, .. } => holds(work.batch()),
            Phase::Idle => false,
        };
        under_way || self.parts.iter().any(holds) || self.pending.holds(partition)
    }

    pub(super) fn halt(&mut self, partition: Partition, reason: StopReason) {
        if self.partitions.contains_key(&partition) {
            self.count_failure("halt");
            self.report(partition, LaneNews::Halted(reason));
            self.forget(partition);
        }
    }
}
