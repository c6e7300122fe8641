//! The supervisor: waits for what happens, asks [`Ownerships`] what is to be done about it, and does that. Nothing
//! here waits for Kafka or PostgreSQL: what does is a task, and its answer a further event.
#![deny(clippy::wildcard_enum_match_arm)]

mod performed;
mod watch;

use std::{
    future::Future,
    ops::ControlFlow,
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use schemas::Partition;
use service_kit::{clock::unix_time, count::signed};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

pub use super::ownership::Cause;
use super::{
    lane::{AttemptClock, Control, LaneReport},
    ownership::{Difference, Event, Ownerships},
    rounds::{AuditConfig, Schedule, Seen},
    shown::Screens,
    takeover::Taker,
    tickets::Tickets,
    watchdog::{Stall, Watchdog},
};
use crate::{
    kafka::{
        context::Callback,
        poller::{Order, Report, Trouble},
        topic::TopicProfile,
    },
    status::Instruments,
};

/// How long a revocation waits for attempts that are under way. What is not committed by then is
/// fenced by the next owner.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(3);

/// How long the poll thread may take to leave the group.
pub const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

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
    /// The consumer is to be built again, but the old one does not end.
    #[error("the poll thread hangs")]
    Hangs,
    /// A partition does not advance, and a new consumer has not helped.
    #[error("{0}")]
    Stalled(Stall),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it was asked to.
    Stopped,
    /// Everything between the topic and the tables is to be built again.
    Rebuild(Cause),
}

/// A lane, seen from outside.
pub struct LaneHandle {
    pub control: mpsc::Sender<Control>,
    pub task: JoinHandle<()>,
    pub clock: Arc<AttemptClock>,
}

/// The poll thread, seen from outside.
pub struct PollerHandle {
    pub orders: SyncSender<Order>,
    pub thread: std::thread::JoinHandle<()>,
}

/// What comes from the tasks that the supervisor starts.
enum Internal {
    Happened(Event),
    Seen(Seen),
}

enum Wake {
    Stop,
    Report(Option<Report>),
    Lane(LaneReport),
    Internal(Internal),
    Tick,
}

/// Whether the supervisor goes on.
type Flow = Result<ControlFlow<End>, RunError>;

const GO_ON: Flow = Ok(ControlFlow::Continue(()));

pub struct Supervisor<'a> {
    taker: Taker,
    profile: TopicProfile,
    schedule: Schedule,
    /// Outlives a consumer that it has had built again.
    watchdog: &'a mut Watchdog,
    poller: PollerHandle,
    lanes: Vec<LaneHandle>,
    screens: Screens,
    ownerships: Ownerships,
    /// The tasks that work for a ticket end with it, and with the supervisor.
    tickets: Tickets,
    internal: mpsc::Sender<Internal>,
    internal_rx: mpsc::Receiver<Internal>,
}

impl<'a> Supervisor<'a> {
    /// A supervisor of `lanes`, without partitions.
    pub fn new(
        taker: Taker,
        audit: AuditConfig,
        watchdog: &'a mut Watchdog,
        poller: PollerHandle,
        lanes: Vec<LaneHandle>,
        instruments: Instruments,
    ) -> Self {
        // A task sends once, and there are no more tasks than partitions thrice over.
        let (internal, internal_rx) = mpsc::channel(1_024);
        Self {
            taker,
            profile: audit.profile,
            schedule: Schedule::new(audit, Instant::now()),
            watchdog,
            poller,
            ownerships: Ownerships::new(lanes.len()),
            lanes,
            screens: Screens::new(instruments.metrics, instruments.status),
            tickets: Tickets::default(),
            internal,
            internal_rx,
        }
    }

