//! A lane without its task: stands in for `consume/lane.rs` and what lies below it. [`PartitionState`], [`Pending`]
//! and [`judge`] are the production code; the order of the steps around them is written here once more, without
//! caches, bisection and the limit of dead letters.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use processor::{
    consume::{
        attempt::Work,
        dialogs::{CacheBudget, DialogCache},
        lane::LaneReport,
        partition::{Arrival, PartitionState},
        pending::{BatchConfig, Pending},
    },
    domain::{
        batch::{Batch, Run},
        dead_letter::{DeadLetterConfig, DeadLetterReason},
        decode::{Content, Record},
        halt::StopReason,
        position::OwnerEpoch,
        progress::{Progress, Verdict, judge},
        seat::{AssignmentEpoch, Seat},
    },
    kafka::poller::{Chunk, Entry},
};
use schemas::Partition;

use crate::twin::Twin;

/// As in `consume/lane.rs`.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(30);

const TRY_AGAIN: Duration = Duration::from_millis(200);

/// What became of an attempt.
#[derive(Debug, Clone)]
pub enum Outcome {
    Applied,
    Read(Vec<Progress>),
    /// Whether it was committed is not known.
    Unsettled,
    /// Nothing was committed, for a reason that passes.
    Refused,
}

enum Phase {
    Idle,
    Busy { id: u64, work: Work, since: Instant },
    Waiting { work: Work, until: Instant },
}

pub struct Lane {
    partitions: BTreeMap<Partition, PartitionState>,
    pending: Pending,
    phase: Phase,
    parts: VecDeque<Batch>,
    /// What was read and not taken in yet.
    pub chunks: VecDeque<Chunk>,
    /// What the supervisor has not heard yet.
    pub reports: Vec<LaneReport>,
    /// What was taken in since this was last emptied.
    pub accepted: Vec<(Partition, AssignmentEpoch)>,
}

impl Lane {
    pub fn new() -> Self {
        let config = BatchConfig { batch_records_max: 6, batch_kib_max: 64, batch_age_ms_max: 25 };
        Self {
            partitions: BTreeMap::new(),
            pending: Pending::new(config),
            phase: Phase::Idle,
            parts: VecDeque::new(),
            chunks: VecDeque::new(),
            reports: Vec::new(),
            accepted: Vec::new(),
        }
    }

    pub fn adopt(&mut self, partition: Partition, seat: Seat, now: Instant) {
        let limit = DeadLetterConfig { dead_letters_per_minute_max: 1, dead_letters_percent_max: 1 };
        let state = PartitionState::new(seat, DialogCache::new(CacheBudget::new(1)), limit, now);
        self.forget(partition);
        self.partitions.insert(partition, state);
    }

