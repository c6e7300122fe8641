//! What the supervisor makes of what it sees from time to time: gauges, the watchdog's verdict, the
//! topic's audit.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use schemas::{Partition, Timestamp};
use service_kit::clock::unix_time;

use super::{Cause, Command, Internal, Ownership, RunError, Supervisor};
use crate::{
    consume::{
        rounds::{Round, Seen, look},
        watchdog::{Sight, Verdict},
    },
    position::Offset,
    store::progress::Progress,
};

/// A lane whose attempts are not answered for this long waits for PostgreSQL.
const WAITS_AFTER: Duration = Duration::from_secs(5);

/// The oldest record of a partition that is not applied, as far as it is known here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    /// When it was appended, if a lane has it in hand.
    pub(super) appended_at: Option<Timestamp>,
    /// Otherwise: since when the log has been seen to hold more than is applied, in seconds since 1970.
    seen_at: Option<i64>,
}

impl Waiting {
    /// Its age. Without the record in hand it is at least the time since it was first seen.
    fn age_seconds(&mut self, lag: i64, now: i64) -> i64 {
        if let Some(appended_at) = self.appended_at {
            self.seen_at = None;
            return (now - appended_at.as_millis() / 1_000).max(0);
        }
        if lag <= 0 {
            self.seen_at = None;
            return 0;
        }
        (now - *self.seen_at.get_or_insert(now)).max(0)
    }
}

