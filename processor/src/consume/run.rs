//! The supervisor: which partitions are owned, by which lane, in which stretch of ownership. Everything
//! that happens to a partition passes through here, as (ownership, event); nothing here waits for
//! Kafka or PostgreSQL, so every event is answered at once, and the answers come as further events.
#![deny(clippy::wildcard_enum_match_arm)]

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use schemas::Partition;
use service_kit::clock::unix_time;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    consume::{
        lane::{Control, LaneReport},
        takeover::{Taker, Takeover},
    },
    halt::StopReason,
    kafka::{
        context::Callback,
        poller::{AssignmentEpoch, Command, Report, Start},
    },
    metrics::Metrics,
    position::{NextOffset, Offset},
    status::Status,
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
}

/// A lane, seen from outside.
pub struct LaneHandle {
    /// Tells it what it owns.
    pub control: mpsc::Sender<Control>,
    /// Its task.
    pub task: JoinHandle<()>,
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
    /// Being taken up: after an assignment, or again after it was fenced.
    Taking,
    /// A lane applies it.
    Active { epoch: AssignmentEpoch, lane: usize, next_offset: NextOffset, is_mirrored: bool },
    /// It stands still.
    Halted(StopReason),
}

/// Why partitions were taken up: the answer goes to the poller in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The group assigned them; librdkafka waits for one answer.
    Assignment,
    /// The partition was fenced, and is still assigned to us.
    Fence,
}

/// What comes from the tasks that the supervisor starts.
enum Internal {
    Taken(Occasion, Vec<(Partition, Takeover)>),
    Drained(Vec<Partition>, Instant),
}

enum Event {
    Stop,
    Report(Option<Report>),
    Lane(LaneReport),
    Internal(Internal),
    Tick,
}

