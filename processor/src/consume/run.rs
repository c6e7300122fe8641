//! The supervisor: which partitions are owned, by which lane, in which stretch of ownership. Everything
//! that happens to a partition passes through here, as (ownership, event); nothing here waits for
//! Kafka or PostgreSQL, so every event is answered at once, and the answers come as further events.
#![deny(clippy::wildcard_enum_match_arm)]

mod halted;
mod watch;

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use schemas::Partition;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use self::{
    halted::HaltRecord,
    watch::{Waiting, unix_seconds},
};
use crate::{
    consume::{
        lane::{AttemptClock, Control, LaneReport},
        rounds::{AuditConfig, Schedule, Seen},
        takeover::{Takeover, Taker},
        watchdog::{Stall, Watchdog},
    },
    halt::StopReason,
    kafka::{
        context::Callback,
        poller::{AssignmentEpoch, Command, Report, Start},
        topic::TopicProfile,
    },
    metrics::Metrics,
    position::{NextOffset, Offset, OwnerEpoch},
    status::Status,
    store::halts::Recorded,
};

/// How long a revocation waits for attempts that are under way. What is not committed by then is
/// fenced by the next owner.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);

/// Before a partition that somebody else has taken is taken again, the group gets time to say whose it
/// is: two owners that take in turns would only fence each other.
const RETAKE_DELAY: Duration = Duration::from_secs(2);

/// How often next offsets are copied to the group, gauges brought up to date and tasks looked after.
const TICK: Duration = Duration::from_secs(1);

/// Why the process has to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The consumer failed for good.
    #[error("the kafka consumer failed: {0}")]
    Consumer(rdkafka::error::KafkaError),
    /// A part of the process ended although nobody asked it to.
    #[error("{0} ended unexpectedly")]
    PartEnded(&'static str),
    /// The consumer is to be made anew, but the old one does not end.
    #[error("the poll thread hangs")]
    Hangs,
    /// A partition does not advance, and a new consumer has not helped.
    #[error("{0}")]
    Stalled(Stall),
}

/// How the supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it was asked to.
    Stopped,
    /// Everything between the topic and the tables is to be made anew.
    Rebuild(Cause),
}

/// Why the consumer is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A partition does not advance.
    Stalled,
    /// An operator has accepted another topic of the same name.
    TopicChanged,
}

impl Cause {
    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::TopicChanged => "topic_changed",
        }
    }
}

/// A lane, seen from outside.
pub struct LaneHandle {
    /// Tells it what it owns.
    pub control: mpsc::Sender<Control>,
    /// Its task.
    pub task: JoinHandle<()>,
    /// What it waits for.
    pub clock: Arc<AttemptClock>,
}

/// The poll thread, seen from outside.
pub struct PollerHandle {
    /// Tells it what to read.
    pub commands: SyncSender<Command>,
    /// Its thread.
    pub thread: std::thread::JoinHandle<()>,
}

/// What a partition that the group has given us is, here.
enum Ownership {
    /// Being taken up: after an assignment, or again after it was fenced or resumed.
    Taking,
    /// A lane applies it.
    Active {
        epoch: AssignmentEpoch,
        owner_epoch: OwnerEpoch,
        lane: usize,
        next_offset: NextOffset,
        is_mirrored: bool,
        waiting: Waiting,
    },
    /// It stands still.
    Halted { reason: StopReason, record: HaltRecord },
}

/// Why partitions were taken up: the answer goes to the poller in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The group assigned them; librdkafka waits for one answer.
    Assignment,
    /// The partition was fenced, or resumed by an operator, and is still assigned to us.
    Again,
}

/// What comes from the tasks that the supervisor starts.
enum Internal {
    Taken(Occasion, Vec<(Partition, Takeover)>),
    Drained(Vec<Partition>),
    Recorded(Partition, Recorded),
    Seen(Seen),
}

enum Event {
    Stop,
    Report(Option<Report>),
    Lane(LaneReport),
    Internal(Internal),
    Tick,
}

/// The supervisor.
pub struct Supervisor<'a> {
    taker: Taker,
    profile: TopicProfile,
    schedule: Schedule,
    watchdog: &'a mut Watchdog,
    poller: PollerHandle,
    lanes: Vec<LaneHandle>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    partitions: BTreeMap<Partition, Ownership>,
    log_ends: BTreeMap<Partition, Offset>,
    last_epoch: u64,
    internal: mpsc::Sender<Internal>,
    internal_rx: mpsc::Receiver<Internal>,
}

