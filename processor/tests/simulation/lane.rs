//! A lane without its task: stands in for `consume/lane/driver.rs`. What a lane does is the production code
//! ([`LaneMachine`]); its acts are performed here at once, but for attempts.

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use processor::{
    consume::{
        attempt::{Ended, Outcome},
        dialogs::CacheBudget,
        lane::{Act, AttemptClock, Event, LaneConfig, LaneMachine, LaneNews},
        pending::BatchConfig,
    },
    domain::{dead_letter::DeadLetterConfig, fold::ClientStates},
    kafka::poller::{Chunk, Entry},
    metrics::Metrics,
    store::Commit,
};
use service_kit::{retry::Backoff, spans::Spans};

use crate::{
    check::{Checked, FRESH, must},
    node::{LANES, Process},
    twin::Twin,
    world::World,
};

/// Nobody reads them.
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new().unwrap()));

pub struct Lane {
    machine: LaneMachine,
    /// The attempt whose end it waits for.
    attempt: Option<u64>,
    /// What was read and not taken in yet.
    pub chunks: VecDeque<Chunk>,
    /// The clients of all that it has ever applied, which it must not remember for so long.
    applied: ClientStates,
}

impl Lane {
    pub fn new(cache: &Arc<CacheBudget>, now: Instant) -> Self {
        let config = LaneConfig {
            batch: BatchConfig {
                batch_records_max: 6,
                batch_kib_max: 64,
                batch_age_max: Duration::from_millis(25),
                copy_records_min: 1,
            },
            dead_letters: DeadLetterConfig {
                dead_letters_per_minute_max: 1_000,
                dead_letters_percent_max: 100,
            },
            cache: Arc::clone(cache),
            commit: Commit::Durable,
            spans: Spans::default(),
        };
        let backoff = Backoff::even(Duration::from_millis(50), Duration::from_secs(3));
        let clock = Arc::new(AttemptClock::new(now));
        Self {
            machine: LaneMachine::new(config, backoff, Arc::clone(&METRICS), clock),
            attempt: None,
            chunks: VecDeque::new(),
            applied: ClientStates::default(),
        }
    }
}

impl World {
    /// A lane hears of something, does what that asks for, and goes on.
    pub fn lane_hears(&mut self, process: Process, lane: usize, event: Event) {
        self.lane_does(process, lane, |machine, now| machine.on(event, now));
        self.lane_does(process, lane, LaneMachine::proceed);
    }

    fn lane_does(
        &mut self,
        process: Process,
        lane: usize,
        decide: impl FnOnce(&mut LaneMachine, Instant) -> Vec<Act>,
    ) {
        let now = self.instant();
        for act in decide(&mut self.nodes[process.node].lanes[lane].machine, now) {
            let node = &mut self.nodes[process.node];
            let worker = &mut node.lanes[lane];
            match act {
                Act::Report(mut report)
                    if report.news == LaneNews::Stops && self.twin == Twin::HaltsAtOnce =>
                {
                    let state = worker.machine.partition(report.partition);
                    report.news =
                        LaneNews::Halted(state.and_then(|state| state.stopping().cloned()).unwrap());
                    worker.machine.on(Event::Release(0, vec![report.partition]), now);
                    node.reports.push_back(report);
                }
                Act::Report(report) => node.reports.push_back(report),
                Act::Start(work, mut cached) => {
                    if self.twin == Twin::CacheOutlives {
                        cached.states.extend(&worker.applied);
                    }
                    let number = self.begin(process, lane, work, cached);
                    self.nodes[process.node].lanes[lane].attempt = Some(number);
                }
                Act::LeaveBehind => worker.attempt = None,
                Act::Released(number) => {
                    node.unanswered.remove(&number);
                }
            }
        }
    }

    /// A lane wakes up: it looks at the time, takes in what was read, and goes on.
    pub fn work(&mut self, process: Process) -> Checked {
        let lane = self.dice.pick(LANES);
        self.lane_does(process, lane, |machine, now| machine.on(Event::Due, now));
        self.take_in(process, lane)?;
        self.lane_does(process, lane, LaneMachine::proceed);
        Ok(())
    }

    /// Each entry of a chunk by itself: one of another stretch of ownership must change nothing.
    fn take_in(&mut self, process: Process, lane: usize) -> Checked {
        let worker = &mut self.nodes[process.node].lanes[lane];
        let chunk = worker.machine.has_room().then(|| worker.chunks.pop_front()).flatten();
        for (epoch, entry) in chunk.unwrap_or_default() {
            let partition = match &entry {
                Entry::Record(raw) => raw.partition,
                Entry::Explained(explained) => explained.partition,
            };
            let expected = |world: &Self| {
                let state = world.nodes[process.node].lanes[lane].machine.partition(partition);
                state.map(|state| (state.expected(), state.stopping().cloned()))
            };
            let before = expected(self);
            self.lane_does(process, lane, |machine, now| machine.on(Event::Chunk(vec![(epoch, entry)]), now));
            let adopted = &self.nodes[process.node].adopted;
            must(expected(self) == before || adopted.get(&partition) == Some(&epoch), FRESH, || {
                format!("a record of {epoch:?} of partition {partition}, adopted are {adopted:?}")
            })?;
        }
        Ok(())
    }

    /// An attempt has ended; one that was left behind is nobody's any more.
    pub fn ended(&mut self, process: Process, lane: usize, number: u64, ended: Ended) {
        let worker = &mut self.nodes[process.node].lanes[lane];
        if worker.attempt != Some(number) {
            return;
        }
        worker.attempt = None;
        if let Outcome::Applied(applied) = &ended.outcome {
            worker.applied.extend(&applied.after);
        }
        self.lane_hears(process, lane, Event::Ended(ended));
    }
}
