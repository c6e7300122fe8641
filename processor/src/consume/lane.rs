//! What a lane does: it applies what its partitions bring, one transaction at a time, and takes in and decodes the
//! records of the next meanwhile. Pure: an event comes in, acts come out; time is an argument, chance is in the
//! backoff alone, and nothing here waits or sends. [`Lane`] is the task that performs it.
//!
//! Whatever happens to an attempt, the records stay here until the rows say that they are applied, the
//! partition is released, fenced or halted.

mod clock;
mod driver;
mod leave;
mod next;
mod outcome;
mod refusal;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::{Partition, Timestamp};
use service_kit::{retry::Backoff, spans::Spans};

pub use self::{
    clock::AttemptClock,
    driver::{Control, Lane},
};
use crate::{
    consume::{
        attempt::{Ended, Work},
        dialogs::{CacheBudget, DialogCache},
        part::PartLimit,
        partition::{Arrival, PartitionState},
        pending::{BatchConfig, Pending},
    },
    domain::{
        batch::Batch,
        dead_letter::DeadLetterConfig,
        decode::{Content, Record},
        fold::Cached,
        halt::StopReason,
        position::{NextOffset, OwnerEpoch},
        rules::PartitionRules,
        seat::{AssignmentEpoch, Seat, Start},
    },
    failpoint::failpoint,
    kafka::{
        continuity::Explained,
        poller::{Chunk, Entry},
    },
    metrics::Metrics,
    store::Commit,
};

/// After this time an attempt is left behind: the server's own timeouts have ended its transaction, or
/// will, and its compare-and-set decides.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// What goes into one transaction.
    pub batch: BatchConfig,
    /// When a partition has too many dead letters.
    pub dead_letters: DeadLetterConfig,
    /// How many clients the caches of all lanes hold.
    pub cache: Arc<CacheBudget>,
    /// When the COMMIT of a batch is answered.
    pub commit: Commit,
    /// Where sampled traces go on.
    pub spans: Spans,
}

/// What a lane tells the supervisor about a partition, in one stretch of ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneReport {
    pub partition: Partition,
    pub epoch: AssignmentEpoch,
    pub news: LaneNews,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneNews {
    /// It had no records in hand and has one now, appended at this time.
    Arrived(Timestamp),
    /// It is applied up to here; the next record in hand, if any, was appended at this time.
    Advanced(NextOffset, Option<Timestamp>),
    /// It is not where its owner believed it to be: the lane has forgotten it.
    Fenced,
    /// It takes in nothing more, and halts when what it has in hand is applied: nothing more is to be read.
    Stops,
    /// It must not go on: the lane has forgotten it.
    Halted(StopReason),
}

/// What a lane hears.
#[derive(Debug)]
pub enum Event {
    /// Own a partition. Comes before the first of its records can.
    Adopt(Start, OwnerEpoch, Arc<PartitionRules>),
    /// Forget partitions, and say [`Act::Released`] with this number when nothing of them is under way any more.
    Release(u64, Vec<Partition>),
    Chunk(Chunk),
    /// The attempt that was started last has ended.
    Ended(Ended),
    /// It is as late as [`LaneMachine::wake_at`] has said.
    Due,
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Tell the supervisor.
    Report(LaneReport),
    /// Make an attempt, with what is known of the batch's clients, and answer with [`Event::Ended`].
    Start(Work, Cached),
    /// Walk away from the attempt that is under way: nobody is to hear of its end.
    LeaveBehind,
    /// Nothing of the partitions of this release is under way.
    Released(u64),
}

/// What a lane does at the moment.
enum Phase {
    Idle,
    /// An attempt is under way.
    Busy {
        work: Work,
        /// Partitions that were let go meanwhile. Its end says nothing about them, although they may be owned again
        /// by then, and after a failover even in the same epoch: it was about rows that are lost.
        left: HashSet<Partition>,
        since: Instant,
    },
    /// An attempt failed for a reason that passes; the next is made at `until`.
    Waiting {
        work: Work,
        until: Instant,
    },
}

pub struct LaneMachine {
    config: LaneConfig,
    metrics: Arc<Metrics>,
    clock: Arc<AttemptClock>,
    partitions: BTreeMap<Partition, PartitionState>,
    pending: Pending,
    phase: Phase,
    /// Parts of a batch that is not applied whole, in their order: before anything in `pending`.
    parts: VecDeque<Batch>,
    /// How large the next part may be.
    part_limit: PartLimit,
    /// Refusals in a row because a row was there already.
    present: u32,
    backoff: Backoff,
    /// Those that are not answered, by their numbers.
    releases: Vec<(u64, HashSet<Partition>)>,
    /// What the event asks for so far: no more than three for a record of its chunk, or for a run of its batch.
    acts: Vec<Act>,
}

impl LaneMachine {
    /// A lane without partitions. What PostgreSQL does not take is tried again after `backoff`.
    pub fn new(
        config: LaneConfig,
        backoff: Backoff,
        metrics: Arc<Metrics>,
        clock: Arc<AttemptClock>,
    ) -> Self {
        Self {
            pending: Pending::new(config.batch.clone()),
            part_limit: PartLimit::new(config.batch.batch_records_max),
            config,
            metrics,
            clock,
            partitions: BTreeMap::new(),
            phase: Phase::Idle,
            parts: VecDeque::new(),
            present: 0,
            backoff,
            releases: Vec::new(),
            acts: Vec::new(),
        }
    }

