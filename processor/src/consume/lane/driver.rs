//! The task of a lane: waits for what happens, asks [`LaneMachine`] what is to be done about it, and does that. It
//! owns what the machine does not know: the channels, the attempt that is under way, and the connection between two.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::Partition;
use service_kit::retry::Backoff;
use sqlx::PgConnection;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep_until,
};

use super::{Act, AttemptClock, Event, LaneConfig, LaneMachine, LaneReport};
use crate::{
    consume::attempt::{Ended, Outcome, Tools, attempt},
    domain::{position::OwnerEpoch, rules::PartitionRules, seat::Start},
    kafka::poller::Chunk,
    store::apply::{ApplyError, Mode},
};

/// What the supervisor tells a lane.
#[derive(Debug)]
pub enum Control {
    /// Own a partition. Sent before the first of its records can come.
    Adopt(Start, OwnerEpoch, Arc<PartitionRules>),
    /// Forget partitions, and say when nothing of them is under way any more.
    Release(Vec<Partition>, oneshot::Sender<()>),
}

pub struct Lane {
    machine: LaneMachine,
    tools: Tools,
    /// From how many records on a batch is copied.
    copy_records_min: usize,
    reports: mpsc::Sender<LaneReport>,
    /// Between two attempts, if the last one has left it usable.
    connection: Option<PgConnection>,
    attempt: Option<JoinHandle<(Option<PgConnection>, Ended)>>,
    /// Who waits for a release, by its number.
    releases: BTreeMap<u64, oneshot::Sender<()>>,
    /// The number of the last one.
    released: u64,
}

impl Lane {
    /// A lane without partitions.
    pub fn new(
        mut tools: Tools,
        config: LaneConfig,
        clock: Arc<AttemptClock>,
        reports: mpsc::Sender<LaneReport>,
    ) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(3));
        tools.database = tools.database.for_batches(config.commit);
        Self {
            copy_records_min: config.batch.copy_records_min,
            machine: LaneMachine::new(config, backoff, Arc::clone(&tools.metrics), clock),
            tools,
            reports,
            connection: None,
            attempt: None,
            releases: BTreeMap::new(),
            released: 0,
        }
    }

    /// Works until its channels are closed.
    pub async fn run(mut self, mut control: mpsc::Receiver<Control>, mut chunks: mpsc::Receiver<Chunk>) {
        loop {
            let wake_at = self.machine.wake_at();
            // The order is the proof that nothing starves: control is rare and short; an attempt ends
            // once for each that is started; the timer fires when it is due, which ends with the
            // attempt that it starts; chunks come last, since there are always more.
            let event = tokio::select! {
                biased;
                control = control.recv() => control.map(|control| self.on_control(control)),
                (connection, ended) = finished(&mut self.attempt) => {
                    (self.attempt, self.connection) = (None, connection);
                    Some(Event::Ended(ended))
                }
                () = until(wake_at) => Some(Event::Due),
                chunk = chunks.recv(), if self.machine.has_room() => chunk.map(Event::Chunk),
            };
            let Some(event) = event else { break };
            let acts = self.machine.on(event, Instant::now());
            self.perform(acts).await;
            let acts = self.machine.proceed(Instant::now());
            self.perform(acts).await;
        }
    }

    fn on_control(&mut self, control: Control) -> Event {
        match control {
            Control::Adopt(start, owner_epoch, rules) => Event::Adopt(start, owner_epoch, rules),
            Control::Release(partitions, done) => {
                self.released += 1;
                self.releases.insert(self.released, done);
                Event::Release(self.released, partitions)
            }
        }
    }

    async fn perform(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Report(report) => {
                    // If nobody listens, the supervisor has ended, and with it the process.
                    let _ended = self.reports.send(report).await.is_err();
                }
                Act::Start(work, cached) => {
                    let mode =
                        if work.batch().len() < self.copy_records_min { Mode::Insert } else { Mode::Copy };
                    let attempt = attempt(self.tools.clone(), self.connection.take(), work, cached, mode);
                    self.attempt = Some(service_kit::spawn("attempt", attempt));
                }
                Act::LeaveBehind => self.attempt = None,
                Act::Released(number) => {
                    let done = self.releases.remove(&number);
                    // If nobody waits any more, the release's deadline has passed.
                    let _deadline_passed = done.is_some_and(|done| done.send(()).is_err());
                }
            }
        }
    }
}

/// Waits for the attempt that is under way; forever if there is none.
async fn finished(
    attempt: &mut Option<JoinHandle<(Option<PgConnection>, Ended)>>,
) -> (Option<PgConnection>, Ended) {
    let Some(attempt) = attempt else { return std::future::pending().await };
    // If the attempt panicked, which has been logged, what it wrote is not known.
    attempt.await.unwrap_or_else(|_panic| {
        let outcome = Outcome::Failed(ApplyError::Unsettled("the attempt panicked"));
        (None, Ended { is_cache_wrong: true, outcome })
    })
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
