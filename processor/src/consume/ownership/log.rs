//! What is heard of the logs of active partitions: where they end, and with it how far a partition is behind, and
//! whether the batch at its next offset can be read.

use std::time::{Duration, Instant};

use schemas::Partition;

use super::{Act, Active, Ownership, Ownerships, Shown, Sighted, leave};
use crate::{
    domain::{halt::StopReason, position::Offset},
    kafka::poller::Order,
    store::halts::SeenRow,
};

/// A batch that cannot be read is asked for again for this long before its partition halts: a broker that is just
/// being repaired gets a chance.
pub(super) const UNREADABLE_AFTER: Duration = Duration::from_secs(10);

impl Ownerships {
    /// The log of an active partition was looked at.
    pub(super) fn sighted(
        &mut self,
        partition: Partition,
        mut active: Active,
        sighted: Sighted,
        now: Instant,
        acts: &mut Vec<Act>,
    ) -> Ownership {
        match sighted {
            Sighted::Sound { at, doubts } => {
                active.looked_at = at;
                active.doubts_answered = active.doubts_answered.max(doubts);
            }
            Sighted::Unreadable(offset, _) if offset != active.next_offset.offset() => {}
            Sighted::Unreadable(offset, error) => match active.unreadable_since {
                Some((at, since)) if at == offset && now.duration_since(since) >= UNREADABLE_AFTER => {
                    let seen = SeenRow::Owned(active.owner_epoch);
                    leave(partition, Ownership::Active(active), acts);
                    return self.halt(partition, StopReason::UnreadableBatch { offset, error }, seen, acts);
                }
                Some((at, _)) if at == offset => {}
                Some(_) | None => active.unreadable_since = Some((offset, now)),
            },
        }
        Ownership::Active(active)
    }

    /// The consumer has met something that one of the logs must explain, and does not say which. Each is in doubt
    /// until a look has answered that begins later, however long that takes: nothing more may come of it.
    pub fn doubt_logs(&mut self) {
        for ownership in self.partitions.values_mut() {
            if let Ownership::Active(active) = ownership {
                active.doubts += 1;
            }
        }
    }

    pub(super) fn note_log_ends(&mut self, ends: Vec<(Partition, Offset)>) {
        for (partition, end) in ends {
            if let Some(Ownership::Active(active)) = self.partitions.get_mut(&partition) {
                // Two name the end, and only one of them counts what an open transaction holds back: that waits, too.
                active.log_end = active.log_end.max(end);
            }
        }
    }

    /// Brings gauges up to date, and copies next offsets to the group.
    pub(super) fn tick(&mut self, unix_seconds: i64, acts: &mut Vec<Act>) {
        let mut moved = Vec::new();
        for (partition, ownership) in &mut self.partitions {
            let Ownership::Active(active) = ownership else { continue };
            let lag = (active.log_end.0 - active.next_offset.0).max(0);
            let age_seconds = active.waiting.age_seconds(lag, unix_seconds);
            acts.push(Act::Show(Shown::Lag { partition: *partition, records: lag, age_seconds }));
            if !std::mem::replace(&mut active.is_mirrored, true) {
                moved.push((*partition, active.next_offset));
            }
        }
        if !moved.is_empty() {
            acts.push(Act::Order(Order::Mirror(moved)));
        }
    }
}