    /// Works until `shutdown` completes or the consumer has to be built again, then drains, leaves the
    /// group and ends.
    ///
    /// # Errors
    /// The process has to end.
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
            let wake = tokio::select! {
                biased;
                () = &mut shutdown => Wake::Stop,
                report = reports.recv() => Wake::Report(report),
                Some(internal) = self.internal_rx.recv() => Wake::Internal(internal),
                _ = tick.tick() => Wake::Tick,
                Some(report) = lane_reports.recv() => Wake::Lane(report),
            };
            let flow = match wake {
                Wake::Stop => break End::Stopped,
                Wake::Report(None) => return Err(RunError::PartEnded("the poll thread")),
                Wake::Report(Some(report)) => self.on_report(report)?,
                Wake::Lane(report) => self.happened(Event::Lane(report))?,
                Wake::Internal(Internal::Happened(event)) => self.happened(event)?,
                Wake::Internal(Internal::Seen(seen)) => self.on_seen(seen)?,
                Wake::Tick => self.on_tick()?,
            };
            if let ControlFlow::Break(end) = flow {
                break end;
            }
        };
        let has_left = self.stop(lane_reports).await?;
        // Two members of the group in one process would share its partitions.
        if has_left || end == End::Stopped { Ok(end) } else { Err(RunError::Hangs) }
    }

    fn on_report(&mut self, report: Report) -> Flow {
        match report {
            Report::Callback(Callback::Assign(partitions)) => {
                self.screens.rebalance("assigned", &partitions);
                self.happened(Event::Assigned(partitions))
            }
            Report::Callback(Callback::Revoke { partitions, lost }) => {
                self.screens.rebalance(if lost { "lost" } else { "revoked" }, &partitions);
                self.happened(Event::Revoked { partitions, lost })
            }
            Report::Callback(Callback::LogEnds(ends)) => self.happened(Event::LogEnds(ends)),
            Report::Trouble(Trouble::OutOfRange) => {
                self.ownerships.doubt_logs();
                self.schedule.look_now(Instant::now());
                GO_ON
            }
            // What is read from now on may be of a topic that has just been created: nothing is, before it is known.
            Report::Trouble(Trouble::UnknownTopic) => {
                let beliefs = self.ownerships.beliefs();
                let all = beliefs.iter().map(|belief| (belief.partition, belief.epoch, Difference::Topic));
                self.happened(Event::Differ(all.collect()))
            }
            Report::Trouble(Trouble::Batch) => {
                self.schedule.suspect_batches(Instant::now());
                GO_ON
            }
            Report::Failed(error) => Err(RunError::Consumer(error)),
        }
    }

    fn on_tick(&mut self) -> Flow {
        if self.poller.thread.is_finished() {
            return Err(RunError::PartEnded("the poll thread"));
        }
        if self.lanes.iter().any(|lane| lane.task.is_finished()) {
            return Err(RunError::PartEnded("a lane"));
        }
        let unix_seconds = signed(unix_time().as_secs());
        self.begin_rounds();
        self.happened(Event::Tick { unix_seconds })
    }

    /// Asks what is to be done, and does it.
    fn happened(&mut self, event: Event) -> Flow {
        for act in self.ownerships.on(event, Instant::now()) {
            if let ControlFlow::Break(cause) = self.perform(act)? {
                return Ok(ControlFlow::Break(End::Rebuild(cause)));
            }
        }
        GO_ON
    }

    /// Lets the lanes finish, leaves the group, waits for the thread. Says whether that has ended.
    async fn stop(mut self, mut lane_reports: mpsc::Receiver<LaneReport>) -> Result<bool, RunError> {
        let partitions = self.ownerships.all();
        let mut released = Vec::new();
        for act in self.ownerships.on(Event::Revoked { partitions, lost: false }, Instant::now()) {
            released.extend(self.perform_last(act)?);
        }
        // The lanes' last reports must not fill their channel, or they would wait for room in it.
        let reports = async { while lane_reports.recv().await.is_some() {} };
        tokio::select! {
            () = wait_for(released) => {}
            () = reports => {}
        }
        self.order(Order::Stop)?;
        // Looked at, not joined: a thread that waits forever would take whoever joins it along.
        let deadline = Instant::now() + LEAVE_DEADLINE;
        while !self.poller.thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!("left without the consumer group's answer");
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match self.poller.thread.join() {
            Ok(()) => {
                tracing::info!("stopped");
                Ok(true)
            }
            Err(_panic) => Err(RunError::PartEnded("the poll thread")),
        }
    }

    fn control(&self, lane: usize, control: Control) -> Result<(), RunError> {
        // Never waits: a lane serves its control channel before anything else, so a full one means
        // that it hangs.
        let sent = self.lanes.get(lane).map(|lane| lane.control.try_send(control));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(RunError::PartEnded("a lane")) }
    }

    fn order(&self, order: Order) -> Result<(), RunError> {
        self.poller.orders.try_send(order).map_err(|_| RunError::PartEnded("the poll thread"))
    }

    /// The partitions leave their lane; the answer comes when nothing of them is under way.
    fn release(&self, lane: usize, partitions: Vec<Partition>) -> Result<oneshot::Receiver<()>, RunError> {
        let (done, released) = oneshot::channel();
        self.control(lane, Control::Release(partitions, done))?;
        Ok(released)
    }

    /// Sends what a task has found to the supervisor.
    fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = Internal> + Send + 'static,
    ) -> JoinHandle<()> {
        let internal = self.internal.clone();
        service_kit::spawn(name, async move {
            // If nobody listens any more, the process is ending.
            let _ended = internal.send(task.await).await.is_err();
        })
    }
}

/// Waits for the lanes' answers, but not forever.
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
