//! What a lane applies next: the work that waits, then what is left of a batch, then a new one. Whatever it is, the lane
//! owns all of it: what is let go is dropped at once ([`LaneMachine::forget`]).

use std::{collections::HashSet, sync::Arc, time::Instant};

use super::{Act, LaneMachine, Phase};
use crate::{
    consume::attempt::Work,
    domain::{batch::Batch, batch_map, fold::Cached},
};

impl LaneMachine {
    /// Starts the next attempt, if none is under way and something is due.
    pub(super) fn start_next(&mut self, now: Instant) {
        let work = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting { work, until } if until <= now => Some(work),
            Phase::Idle => None,
            other @ (Phase::Busy { .. } | Phase::Waiting { .. }) => {
                self.phase = other;
                return;
            }
        };
        let Some(work) = work.or_else(|| self.next_part()).or_else(|| self.next_batch(now)) else {
            self.clock.answered();
            return;
        };
        self.clock.tried(now);
        let cached = match &work {
            Work::Apply(batch) => self.cached(batch),
            Work::Settle(_) => Cached::default(),
        };
        self.acts.push(Act::Start(work.clone(), cached));
        self.phase = Phase::Busy { work, left: HashSet::new(), since: now };
    }

    fn next_part(&mut self) -> Option<Work> {
        let (part, rest) = self.part_limit.cut(self.parts.pop_front()?);
        if let Some(rest) = rest {
            self.parts.push_front(rest);
        }
        Some(Work::Apply(Arc::new(part)))
    }

    fn next_batch(&mut self, now: Instant) -> Option<Work> {
        self.pending.due_at().filter(|due| *due <= now)?;
        let partitions = &self.partitions;
        let batch = self.pending.take(|partition| partitions.get(&partition).map(|state| state.owner_epoch));
        self.parts.push_back(batch);
        self.next_part()
    }

    fn cached(&mut self, batch: &Batch) -> Cached {
        let mut cached = Cached { states: batch_map::map(batch.len()), ..Cached::default() };
        let mut clients = 0_usize;
        for run in &batch.runs {
            if let Some(state) = self.partitions.get_mut(&run.partition) {
                clients += state.cache.recall(run, &mut cached);
            }
        }
        let (hits, lookups) = (cached.states.len(), &self.metrics.processor_cache_lookups_total);
        lookups.with_label_values(&["hit"]).inc_by(hits as u64);
        lookups.with_label_values(&["miss"]).inc_by(clients.saturating_sub(hits) as u64);
        cached
    }
}