    pub fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
        self.pending.forget(partition);
    }

    /// Whether an attempt is under way that holds one of the partitions.
    pub fn is_busy_with(&self, partitions: &[Partition]) -> bool {
        match &self.phase {
            Phase::Busy { work, .. } => partitions.iter().any(|partition| work.batch().holds(*partition)),
            Phase::Idle | Phase::Waiting { .. } => false,
        }
    }

    /// Takes in the next chunk, if there is room.
    pub fn take_in(&mut self, now: Instant, twin: Twin) {
        if !self.pending.has_room() {
            return;
        }
        for (epoch, entry) in self.chunks.pop_front().unwrap_or_default() {
            let raw = match entry {
                Entry::Record(raw) => raw,
                Entry::Explained(explained) => {
                    let state = self.partitions.get_mut(&explained.partition);
                    if state.is_some_and(|state| state.explain(epoch, explained)) {
                        self.accepted.push((explained.partition, epoch));
                        self.pending.explain(explained, now);
                    }
                    continue;
                }
            };
            let partition = raw.partition;
            let Some(state) = self.partitions.get_mut(&partition) else { continue };
            match state.arrive(epoch, raw.offset) {
                Arrival::Next => {}
                Arrival::Stale => continue,
                Arrival::Stop(StopReason::AwaitsSwitch { .. }) => {
                    self.fenced(partition);
                    continue;
                }
                Arrival::Stop(reason) if twin != Twin::HaltsAtOnce => {
                    self.stop(partition, reason);
                    continue;
                }
                Arrival::Stop(reason) | Arrival::Contradiction(reason) => {
                    self.halt(partition, reason);
                    continue;
                }
            }
            if state.oldest_in_hand.is_none() {
                state.oldest_in_hand = Some(raw.appended_at);
                self.reports.push(LaneReport::Arrived(partition, epoch, raw.appended_at));
            }
            self.accepted.push((partition, epoch));
            // What a record says makes no difference to where it is filed.
            let content = Content::DeadLetter(DeadLetterReason::ConflictingDuplicate);
            self.pending.add(Record { raw, content }, now);
        }
    }

    /// Starts the next attempt under a number, if none is under way and something is due.
    pub fn start_next(&mut self, id: u64, now: Instant) -> Option<Work> {
        let work = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting { work, until } if until <= now => self.still_owned(&work),
            Phase::Idle => None,
            other @ (Phase::Busy { .. } | Phase::Waiting { .. }) => {
                self.phase = other;
                return None;
            }
        };
        let work = work.or_else(|| self.next_part()).or_else(|| self.next_batch(now))?;
        self.phase = Phase::Busy { id, work: work.clone(), since: now };
        Some(work)
    }

    fn next_part(&mut self) -> Option<Work> {
        while let Some(part) = self.parts.pop_front() {
            if let Some(work) = self.still_owned(&Work::Apply(Arc::new(part))) {
                return Some(work);
            }
        }
        None
    }

    fn next_batch(&mut self, now: Instant) -> Option<Work> {
        self.pending.due_at().filter(|due| *due <= now)?;
        let partitions = &self.partitions;
        let batch = self.pending.take(|partition| partitions.get(&partition).map(|state| state.owner_epoch));
        self.parts.push_back(batch);
        self.next_part()
    }

    fn still_owned(&self, work: &Work) -> Option<Work> {
        work.only(|run| self.owns(run))
    }

    fn owns(&self, run: &Run) -> bool {
        self.partitions.get(&run.partition).is_some_and(|state| state.owner_epoch == run.owner_epoch)
    }

    /// Walks away from an attempt that takes too long.
    pub fn leave_behind(&mut self, now: Instant) {
        if let Phase::Busy { id, since, .. } = self.phase
            && now.duration_since(since) >= ATTEMPT_DEADLINE
        {
            self.ended(id, &Outcome::Unsettled, now);
        }
    }

    /// The attempt of this number has ended; one that was left behind is nobody's any more.
    pub fn ended(&mut self, of: u64, outcome: &Outcome, now: Instant) {
        if !matches!(self.phase, Phase::Busy { id, .. } if id == of) {
            return;
        }
        let Phase::Busy { work, since, .. } = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let batch = Arc::clone(work.batch());
        match outcome {
            Outcome::Applied => {
                self.pending.paced(now.duration_since(since));
                batch.runs.iter().for_each(|run| self.advanced(run));
            }
            Outcome::Read(rows) => self.settled(&batch, rows),
            Outcome::Unsettled => self.phase = Phase::Waiting { work: Work::Settle(batch), until: now },
            Outcome::Refused => self.phase = Phase::Waiting { work, until: now + TRY_AGAIN },
        }
    }

    fn settled(&mut self, batch: &Batch, rows: &[Progress]) {
        let mut redo = Batch::default();
        for run in &batch.runs {
            if !self.owns(run) {
                continue;
            }
            let row = rows.iter().find(|row| row.partition == run.partition);
            match judge(row, run.from, run.to(), run.owner_epoch) {
                Verdict::Done => self.advanced(run),
                Verdict::Redo => redo.runs.push(run.clone()),
                Verdict::Fenced => self.fenced(run.partition),
            }
        }
        if !redo.is_empty() {
            self.parts.push_front(redo);
        }
    }

    fn advanced(&mut self, run: &Run) {
        if !self.owns(run) {
            return;
        }
        let oldest = self.pending.first(run.partition).map(|record| record.raw.appended_at);
        let Some(state) = self.partitions.get_mut(&run.partition) else { return };
        state.oldest_in_hand = oldest;
        let advanced = LaneReport::Advanced(run.partition, state.assignment_epoch, run.to(), oldest);
        self.reports.push(advanced);
        self.halt_if_stopped(run.partition);
    }

    fn fenced(&mut self, partition: Partition) {
        if let Some(state) = self.partitions.get(&partition) {
            self.reports.push(LaneReport::Fenced(partition, state.assignment_epoch));
            self.forget(partition);
        }
    }

    fn stop(&mut self, partition: Partition, reason: StopReason) {
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        state.stop(reason);
        let (epoch, owner_epoch) = (state.assignment_epoch, state.owner_epoch);
        if self.has_in_hand(partition, owner_epoch) {
            self.reports.push(LaneReport::Stops(partition, epoch));
        }
        self.halt_if_stopped(partition);
    }

    fn halt(&mut self, partition: Partition, reason: StopReason) {
        if let Some(state) = self.partitions.get(&partition) {
            self.reports.push(LaneReport::Halted(partition, state.assignment_epoch, reason));
            self.forget(partition);
        }
    }

    fn halt_if_stopped(&mut self, partition: Partition) {
        let Some(state) = self.partitions.get(&partition) else { return };
        let Some(reason) = state.stopping().cloned() else { return };
        if !self.has_in_hand(partition, state.owner_epoch) {
            self.halt(partition, reason);
        }
    }

    fn has_in_hand(&self, partition: Partition, owner_epoch: OwnerEpoch) -> bool {
        let holds = |batch: &Batch| batch.holds_of(partition, owner_epoch);
        let under_way = match &self.phase {
            Phase::Busy { work, .. } | Phase::Waiting { work, .. } => holds(work.batch()),
            Phase::Idle => false,
        };
        under_way || self.parts.iter().any(holds) || self.pending.holds(partition)
    }
}
