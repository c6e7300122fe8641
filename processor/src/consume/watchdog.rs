//! The watchdog: a partition has records and does not advance, and nothing excuses it (pitfalls 41).
//! Pure: what is seen comes in, what is to be done comes out, time is an argument.
//!
//! Silent stalls of a Kafka client leave no error to react to; all they have in common is that
//! nothing moves. What excuses a partition, because another consumer would not help either:
//! - the log holds nothing to be applied, or an open transaction of Kafka holds it back: shown apart, as
//!   `processor_transaction_open_seconds`,
//! - its lane waits for PostgreSQL: reported apart, as `processor_lanes_waiting_for_database`,
//! - its leader does not answer, or there is none: asked by a client of its own, whose answers are also the
//!   logs' ends, since a stalled consumer does not learn that its log grows. It excuses no other partition.
//!
//! Halted partitions are not watched: they stand still on purpose.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use clap::builder::TypedValueParser as _;
use schemas::Partition;
use service_kit::settings::seconds;

use crate::domain::position::{NextOffset, Offset};

/// When a partition that does not advance is reported, and what is tried then.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct WatchdogConfig {
    /// Seconds without progress after which a partition with records to apply is reported.
    #[arg(long = "stall-report-seconds", env = "PROCESSOR_STALL_REPORT_SECONDS", default_value = "20", value_parser = clap::value_parser!(u64).range(10..).map(Duration::from_secs))]
    pub stall_report: Duration,
    /// Seconds without progress after which the Kafka consumer is rebuilt. Must be above
    /// `--stall-report-seconds`.
    #[arg(long = "stall-rebuild-seconds", env = "PROCESSOR_STALL_REBUILD_SECONDS", default_value = "40", value_parser = seconds)]
    pub stall_rebuild: Duration,
    /// Seconds without progress after which the process ends with an error. Must be above
    /// `--stall-rebuild-seconds`.
    #[arg(long = "stall-exit-seconds", env = "PROCESSOR_STALL_EXIT_SECONDS", default_value = "80", value_parser = seconds)]
    pub stall_exit: Duration,
}

/// The limits are not in their order.
#[derive(Debug, thiserror::Error)]
#[error("--stall-report-seconds, --stall-rebuild-seconds and --stall-exit-seconds must ascend")]
pub struct LimitsOutOfOrder;

impl WatchdogConfig {
    /// Checks that each step comes after the one before.
    pub fn validate(&self) -> Result<(), LimitsOutOfOrder> {
        let ascend = self.stall_report < self.stall_rebuild && self.stall_rebuild < self.stall_exit;
        if ascend { Ok(()) } else { Err(LimitsOutOfOrder) }
    }
}

/// An owned partition, as it is seen now.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    pub partition: Partition,
    /// How far it is applied.
    pub next_offset: NextOffset,
    /// The end of what may be read of its log, as its leader says; `None`: it does not answer, or there is none.
    pub log_end: Option<Offset>,
    /// Whether its lane waits for PostgreSQL.
    pub waits_for_database: bool,
}

/// A partition that does not advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub partition: Partition,
    pub next_offset: NextOffset,
    pub lag: i64,
    pub lasts: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, next_offset, lag, lasts } = self;
        write!(
            f,
            "partition {partition} stands at {next_offset} with {lag} records to apply for {} s",
            lasts.as_secs()
        )
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Tell people: this one has just passed the limit.
    Report(Stall),
    Rebuild(Stall),
    /// That has not helped: end the process.
    Exit(Stall),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    None,
    Reported,
    Rebuilt,
    Exited,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    next_offset: NextOffset,
    /// Since when nothing excuses it.
    since: Instant,
    /// The last thing that was done about it.
    step: Step,
}

/// Watches the owned partitions. Outlives the consumer that it has had rebuilt.
#[derive(Debug)]
pub struct Watchdog {
    config: WatchdogConfig,
    partitions: BTreeMap<Partition, Watched>,
}

impl Watchdog {
    pub const fn new(config: WatchdogConfig) -> Self {
        Self { config, partitions: BTreeMap::new() }
    }

    /// Looks at the owned partitions; forgets the others. The worst decides.
    pub fn look(&mut self, sights: &[Sight], now: Instant) -> Verdict {
        self.partitions.retain(|partition, _| sights.iter().any(|sight| sight.partition == *partition));
        let mut worst = (Step::None, Verdict::Fine);
        for sight in sights {
            let fresh = Watched { next_offset: sight.next_offset, since: now, step: Step::None };
            let watched = self.partitions.entry(sight.partition).or_insert(fresh);
            let lag = sight.log_end.map_or(0, |end| end.0 - sight.next_offset.0);
            if lag <= 0 || sight.waits_for_database || watched.next_offset != sight.next_offset {
                *watched = fresh;
                continue;
            }
            let lasts = now.saturating_duration_since(watched.since);
            let step = self.config.step(lasts);
            if step > watched.step {
                watched.step = step;
                let stall = Stall { partition: sight.partition, next_offset: sight.next_offset, lag, lasts };
                worst = if step > worst.0 { (step, step.verdict(stall)) } else { worst };
            }
        }
        worst.1
    }

