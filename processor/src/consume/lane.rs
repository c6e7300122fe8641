//! A lane: a task that applies what its partitions bring, one transaction at a time, over a connection
//! of its own. While a transaction is under way it takes in and decodes the records of the next.
//!
//! Whatever happens to an attempt, the records stay here until the rows say that they are applied, the
//! partition is released, fenced or halted.

mod clock;
mod leave;
mod next;
mod outcome;
mod refusal;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

pub use clock::AttemptClock;

use schemas::{Partition, Timestamp};
use service_kit::{retry::Backoff, spans::Spans};
use sqlx::PgConnection;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep_until,
};

use crate::{
    consume::{
        attempt::{Ended, Outcome, Work},
        dialogs::{CacheBudget, DialogCache},
        part::PartLimit,
        partition::{Arrival, PartitionState},
        pending::{BatchConfig, Pending},
    },
    domain::{
        batch::Batch,
        dead_letter::DeadLetterConfig,
        decode::{Content, Record},
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
    store::{Commit, Database, apply::ApplyError, registry::Topic},
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

/// What the supervisor tells a lane.
#[derive(Debug)]
pub enum Control {
    /// Own a partition. Sent before the first of its records can come.
    Adopt(Start, OwnerEpoch, Arc<PartitionRules>),
    /// Forget partitions, and say when nothing of them is under way any more.
    Release(Vec<Partition>, oneshot::Sender<()>),
}

/// What a lane tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneReport {
    /// A partition that had no records in hand has one now, appended at this time.
    Arrived(Partition, AssignmentEpoch, Timestamp),
    /// A partition is applied up to here; the next record in hand, if any, was appended at this time.
    Advanced(Partition, AssignmentEpoch, NextOffset, Option<Timestamp>),
    /// A partition is not where its owner believed it to be: the lane has forgotten it.
    Fenced(Partition, AssignmentEpoch),
    /// A partition takes in nothing more, and halts when what it has in hand is applied: nothing more is to be read.
    Stops(Partition, AssignmentEpoch),
    /// A partition must not go on: the lane has forgotten it.
    Halted(Partition, AssignmentEpoch, StopReason),
}

/// What a lane does at the moment.
enum Phase {
    Idle,
    /// An attempt is under way.
    Busy {
        work: Work,
        attempt: JoinHandle<Ended>,
        since: Instant,
    },
    /// An attempt failed for a reason that passes; the next is made at `until`.
    Waiting {
        work: Work,
        until: Instant,
    },
}

pub struct Lane {
    database: Database,
    topic: Topic,
    config: LaneConfig,
    metrics: Arc<Metrics>,
    reports: mpsc::Sender<LaneReport>,
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
    connection: Option<PgConnection>,
    backoff: Backoff,
    releases: Vec<(HashSet<Partition>, oneshot::Sender<()>)>,
}

enum Event {
    Control(Option<Control>),
    Ended(Ended),
    Timer,
    Chunk(Option<Chunk>),
}

impl Lane {
    /// A lane without partitions.
    pub fn new(
        (database, topic): (Database, Topic),
        config: LaneConfig,
        (metrics, clock): (Arc<Metrics>, Arc<AttemptClock>),
        reports: mpsc::Sender<LaneReport>,
    ) -> Self {
        Self {
            database: database.for_batches(config.commit),
            topic,
            pending: Pending::new(config.batch.clone()),
            part_limit: PartLimit::new(config.batch.batch_records_max),
            config,
            metrics,
            reports,
            clock,
            partitions: BTreeMap::new(),
            phase: Phase::Idle,
            parts: VecDeque::new(),
            present: 0,
            connection: None,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(3)),
            releases: Vec::new(),
        }
    }

    /// Works until its channels are closed.
    pub async fn run(mut self, mut control: mpsc::Receiver<Control>, mut chunks: mpsc::Receiver<Chunk>) {
        loop {
            let wake_at = self.wake_at();
            // The order is the proof that nothing starves: control is rare and short; an attempt ends
            // once for each that is started; the timer fires when it is due, which ends with the
            // attempt that it starts; chunks come last, since there are always more.
            let event = tokio::select! {
                biased;
                control = control.recv() => Event::Control(control),
                ended = finished(&mut self.phase) => Event::Ended(ended),
                () = until(wake_at) => Event::Timer,
                chunk = chunks.recv(), if self.pending.has_room() => Event::Chunk(chunk),
            };
            match event {
                Event::Control(Some(Control::Adopt(start, owner_epoch, rules))) => {
                    self.adopt(start, owner_epoch, rules);
                }
                Event::Control(Some(Control::Release(partitions, done))) => self.release(partitions, done),
                Event::Ended(ended) => self.ended(ended).await,
                Event::Timer => self.leave_behind(),
                Event::Chunk(Some(chunk)) => self.take_in(chunk).await,
                Event::Control(None) | Event::Chunk(None) => break,
            }
            self.start_next();
            self.answer_releases();
        }
    }

    fn adopt(&mut self, start: Start, owner_epoch: OwnerEpoch, rules: Arc<PartitionRules>) {
        let state = PartitionState::new(
            Seat {
                assignment_epoch: start.assignment_epoch,
                owner_epoch,
                next_offset: start.next_offset,
                rules,
            },
            DialogCache::new(Arc::clone(&self.config.cache)),
            self.config.dead_letters.clone(),
            Instant::now(),
        );
        self.forget(start.partition);
        self.partitions.insert(start.partition, state);
        self.partitions.values_mut().for_each(|state| state.cache.fit());
    }

    async fn take_in(&mut self, chunk: Chunk) {
        for (assignment_epoch, entry) in chunk {
            let raw = match entry {
                Entry::Record(raw) => raw,
                Entry::Explained(explained) => {
                    self.explained(assignment_epoch, explained);
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
                // By the rules of when the partition was taken up: the switch may have been made since. Taken up
                // again, it goes on or halts.
                Arrival::Stop(StopReason::AwaitsSwitch { .. }) => {
                    self.fenced(partition).await;
                    continue;
                }
                Arrival::Stop(reason) => {
                    self.stop(partition, reason).await;
                    continue;
                }
                Arrival::Contradiction(reason) => {
                    self.halt(partition, reason).await;
                    continue;
                }
            }
            if state.oldest_in_hand.is_none() {
                state.oldest_in_hand = Some(raw.appended_at);
                let arrived = LaneReport::Arrived(partition, assignment_epoch, raw.appended_at);
                self.report(arrived).await;
            }
            let Some(state) = self.partitions.get_mut(&partition) else {
                continue;
            };
            let record = Record::decode(raw, &state.rules);
            let now = Instant::now();
            let limited = matches!(&record.content, Content::DeadLetter(reason) if reason.is_limited());
            match state.limit.admit(1, u64::from(limited), now) {
                Ok(()) => self.pending.add(record, now),
                Err(passed) => self.stop(partition, passed.into()).await,
            }
        }
        failpoint!("after_route");
    }

    /// Offsets of a partition hold nothing to apply: they are accounted for with the records around them.
    fn explained(&mut self, assignment_epoch: AssignmentEpoch, explained: Explained) {
        let state = self.partitions.get_mut(&explained.partition);
        if state.is_some_and(|state| state.explain(assignment_epoch, explained)) {
            self.pending.explain(explained, Instant::now());
        }
    }

    /// When something is to be done although nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => self.pending.due_at(),
            Phase::Busy { since, .. } => Some(*since + ATTEMPT_DEADLINE),
            Phase::Waiting { until, .. } => Some(*until),
        }
    }

    /// Walks away from an attempt that takes too long. Its outcome is unknown.
    fn leave_behind(&mut self) {
        if !matches!(&self.phase, Phase::Busy { since, .. } if since.elapsed() >= ATTEMPT_DEADLINE) {
            return;
        }
        if let Phase::Busy { work, .. } = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.metrics.processor_abandoned_attempts_total.inc();
            tracing::error!(
                deadline_ms = ATTEMPT_DEADLINE.as_millis(),
                "an attempt did not end in time and was abandoned"
            );
            // Should its outcome be that nothing was written, less may be done in time.
            self.part_limit.shrink(work.batch().len());
            self.settle(Arc::clone(work.batch()));
        }
    }

    async fn report(&self, report: LaneReport) {
        // If nobody listens, the supervisor has ended, and with it the process.
        let _ended = self.reports.send(report).await.is_err();
    }

    fn count_failure(&self, action: &str) {
        self.metrics.processor_apply_failures_total.with_label_values(&[action]).inc();
    }
}

/// Waits for the attempt that is under way; forever if there is none.
async fn finished(phase: &mut Phase) -> Ended {
    match phase {
        Phase::Busy { attempt, .. } => match attempt.await {
            Ok(ended) => ended,
            // The attempt panicked, which has been logged: what it wrote is not known.
            Err(_) => {
                let outcome = Outcome::Failed(ApplyError::Unsettled("the attempt panicked"));
                Ended { connection: None, is_cache_wrong: true, outcome }
            }
        },
        Phase::Idle | Phase::Waiting { .. } => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