impl<'a> Supervisor<'a> {
    /// A supervisor of `lanes`, without partitions.
    #[must_use]
    pub fn new(
        (taker, audit): (Taker, AuditConfig),
        watchdog: &'a mut Watchdog,
        poller: PollerHandle,
        lanes: Vec<LaneHandle>,
        (metrics, status): (Arc<Metrics>, Arc<Status>),
    ) -> Self {
        // A task sends once, and there are no more tasks than partitions thrice over.
        let (internal, internal_rx) = mpsc::channel(1_024);
        Self {
            taker,
            profile: audit.profile,
            schedule: Schedule::new(audit, Instant::now()),
            watchdog,
            poller,
            lanes,
            metrics,
            status,
            partitions: BTreeMap::new(),
            log_ends: BTreeMap::new(),
            last_epoch: 0,
            internal,
            internal_rx,
        }
    }

    /// Works until `shutdown` completes or the consumer has to be made anew, then drains, leaves the
    /// group and ends.
    ///
    /// # Errors
    /// [`RunError`]: the process has to end.
    pub async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut lane_reports: mpsc::Receiver<LaneReport>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<End, RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut tick = tokio::time::interval(TICK);
        let end = loop {
            // Rare events first; lane reports, of which there is one a partition and transaction, last.
            let event = tokio::select! {
                biased;
                () = &mut shutdown => Event::Stop,
                report = reports.recv() => Event::Report(report),
                Some(internal) = self.internal_rx.recv() => Event::Internal(internal),
                _ = tick.tick() => Event::Tick,
                Some(report) = lane_reports.recv() => Event::Lane(report),
            };
            match event {
                Event::Stop => break End::Stopped,
                Event::Report(Some(Report::Callback(Callback::Assign(partitions)))) => {
                    self.assigned(partitions)
                }
                Event::Report(Some(Report::Callback(Callback::Revoke { partitions, lost }))) => {
                    self.revoked(partitions, lost)?;
                }
                Event::Report(Some(Report::Callback(Callback::LogEnds(ends)))) => self.log_ends.extend(ends),
                Event::Report(Some(Report::Failed(error))) => return Err(RunError::Consumer(error)),
                Event::Report(None) => return Err(RunError::PartEnded("the poll thread")),
                Event::Lane(report) => self.lane_reported(report)?,
                Event::Internal(Internal::Taken(occasion, takeovers)) => self.taken(occasion, takeovers)?,
                Event::Internal(Internal::Drained(partitions)) => self.drained(partitions)?,
                Event::Internal(Internal::Recorded(partition, recorded)) => {
                    self.recorded(partition, recorded)
                }
                Event::Internal(Internal::Seen(seen)) => {
                    if let ControlFlow::Break(cause) = self.seen(seen)? {
                        break End::Rebuild(cause);
                    }
                }
                Event::Tick => self.tick()?,
            }
        };
        let has_left = self.stop(lane_reports).await?;
        // Two members of the group in one process would share its partitions.
        if has_left || end == End::Stopped { Ok(end) } else { Err(RunError::Hangs) }
    }

    /// The group gives us partitions: find out from where they are to be read.
    fn assigned(&mut self, partitions: Vec<Partition>) {
        self.metrics.processor_rebalances_total.with_label_values(&["assigned"]).inc();
        tracing::info!(partitions = %list(&partitions), "partitions assigned");
        for partition in &partitions {
            self.partitions.insert(*partition, Ownership::Taking);
        }
        self.take(Occasion::Assignment, partitions, Duration::ZERO);
    }

    fn take(&self, occasion: Occasion, partitions: Vec<Partition>, delay: Duration) {
        let (taker, internal) = (self.taker.clone(), self.internal.clone());
        let task = async move {
            tokio::time::sleep(delay).await;
            let takeovers = taker.take(partitions).await;
            // If nobody listens any more, the process is ending.
            let _ended = internal.send(Internal::Taken(occasion, takeovers)).await.is_err();
        };
        // Nothing to join: its result is an event, and it has nothing to clean up.
        drop(service_kit::spawn("takeover", task));
    }

    /// Partitions were taken up, or must not be: tell their lanes, then let the poller read.
    fn taken(&mut self, occasion: Occasion, takeovers: Vec<(Partition, Takeover)>) -> Result<(), RunError> {
        let mut starts = Vec::with_capacity(takeovers.len());
        for (partition, takeover) in takeovers {
            // Revoked meanwhile, or fenced and assigned again: the row is the next owner's to raise.
            if !matches!(self.partitions.get(&partition), Some(Ownership::Taking)) {
                continue;
            }
            match takeover {
                Takeover::Halted(reason) => {
                    self.halt(partition, reason, None);
                    // After a fence the poller still reads it; after an assignment it never began.
                    if occasion == Occasion::Again {
                        self.command(Command::Halt(partition))?;
                    }
                }
                Takeover::StillHalted(reason) => self.still_halted(partition, reason),
                Takeover::Owned { next_offset, owner_epoch, log_end, rules } => {
                    self.log_ends.insert(partition, log_end);
                    let start = self.activate(partition, next_offset, owner_epoch);
                    tracing::info!(
                        partition = partition.0,
                        next_offset = next_offset.0,
                        log_end = log_end.0,
                        owner_epoch = owner_epoch.0,
                        lane = start.lane,
                        "partition taken up"
                    );
                    self.control(start.lane, Control::Adopt(start, owner_epoch, rules))?;
                    starts.push(start);
                }
            }
        }
        self.status.assigned();
        self.count_owned();
        match occasion {
            Occasion::Assignment => self.command(Command::Assign(starts)),
            Occasion::Again => starts.into_iter().try_for_each(|start| self.command(Command::Restart(start))),
        }
    }

    fn activate(&mut self, partition: Partition, next_offset: NextOffset, owner_epoch: OwnerEpoch) -> Start {
        self.last_epoch += 1;
        let epoch = AssignmentEpoch(self.last_epoch);
        let mut loads = vec![0_usize; self.lanes.len()];
        for ownership in self.partitions.values() {
            if let Ownership::Active { lane, .. } = ownership
                && let Some(load) = loads.get_mut(*lane)
            {
                *load += 1;
            }
        }
        let lane = loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(lane, _)| lane);
        let (is_mirrored, waiting) = (false, Waiting::default());
        let active = Ownership::Active { epoch, owner_epoch, lane, next_offset, is_mirrored, waiting };
        self.partitions.insert(partition, active);
        Start { partition, next_offset, assignment_epoch: epoch, lane }
    }

    /// The group takes partitions: let the lanes finish, unless others may own them already.
    fn revoked(&mut self, partitions: Vec<Partition>, lost: bool) -> Result<(), RunError> {
        let event = if lost { "lost" } else { "revoked" };
        self.metrics.processor_rebalances_total.with_label_values(&[event]).inc();
        tracing::info!(partitions = %list(&partitions), event, "partitions leave");
        let (released, since) = (self.release(&partitions)?, Instant::now());
        let (internal, metrics) = (self.internal.clone(), Arc::clone(&self.metrics));
        let task = async move {
            if !lost {
                wait_for(released).await;
                metrics.processor_drain_seconds.observe(since.elapsed().as_secs_f64());
            }
            let _ended = internal.send(Internal::Drained(partitions)).await.is_err();
        };
        drop(service_kit::spawn("drain", task));
        Ok(())
    }

    /// Tells the lanes to forget partitions. The answers come when nothing of them is under way.
    fn release(&mut self, partitions: &[Partition]) -> Result<Vec<oneshot::Receiver<()>>, RunError> {
        let mut by_lane: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        for partition in partitions {
            if let Some(Ownership::Active { lane, next_offset, is_mirrored, .. }) =
                self.partitions.get_mut(partition)
            {
                by_lane.entry(*lane).or_default().push(*partition);
                if !std::mem::replace(is_mirrored, true) {
                    let last = Command::Mirror(vec![(*partition, *next_offset)]);
                    self.poller
                        .commands
                        .try_send(last)
                        .map_err(|_| RunError::PartEnded("the poll thread"))?;
                }
            }
            self.forget(*partition);
        }
        let mut released = Vec::with_capacity(by_lane.len());
        for (lane, partitions) in by_lane {
            let (done, receiver) = oneshot::channel();
            self.control(lane, Control::Release(partitions, done))?;
            released.push(receiver);
        }
        Ok(released)
    }

    fn drained(&mut self, partitions: Vec<Partition>) -> Result<(), RunError> {
        self.count_owned();
        self.command(Command::Unassign(partitions))
    }

    /// Looks at what a lane says of a partition, if the stretch of ownership is the one that goes on now.
    fn lane_reported(&mut self, report: LaneReport) -> Result<(), RunError> {
        let (LaneReport::Arrived(partition, of, _)
        | LaneReport::Advanced(partition, of, _, _)
        | LaneReport::Fenced(partition, of)
        | LaneReport::Halted(partition, of, _)) = report;
        let Some(Ownership::Active { epoch, owner_epoch, next_offset, is_mirrored, waiting, .. }) =
            self.partitions.get_mut(&partition)
        else {
            return Ok(());
        };
        // Of a stretch of ownership that has ended.
        if *epoch != of {
            return Ok(());
        }
        match report {
            LaneReport::Arrived(_, _, appended_at) => waiting.appended_at = Some(appended_at),
            LaneReport::Advanced(_, _, to, next_appended_at) => {
                (*next_offset, *is_mirrored, waiting.appended_at) = (to, false, next_appended_at);
                let label = partition.to_string();
                let advanced = &self.metrics.processor_last_advance_timestamp_seconds;
                advanced.with_label_values(&[&label]).set(unix_seconds());
            }
            LaneReport::Fenced(..) => {
                self.metrics.processor_fenced_total.inc();
                tracing::warn!(partition = partition.0, "partition fenced, taking it again if it stays ours");
                self.take_again(vec![partition], RETAKE_DELAY);
            }
            LaneReport::Halted(_, _, reason) => {
                let owner_epoch = *owner_epoch;
                return self.lane_halted(partition, reason, owner_epoch);
            }
        }
        Ok(())
    }

    /// The partition is not read any more: its gauges would be about nothing.
    fn forget(&mut self, partition: Partition) {
        let label = partition.to_string();
        if let Some(ownership) = self.partitions.remove(&partition) {
            if let Ownership::Halted { reason, .. } = &ownership {
                let labels = [label.as_str(), reason.as_str()];
                let _absent = self.metrics.processor_partition_halted.remove_label_values(&labels).is_err();
            }
            Self::drop_record(ownership);
        }
        self.status.released(partition);
        self.log_ends.remove(&partition);
        let metrics = &self.metrics;
        for gauge in [
            &metrics.processor_lag_records,
            &metrics.processor_lag_seconds,
            &metrics.processor_last_advance_timestamp_seconds,
            &metrics.processor_conservation_gap,
            &metrics.processor_stalled_seconds,
        ] {
            let _absent = gauge.remove_label_values(&[&label]).is_err();
        }
    }

    /// Lets the lanes finish, leaves the group, waits for the thread. Says whether that has ended.
    async fn stop(mut self, mut lane_reports: mpsc::Receiver<LaneReport>) -> Result<bool, RunError> {
        let partitions: Vec<Partition> = self.partitions.keys().copied().collect();
        let released = self.release(&partitions)?;
        // The lanes' last reports must not fill their channel, or they would wait for room in it.
        let reports = async { while lane_reports.recv().await.is_some() {} };
        tokio::select! {
            () = wait_for(released) => {}
            () = reports => {}
        }
        self.command(Command::Stop)?;
        let thread = self.poller.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join());
        match tokio::time::timeout(Duration::from_secs(5), joined).await {
            Ok(Ok(Ok(()))) => {
                tracing::info!("stopped");
                Ok(true)
            }
            Ok(_) => Err(RunError::PartEnded("the poll thread")),
            Err(_elapsed) => {
                tracing::warn!("left without the group's answer");
                Ok(false)
            }
        }
    }

    fn control(&self, lane: usize, control: Control) -> Result<(), RunError> {
        // Never waits: a lane serves its control channel before anything else, so a full one means
        // that it hangs.
        let sent = self.lanes.get(lane).map(|lane| lane.control.try_send(control));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(RunError::PartEnded("a lane")) }
    }

    fn command(&self, command: Command) -> Result<(), RunError> {
        self.poller.commands.try_send(command).map_err(|_| RunError::PartEnded("the poll thread"))
    }

    fn count_owned(&self) {
        let active =
            self.partitions.values().filter(|ownership| matches!(ownership, Ownership::Active { .. }));
        self.metrics.processor_owned_partitions.set(i64::try_from(active.count()).unwrap_or(i64::MAX));
    }
}

/// Waits for the lanes' answers, but not for ever.
async fn wait_for(released: Vec<oneshot::Receiver<()>>) {
    let all = async {
        for receiver in released {
            // A lane that has ended has nothing under way.
            let _lane_ended = receiver.await.is_err();
        }
    };
    if tokio::time::timeout(DRAIN_DEADLINE, all).await.is_err() {
        tracing::warn!(
            deadline_ms = DRAIN_DEADLINE.as_millis(),
            "partitions leave with a transaction under way"
        );
    }
}

fn list(partitions: &[Partition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