    /// For how long each partition stands still without an excuse.
    pub fn stalled(&self, now: Instant) -> impl Iterator<Item = (Partition, Duration)> {
        self.partitions
            .iter()
            .map(move |(partition, watched)| (*partition, now.saturating_duration_since(watched.since)))
    }
}

impl WatchdogConfig {
    fn step(&self, lasts: Duration) -> Step {
        if lasts >= self.stall_exit {
            Step::Exited
        } else if lasts >= self.stall_rebuild {
            Step::Rebuilt
        } else if lasts >= self.stall_report {
            Step::Reported
        } else {
            Step::None
        }
    }
}

impl Step {
    const fn verdict(self, stall: Stall) -> Verdict {
        match self {
            Self::None => Verdict::Fine,
            Self::Reported => Verdict::Report(stall),
            Self::Rebuilt => Verdict::Rebuild(stall),
            Self::Exited => Verdict::Exit(stall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: WatchdogConfig = WatchdogConfig {
        stall_report: Duration::from_secs(20),
        stall_rebuild: Duration::from_secs(40),
        stall_exit: Duration::from_secs(80),
    };

    fn sight(partition: i32, next: i64, end: i64) -> Sight {
        Sight {
            partition: Partition(partition),
            next_offset: NextOffset(next),
            log_end: Some(Offset(end)),
            waits_for_database: false,
        }
    }

    fn stall(partition: i32, next: i64, lag: i64, seconds: u64) -> Stall {
        Stall {
            partition: Partition(partition),
            next_offset: NextOffset(next),
            lag,
            lasts: Duration::from_secs(seconds),
        }
    }

    /// What is decided when the same is seen every five seconds; the seconds at which anything is.
    fn decisions(seen: impl Fn(u64) -> Vec<Sight>, seconds: u64) -> Vec<(u64, Verdict)> {
        let (mut watchdog, start) = (Watchdog::new(CONFIG), Instant::now());
        let mut decisions = Vec::new();
        for second in (0..=seconds).step_by(5) {
            let now = start + Duration::from_secs(second);
            match watchdog.look(&seen(second), now) {
                Verdict::Fine => {}
                verdict => decisions.push((second, verdict)),
            }
        }
        decisions
    }

    #[test]
    fn a_stall_is_reported_then_the_consumer_is_rebuilt_then_the_process_ends() {
        let decided = decisions(|_| vec![sight(1, 7, 9), sight(2, 0, 0)], 85);
        let expected = [
            (20, Verdict::Report(stall(1, 7, 2, 20))),
            (40, Verdict::Rebuild(stall(1, 7, 2, 40))),
            (80, Verdict::Exit(stall(1, 7, 2, 80))),
        ];
        assert_eq!(decided, expected);
    }

    #[test]
    fn one_record_in_fifteen_seconds_is_progress() {
        let slow = |second: u64| vec![sight(1, i64::try_from(second / 15).unwrap(), 1_000)];
        assert_eq!(decisions(slow, 300), []);
    }

    #[test]
    fn a_partition_without_records_or_with_a_lane_that_waits_for_the_database_is_excused() {
        assert_eq!(decisions(|_| vec![sight(1, 9, 9)], 300), []);
        let waits = Sight { waits_for_database: true, ..sight(1, 7, 9) };
        assert_eq!(decisions(|_| vec![waits], 300), []);
        let until_30 = |second: u64| vec![Sight { waits_for_database: second <= 30, ..sight(1, 7, 9) }];
        assert_eq!(decisions(until_30, 55), [(50, Verdict::Report(stall(1, 7, 2, 20)))]);
    }

    #[test]
    fn a_leader_that_is_away_is_no_stall_and_excuses_its_own_partition_alone() {
        let without = |second: u64| (10..=200).contains(&second);
        let seen = |second: u64, partition: i32| Sight {
            log_end: (!without(second)).then_some(Offset(9)),
            ..sight(partition, 7, 9)
        };
        let away = |second: u64| vec![seen(second, 1)];
        assert_eq!(decisions(away, 215), []);
        assert_eq!(decisions(away, 220), [(220, Verdict::Report(stall(1, 7, 2, 20)))]);
        let beside = |second: u64| vec![seen(second, 1), sight(2, 7, 9)];
        assert_eq!(decisions(beside, 35), [(20, Verdict::Report(stall(2, 7, 2, 20)))]);
    }

    #[test]
    fn a_partition_that_leaves_and_comes_back_has_its_time_again() {
        let gone = |second: u64| if second == 15 { vec![] } else { vec![sight(1, 7, 9)] };
        assert_eq!(decisions(gone, 35), []);
    }

    #[test]
    fn limits_must_ascend() {
        assert!(CONFIG.validate().is_ok());
        assert!(WatchdogConfig { stall_rebuild: CONFIG.stall_report, ..CONFIG }.validate().is_err());
        assert!(WatchdogConfig { stall_exit: CONFIG.stall_rebuild, ..CONFIG }.validate().is_err());
    }
}