    /// What is to be done about an event, in this order. Then [`Self::proceed`].
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Act> {
        match event {
            Event::Adopt(start, owner_epoch, rules) => self.adopt(start, owner_epoch, rules, now),
            Event::Release(number, partitions) => self.release(number, partitions),
            Event::Chunk(chunk) => self.take_in(chunk, now),
            Event::Ended(ended) => self.ended(ended, now),
            Event::Due => self.leave_behind(now),
        }
        std::mem::take(&mut self.acts)
    }

    /// What is to be done next, whatever the event was. Apart from it, so that an attempt begins when all that the
    /// event asked for is done.
    pub fn proceed(&mut self, now: Instant) -> Vec<Act> {
        self.start_next(now);
        self.answer_releases();
        std::mem::take(&mut self.acts)
    }

    /// When something is to be done although nothing happens.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => self.pending.due_at(),
            Phase::Busy { since, .. } => Some(*since + ATTEMPT_DEADLINE),
            Phase::Waiting { until, .. } => Some(*until),
        }
    }

    /// Whether a chunk may be taken in.
    pub fn has_room(&self) -> bool {
        self.pending.has_room()
    }

    /// A partition, as an observer sees it.
    pub fn partition(&self, partition: Partition) -> Option<&PartitionState> {
        self.partitions.get(&partition)
    }

    fn adopt(&mut self, start: Start, owner_epoch: OwnerEpoch, rules: Arc<PartitionRules>, now: Instant) {
        let seat = Seat {
            assignment_epoch: start.assignment_epoch,
            owner_epoch,
            next_offset: start.next_offset,
            rules,
        };
        let cache = DialogCache::new(Arc::clone(&self.config.cache));
        let state = PartitionState::new(seat, cache, self.config.dead_letters.clone(), now);
        self.forget(start.partition);
        self.partitions.insert(start.partition, state);
        self.partitions.values_mut().for_each(|state| state.cache.fit());
    }

    fn take_in(&mut self, chunk: Chunk, now: Instant) {
        for (assignment_epoch, entry) in chunk {
            let raw = match entry {
                Entry::Record(raw) => raw,
                Entry::Explained(explained) => {
                    self.explained(assignment_epoch, explained, now);
                    continue;
                }
            };
            let partition = raw.partition;
            let Some(state) = self.partitions.get_mut(&partition) else {
                self.metrics.processor_stale_records_total.inc();
                continue;
            };
            match state.arrive(assignment_epoch, raw.offset) {
                Arrival::Next => {}
                Arrival::Stale => {
                    self.metrics.processor_stale_records_total.inc();
                    continue;
                }
                // The rules are those from when the partition was taken up, and the switch may have been made since:
                // taken up again, the partition goes on or halts.
                Arrival::Stop(StopReason::AwaitsSwitch { .. }) => {
                    self.fenced(partition);
                    continue;
                }
                Arrival::Stop(reason) => {
                    self.stop(partition, reason);
                    continue;
                }
                Arrival::Contradiction(reason) => {
                    self.halt(partition, reason);
                    continue;
                }
            }
            if state.oldest_in_hand.is_none() {
                state.oldest_in_hand = Some(raw.appended_at);
                let news = LaneNews::Arrived(raw.appended_at);
                self.acts.push(Act::Report(LaneReport { partition, epoch: assignment_epoch, news }));
            }
            let record = Record::decode(raw, &state.rules);
            let limited = matches!(&record.content, Content::DeadLetter(reason) if reason.is_limited());
            match state.limit.admit(1, u64::from(limited), now) {
                Ok(()) => self.pending.add(record, now),
                Err(passed) => self.stop(partition, passed.into()),
            }
        }
        failpoint!("after_route");
    }

    /// Offsets of a partition hold nothing to apply: they are accounted for with the records around them.
    fn explained(&mut self, assignment_epoch: AssignmentEpoch, explained: Explained, now: Instant) {
        let state = self.partitions.get_mut(&explained.partition);
        if state.is_some_and(|state| state.explain(assignment_epoch, explained)) {
            self.pending.explain(explained, now);
        }
    }

    /// Walks away from an attempt that takes too long. Its outcome is unknown.
    fn leave_behind(&mut self, now: Instant) {
        let Phase::Busy { work, left, since } = &self.phase else { return };
        if now.duration_since(*since) < ATTEMPT_DEADLINE {
            return;
        }
        let (records, kept) = (work.batch().len(), work.without(left));
        self.phase = Phase::Idle;
        self.metrics.processor_abandoned_attempts_total.inc();
        tracing::error!(
            deadline_ms = ATTEMPT_DEADLINE.as_millis(),
            "an attempt did not end in time and was abandoned"
        );
        self.acts.push(Act::LeaveBehind);
        // If it has written nothing, a smaller part may be done in time.
        self.part_limit.shrink(records);
        if let Some(work) = kept {
            self.settle(Arc::clone(work.batch()), now);
        }
    }

    /// Says something of a partition that is owned.
    fn report(&mut self, partition: Partition, news: LaneNews) {
        if let Some(state) = self.partitions.get(&partition) {
            let report = LaneReport { partition, epoch: state.assignment_epoch, news };
            self.acts.push(Act::Report(report));
        }
    }

    fn count_failure(&self, action: &str) {
        self.metrics.processor_apply_failures_total.with_label_values(&[action]).inc();
    }
}
