//! What the process says of itself on the admin port. Live: the poll thread turns. Ready: the group's
//! answer has been acted on, and no partition is halted or held up. Neither asks Kafka or PostgreSQL: one outage
//! must not restart every processor (pitfalls 72).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use schemas::Partition;
use service_kit::{admin::Health, clock::unix_time, prometheus::Registry};

use crate::{
    domain::{halt::StopReason, obstacle::Obstacle},
    metrics::Metrics,
};

/// A poll thread that has not turned for this long hangs: it waits for nothing longer than a second.
const BEAT_MAX: Duration = Duration::from_secs(30);

/// Written by the poller and the supervisor, read by probes.
#[derive(Debug, Default)]
pub struct Status {
    beat_unix_seconds: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    assigned: bool,
    halted: BTreeMap<Partition, StopReason>,
    waiting: BTreeMap<Partition, Obstacle>,
}

impl Status {
    pub fn beat(&self) {
        self.beat_unix_seconds.store(unix_time().as_secs(), Ordering::Relaxed);
    }

    /// The group has given us partitions, or none, and we have acted on it.
    pub fn assigned(&self) {
        self.with(|state| state.assigned = true);
    }

    /// The consumer is being rebuilt.
    pub fn unassigned(&self) {
        self.with(|state| *state = State::default());
    }

    pub fn halted(&self, partition: Partition, reason: StopReason) {
        self.with(|state| {
            state.halted.insert(partition, reason);
        });
    }

    /// A partition cannot be taken up now.
    pub fn waits(&self, partition: Partition, obstacle: Obstacle) {
        self.with(|state| {
            state.waiting.insert(partition, obstacle);
        });
    }

    /// A partition is no longer ours to report.
    pub fn released(&self, partition: Partition) {
        self.with(|state| {
            state.halted.remove(&partition);
            state.waiting.remove(&partition);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What people see of this process; the admin port shows it.
#[derive(Clone)]
pub struct Instruments {
    pub metrics: Arc<Metrics>,
    pub status: Arc<Status>,
}

impl Health for Instruments {
    fn live(&self) -> Result<(), String> {
        let beat = self.status.beat_unix_seconds.load(Ordering::Relaxed);
        // Before the first turn the process waits for Kafka or PostgreSQL to answer at all.
        let silent = unix_time().saturating_sub(Duration::from_secs(beat));
        if beat == 0 || silent < BEAT_MAX {
            Ok(())
        } else {
            Err(format!("the poll thread has not turned for {} s", silent.as_secs()))
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.status.with(|state| {
            if !state.assigned {
                return Err("no partitions assigned yet".to_owned());
            }
            let halted = state.halted.iter().map(|(partition, reason)| {
                format!("partition {partition} halted: {}: {reason}", reason.as_str())
            });
            let waiting = state.waiting.iter().map(|(partition, obstacle)| {
                format!("partition {partition} not taken up: {}: {obstacle}", obstacle.as_str())
            });
            let lines: Vec<String> = halted.chain(waiting).collect();
            if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
        })
    }

    fn metrics(&self) -> &Registry {
        &self.metrics.registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halted_partition_makes_the_processor_unready_and_names_itself() {
        let status = Arc::new(Status::default());
        let metrics = Arc::new(Metrics::new().unwrap());
        let health = Instruments { metrics, status: Arc::clone(&status) };
        assert_eq!(health.ready(), Err("no partitions assigned yet".to_owned()));
        status.assigned();
        assert_eq!(health.ready(), Ok(()));
        status.halted(Partition(3), StopReason::UnregisteredPartition);
        assert_eq!(
            health.ready().unwrap_err(),
            "partition 3 halted: unregistered_partition: the partition is not in the registry"
        );
        status.released(Partition(3));
        assert_eq!(health.ready(), Ok(()));
        status.waits(Partition(4), Obstacle::LogRange("LeaderNotAvailable".to_owned()));
        assert_eq!(
            health.ready().unwrap_err(),
            "partition 4 not taken up: log_range: its leader does not name the range of its log: LeaderNotAvailable"
        );
        status.released(Partition(4));
        assert_eq!(health.live(), Ok(()));
    }
}
