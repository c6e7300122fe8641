//! Questions about the partitions. Nothing happens to a partition because of an answer.

use schemas::Partition;

use super::{Active, Belief, Ownership, Ownerships, Recording};
use crate::{
    domain::{halt::StopReason, position::NextOffset},
    store::halts::SeenRow,
};

impl Active {
    /// What is known of its row when its lane says why it halts. A gap is about one place: all that came before it is
    /// applied, so the halt is void if the row stands elsewhere, since a failover has moved it back, or an attempt of a
    /// former stretch has moved it on.
    pub(super) fn seen(&self, reason: &StopReason) -> SeenRow {
        if let StopReason::OffsetGap { expected, found } = reason
            && expected.offset() < *found
        {
            SeenRow::Read(*expected, self.owner_epoch)
        } else {
            SeenRow::Owned(self.owner_epoch)
        }
    }
}

impl Ownerships {
    /// What is believed of each active partition.
    pub fn beliefs(&self) -> Vec<Belief> {
        let belief = |(partition, active): (Partition, &Active)| Belief {
            partition,
            epoch: active.epoch,
            owner_epoch: active.owner_epoch,
            next_offset: active.next_offset,
            log_end: active.log_end,
            lane: active.lane,
            doubts: active.doubts,
        };
        self.active().map(belief).collect()
    }

    /// The active partitions whose logs are to be held against their rows: those that have not moved since this was
    /// last asked and were not looked at where they stand, and those in doubt.
    pub fn to_be_looked_at(&mut self) -> Vec<Partition> {
        self.asked(
            |[idle, _]| idle,
            |active, stands| {
                stands && active.looked_at != active.next_offset || active.doubts > active.doubts_answered
            },
        )
    }

    /// The active partitions that have not moved since this was last asked, although their logs hold more.
    pub fn stuck(&mut self) -> Vec<Partition> {
        self.asked(
            |[_, stuck]| stuck,
            |active, stands| stands && active.log_end > active.next_offset.offset(),
        )
    }

    /// The active partitions that `is_meant` chooses. It hears of each whether it stands where it stood when this was last
    /// asked.
    fn asked(
        &mut self,
        mark: impl Fn(&mut [NextOffset; 2]) -> &mut NextOffset,
        is_meant: impl Fn(&Active, bool) -> bool,
    ) -> Vec<Partition> {
        let mut meant = Vec::new();
        for (partition, ownership) in &mut self.partitions {
            let Ownership::Active(active) = ownership else { continue };
            let stood_at = std::mem::replace(mark(&mut active.stood_at), active.next_offset);
            if is_meant(active, stood_at == active.next_offset) {
                meant.push(*partition);
            }
        }
        meant
    }

    /// The partitions whose halts are written down.
    pub fn standing(&self) -> Vec<Partition> {
        let standing = self.partitions.iter().filter(|(_, ownership)| {
            matches!(ownership, Ownership::Halted { record: Recording::Standing, .. })
        });
        standing.map(|(partition, _)| *partition).collect()
    }

    /// Everything that the group has given us.
    pub fn all(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (Partition, &Active)> {
        self.partitions.iter().filter_map(|(partition, ownership)| match ownership {
            Ownership::Active(active) => Some((*partition, active)),
            Ownership::Taking { .. } | Ownership::Halted { .. } => None,
        })
    }

    /// Whether the group has said what is ours, and each partition is something: taken up, halted, or held up by
    /// an obstacle that has a name.
    pub(super) fn is_settled(&self) -> bool {
        let begins = |ownership: &Ownership| matches!(ownership, Ownership::Taking { obstacle: None, .. });
        self.is_given && !self.partitions.values().any(begins)
    }

    pub(super) fn idlest_lane(&self) -> usize {
        let mut loads = vec![0_usize; self.lanes];
        for (_, active) in self.active() {
            if let Some(load) = loads.get_mut(active.lane) {
                *load += 1;
            }
        }
        loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(lane, _)| lane)
    }
}