/// The supervisor.
pub struct Supervisor {
    taker: Taker,
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

impl Supervisor {
    /// A supervisor of `lanes`, without partitions.
    #[must_use]
    pub fn new(
        taker: Taker,
        poller: PollerHandle,
        lanes: Vec<LaneHandle>,
        (metrics, status): (Arc<Metrics>, Arc<Status>),
    ) -> Self {
        // A task sends once, and there are no more tasks than partitions twice over.
        let (internal, internal_rx) = mpsc::channel(1_024);
        Self {
            taker,
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

    /// Works until `shutdown` completes, then drains, leaves the group and ends.
    ///
    /// # Errors
    /// [`RunError`]: the process has to end.
    pub async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut lane_reports: mpsc::Receiver<LaneReport>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut tick = tokio::time::interval(TICK);
        loop {
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
                Event::Stop => break,
                Event::Report(Some(Report::Callback(Callback::Assign(partitions)))) => self.assigned(partitions),
                Event::Report(Some(Report::Callback(Callback::Revoke { partitions, lost }))) => {
                    self.revoked(partitions, lost)?;
                }
                Event::Report(Some(Report::Callback(Callback::LogEnds(ends)))) => self.log_ends.extend(ends),
                Event::Report(Some(Report::Failed(error))) => return Err(RunError::Consumer(error)),
                Event::Report(None) => return Err(RunError::PartEnded("the poll thread")),
                Event::Lane(report) => self.lane_reported(report)?,
                Event::Internal(Internal::Taken(occasion, takeovers)) => self.taken(occasion, takeovers)?,
                Event::Internal(Internal::Drained(partitions, since)) => self.drained(partitions, since)?,
                Event::Tick => self.tick()?,
            }
        }
        self.stop(lane_reports).await
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
                Takeover::Halted(reason) => self.halt(partition, reason),
                Takeover::Owned { next_offset, owner_epoch, log_end } => {
                    self.log_ends.insert(partition, log_end);
                    let start = self.activate(partition, next_offset);
                    tracing::info!(%partition, %next_offset, %log_end, %owner_epoch, lane = start.lane, "partition taken up");
                    self.control(start.lane, Control::Adopt(start, owner_epoch))?;
                    starts.push(start);
                }
            }
        }
        self.status.assigned();
        self.count_owned();
        match occasion {
            Occasion::Assignment => self.command(Command::Assign(starts)),
            Occasion::Fence => starts.into_iter().try_for_each(|start| self.command(Command::Restart(start))),
        }
    }

    fn activate(&mut self, partition: Partition, next_offset: NextOffset) -> Start {
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
        self.partitions.insert(partition, Ownership::Active { epoch, lane, next_offset, is_mirrored: false });
        Start { partition, next_offset, assignment_epoch: epoch, lane }
    }

    /// The group takes partitions: let the lanes finish, unless others may own them already.
    fn revoked(&mut self, partitions: Vec<Partition>, lost: bool) -> Result<(), RunError> {
        let event = if lost { "lost" } else { "revoked" };
        self.metrics.processor_rebalances_total.with_label_values(&[event]).inc();
        tracing::info!(partitions = %list(&partitions), event, "partitions leave");
        let (released, since) = (self.release(&partitions)?, Instant::now());
        let internal = self.internal.clone();
        let task = async move {
            if !lost {
                wait_for(released).await;
            }
            let _ended = internal.send(Internal::Drained(partitions, since)).await.is_err();
        };
        drop(service_kit::spawn("drain", task));
        Ok(())
    }

    /// Tells the lanes to forget partitions. The answers come when nothing of them is under way.
    fn release(&mut self, partitions: &[Partition]) -> Result<Vec<oneshot::Receiver<()>>, RunError> {
        let mut by_lane: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        for partition in partitions {
            if let Some(Ownership::Active { lane, next_offset, is_mirrored, .. }) = self.partitions.get_mut(partition) {
                by_lane.entry(*lane).or_default().push(*partition);
                if !std::mem::replace(is_mirrored, true) {
                    let last = Command::Mirror(vec![(*partition, *next_offset)]);
                    self.poller.commands.try_send(last).map_err(|_| RunError::PartEnded("the poll thread"))?;
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

    fn drained(&mut self, partitions: Vec<Partition>, since: Instant) -> Result<(), RunError> {
        self.metrics.processor_drain_seconds.observe(since.elapsed().as_secs_f64());
        self.count_owned();
        self.command(Command::Unassign(partitions))
    }

    /// Looks at what a lane says of a partition, if the stretch of ownership is the one that goes on now.
    fn lane_reported(&mut self, report: LaneReport) -> Result<(), RunError> {
        let (LaneReport::Advanced(partition, of, _) | LaneReport::Fenced(partition, of) | LaneReport::Halted(partition, of, _)) =
            report;
        match (self.partitions.get_mut(&partition), report) {
            (Some(Ownership::Active { epoch, next_offset, is_mirrored, .. }), LaneReport::Advanced(_, _, to))
                if *epoch == of =>
            {
                (*next_offset, *is_mirrored) = (to, false);
                let now = i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX);
                let label = partition.to_string();
                self.metrics.processor_last_advance_timestamp_seconds.with_label_values(&[&label]).set(now);
                Ok(())
            }
            (Some(ownership @ Ownership::Active { .. }), LaneReport::Fenced(..)) if ownership.is(of) => {
                self.metrics.processor_fenced_total.inc();
                tracing::warn!(%partition, "partition fenced, taking it again if it stays ours");
                *ownership = Ownership::Taking;
                self.take(Occasion::Fence, vec![partition], RETAKE_DELAY);
                Ok(())
            }
            (Some(ownership @ Ownership::Active { .. }), LaneReport::Halted(_, _, reason)) if ownership.is(of) => {
                self.halt(partition, reason);
                self.command(Command::Halt(partition))
            }
            // Of a stretch of ownership that has ended.
            (Some(Ownership::Active { .. } | Ownership::Taking | Ownership::Halted(_)) | None, _) => Ok(()),
        }
    }

    fn halt(&mut self, partition: Partition, reason: StopReason) {
        tracing::error!(%partition, reason = reason.as_str(), detail = %reason, "partition halted");
        let labels = [partition.to_string(), reason.as_str().to_owned()];
        self.metrics.processor_partition_halted.with_label_values(&labels).set(1);
        self.status.halted(partition, reason.clone());
        self.partitions.insert(partition, Ownership::Halted(reason));
        self.count_owned();
    }

    /// The partition is not ours any more: neither are its gauges.
    fn forget(&mut self, partition: Partition) {
        let label = partition.to_string();
        if let Some(Ownership::Halted(reason)) = self.partitions.remove(&partition) {
            let labels = [label.as_str(), reason.as_str()];
            let _absent = self.metrics.processor_partition_halted.remove_label_values(&labels).is_err();
        }
        self.status.released(partition);
        self.log_ends.remove(&partition);
        let _absent = self.metrics.processor_lag_records.remove_label_values(&[&label]).is_err();
        let _absent = self.metrics.processor_last_advance_timestamp_seconds.remove_label_values(&[&label]).is_err();
    }

    fn tick(&mut self) -> Result<(), RunError> {
        if self.poller.thread.is_finished() {
            return Err(RunError::PartEnded("the poll thread"));
        }
        if self.lanes.iter().any(|lane| lane.task.is_finished()) {
            return Err(RunError::PartEnded("a lane"));
        }
        let mut moved = Vec::new();
        for (partition, ownership) in &mut self.partitions {
            let Ownership::Active { next_offset, is_mirrored, .. } = ownership else { continue };
            if let Some(end) = self.log_ends.get(partition) {
                let lag = (end.0 - next_offset.0).max(0);
                self.metrics.processor_lag_records.with_label_values(&[&partition.to_string()]).set(lag);
            }
            if !std::mem::replace(is_mirrored, true) {
                moved.push((*partition, *next_offset));
            }
        }
        if moved.is_empty() { Ok(()) } else { self.command(Command::Mirror(moved)) }
    }

    /// Lets the lanes finish, leaves the group, waits for the thread.
    async fn stop(mut self, mut lane_reports: mpsc::Receiver<LaneReport>) -> Result<(), RunError> {
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
            Ok(Ok(Ok(()))) => tracing::info!("stopped"),
            Ok(_) => return Err(RunError::PartEnded("the poll thread")),
            Err(_elapsed) => tracing::warn!("left without the group's answer"),
        }
        Ok(())
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
        let active = self.partitions.values().filter(|ownership| matches!(ownership, Ownership::Active { .. }));
        self.metrics.processor_owned_partitions.set(i64::try_from(active.count()).unwrap_or(i64::MAX));
    }
}

impl Ownership {
    fn is(&self, of: AssignmentEpoch) -> bool {
        matches!(self, Self::Active { epoch, .. } if *epoch == of)
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
        tracing::warn!(deadline_ms = DRAIN_DEADLINE.as_millis(), "partitions leave with a transaction under way");
    }
}

fn list(partitions: &[Partition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