impl Supervisor<'_> {
    /// Brings the gauges up to date, copies next offsets to the group, begins what is to be looked at.
    pub(super) fn tick(&mut self) -> Result<(), RunError> {
        if self.poller.thread.is_finished() {
            return Err(RunError::PartEnded("the poll thread"));
        }
        if self.lanes.iter().any(|lane| lane.task.is_finished()) {
            return Err(RunError::PartEnded("a lane"));
        }
        let (now, mut moved) = (unix_seconds(), Vec::new());
        for (partition, ownership) in &mut self.partitions {
            let Ownership::Active { next_offset, is_mirrored, waiting, .. } = ownership else {
                continue;
            };
            let label = partition.to_string();
            let lag = self.log_ends.get(partition).map_or(0, |end| (end.0 - next_offset.0).max(0));
            self.metrics.processor_lag_records.with_label_values(&[&label]).set(lag);
            let age = waiting.age_seconds(lag, now);
            self.metrics.processor_lag_seconds.with_label_values(&[&label]).set(age);
            if !std::mem::replace(is_mirrored, true) {
                moved.push((*partition, *next_offset));
            }
        }
        let waits = self.waiting_lanes();
        let waiting = waits.iter().filter(|waits| **waits).count();
        self.metrics.processor_lanes_waiting_for_database.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.begin_rounds();
        if moved.is_empty() { Ok(()) } else { self.command(Command::Mirror(moved)) }
    }

    fn begin_rounds(&mut self) {
        for round in self.schedule.begin(Instant::now()) {
            let partitions = match round {
                Round::LogEnds | Round::Rows => self.active(),
                Round::Halts => self.standing(),
                Round::Audit => Vec::new(),
            };
            let (taker, internal) = (self.taker.clone(), self.internal.clone());
            let profile = self.profile;
            let task = async move {
                let seen = look(taker, profile, round, partitions).await;
                // If nobody listens any more, the process is ending.
                let _ended = internal.send(Internal::Seen(seen)).await.is_err();
            };
            drop(service_kit::spawn("round", task));
        }
    }

    /// Looks at what a round has brought.
    pub(super) fn seen(&mut self, seen: Seen) -> Result<ControlFlow<Cause>, RunError> {
        let now = Instant::now();
        self.schedule.done(seen.round(), now);
        match seen {
            Seen::LogEnds(None) => {
                self.watchdog.excuse(now);
                self.show_stalls(now);
            }
            Seen::LogEnds(Some(ends)) => {
                for (partition, stable) in &ends {
                    // The lag counts to the high watermark: what an open transaction holds back waits, too.
                    self.log_ends
                        .entry(*partition)
                        .and_modify(|end| *end = (*end).max(*stable))
                        .or_insert(*stable);
                }
                return self.watch(&ends.into_iter().collect(), now);
            }
            Seen::Rows(rows) => self.show_gaps(&rows),
            Seen::Audit(None) => {}
            Seen::Audit(Some(problems)) => {
                if !problems.is_empty() {
                    tracing::error!(
                        problems = problems.join("; "),
                        "the topic's settings are not safe any more"
                    );
                }
                self.metrics.processor_topic_unsafe.set(i64::from(!problems.is_empty()));
            }
            Seen::Resumed(partitions) => {
                return Ok(self.resumed(partitions).map_or(ControlFlow::Continue(()), ControlFlow::Break));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// `ends`: of what may be read. What an open transaction holds back no other consumer would get either.
    fn watch(
        &mut self,
        ends: &BTreeMap<Partition, Offset>,
        now: Instant,
    ) -> Result<ControlFlow<Cause>, RunError> {
        let waits = self.waiting_lanes();
        let sights = self.partitions.iter().filter_map(|(partition, ownership)| {
            let Ownership::Active { next_offset, lane, .. } = ownership else {
                return None;
            };
            Some(Sight {
                partition: *partition,
                next_offset: *next_offset,
                log_end: *ends.get(partition)?,
                waits_for_database: waits.get(*lane).copied().unwrap_or_default(),
            })
        });
        let verdict = self.watchdog.look(&sights.collect::<Vec<_>>(), now);
        self.show_stalls(now);
        match verdict {
            Verdict::Fine => Ok(ControlFlow::Continue(())),
            Verdict::Report(stall) => {
                tracing::error!(partition = stall.partition.0, detail = %stall, "partition does not advance");
                Ok(ControlFlow::Continue(()))
            }
            Verdict::Rebuild(stall) => {
                tracing::error!(partition = stall.partition.0, detail = %stall, "partition does not advance, making the consumer anew");
                Ok(ControlFlow::Break(Cause::Stalled))
            }
            Verdict::Exit(stall) => Err(RunError::Stalled(stall)),
        }
    }

    fn show_stalls(&self, now: Instant) {
        for (partition, lasts) in self.watchdog.stalled(now) {
            let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
            self.metrics.processor_stalled_seconds.with_label_values(&[&partition.to_string()]).set(seconds);
        }
    }

    fn show_gaps(&self, rows: &[Progress]) {
        for row in rows.iter().filter(|row| self.is_active(row.partition)) {
            if row.gap() != 0 {
                tracing::error!(
                    partition = row.partition.0,
                    gap = row.gap(),
                    "the partition's counters do not add up"
                );
            }
            let label = row.partition.to_string();
            self.metrics.processor_conservation_gap.with_label_values(&[&label]).set(row.gap());
        }
    }

    /// For each lane, whether PostgreSQL owes it an answer for longer than answers take.
    fn waiting_lanes(&self) -> Vec<bool> {
        let now = Instant::now();
        self.lanes.iter().map(|lane| lane.clock.unanswered_for(now) >= WAITS_AFTER).collect()
    }

    fn active(&self) -> Vec<Partition> {
        self.partitions.keys().copied().filter(|partition| self.is_active(*partition)).collect()
    }

    fn is_active(&self, partition: Partition) -> bool {
        matches!(self.partitions.get(&partition), Some(Ownership::Active { .. }))
    }
}

pub(super) fn unix_seconds() -> i64 {
    i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_in_seconds_is_the_age_of_the_oldest_record_in_hand() {
        let appended_at = Timestamp::from_millis(1_764_000_000_000);
        let mut waiting = Waiting { appended_at, seen_at: None };
        assert_eq!(waiting.age_seconds(5, 1_764_000_060), 60);
        assert_eq!(waiting.age_seconds(0, 1_764_000_060), 60, "the log's end may be older than the record");
        assert_eq!(waiting.age_seconds(5, 1_763_999_990), 0, "the broker's clock may be ahead");
    }

    #[test]
    fn a_record_that_is_not_in_hand_is_at_least_as_old_as_the_first_sight_of_it() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.age_seconds(0, 100), 0);
        assert_eq!(waiting.age_seconds(3, 200), 0);
        assert_eq!(waiting.age_seconds(4, 207), 7);
        assert_eq!(waiting.age_seconds(0, 208), 0);
        assert_eq!(waiting.age_seconds(1, 300), 0);
    }
}
