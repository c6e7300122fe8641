//! What the supervisor makes of what its rounds have seen.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use schemas::Partition;

use super::{End, Flow, GO_ON, Internal, RunError, Supervisor};
use crate::{
    consume::{
        ownership::{Belief, Cause, Event, Sighted},
        rounds::{Round, Seen, Subject, look},
        watchdog::{Sight, Verdict},
    },
    domain::position::Offset,
};

/// A lane whose attempts are not answered for this long waits for PostgreSQL.
const WAITS_AFTER: Duration = Duration::from_secs(5);

impl Supervisor<'_> {
    pub(super) fn begin_rounds(&mut self) {
        let now = Instant::now();
        let waiting = self.waiting_lanes().iter().filter(|waits| **waits).count();
        self.screens.lanes_waiting(waiting);
        for round in self.schedule.begin(now) {
            let subject = Subject {
                beliefs: self.ownerships.beliefs(),
                partitions: match round {
                    Round::LogEnds | Round::Rows | Round::Audit => Vec::new(),
                    Round::Halts => self.ownerships.standing(),
                    Round::Topic => self.ownerships.to_be_looked_at(),
                    Round::Batches => self.ownerships.stuck(),
                },
            };
            let (taker, profile) = (self.taker.clone(), self.profile);
            drop(
                self.spawn(
                    "round",
                    async move { Internal::Seen(look(taker, profile, round, subject).await) },
                ),
            );
        }
    }

    /// Looks at what a round has brought.
    pub(super) fn on_seen(&mut self, seen: Seen) -> Flow {
        let now = Instant::now();
        self.schedule.done(seen.round(), now);
        match seen {
            Seen::LogEnds { asked, ends } => {
                let flow = self.on_log_ends(&asked, &ends, now)?;
                if flow.is_break() { Ok(flow) } else { self.happened(Event::LogEnds(ends)) }
            }
            Seen::Rows { mut rows, differences } => {
                let beliefs = self.ownerships.beliefs();
                rows.retain(|row| beliefs.iter().any(|belief| belief.partition == row.partition));
                self.screens.gaps(&rows);
                self.happened(Event::Differ(differences))
            }
            Seen::Topic { differences, sound } => {
                for (Belief { partition, epoch, doubts, .. }, at) in sound {
                    let sighted = Sighted::Sound { at, doubts };
                    if let end @ ControlFlow::Break(_) =
                        self.happened(Event::Sighted(partition, epoch, sighted))?
                    {
                        return Ok(end);
                    }
                }
                self.happened(Event::Differ(differences))
            }
            Seen::Batches(unreadable) => {
                for (partition, epoch, offset, error) in unreadable {
                    let sighted = Sighted::Unreadable(offset, error);
                    if let end @ ControlFlow::Break(_) =
                        self.happened(Event::Sighted(partition, epoch, sighted))?
                    {
                        return Ok(end);
                    }
                }
                GO_ON
            }
            Seen::Audit(problems) => {
                self.screens.audit(problems);
                GO_ON
            }
            Seen::Resumed(partitions) => self.happened(Event::Resumed(partitions)),
        }
    }

    fn on_log_ends(&mut self, asked: &[Partition], ends: &[(Partition, Offset)], now: Instant) -> Flow {
        let (waits, ends) = (self.waiting_lanes(), ends.iter().copied().collect::<BTreeMap<_, _>>());
        let beliefs = self.ownerships.beliefs();
        let sights = beliefs.iter().filter(|belief| asked.contains(&belief.partition)).map(|belief| Sight {
            partition: belief.partition,
            next_offset: belief.next_offset,
            log_end: ends.get(&belief.partition).copied(),
            waits_for_database: waits.get(belief.lane).copied().unwrap_or_default(),
        });
        let verdict = self.watchdog.look(&sights.collect::<Vec<_>>(), now);
        self.screens.stalls(self.watchdog.stalled(now));
        match verdict {
            Verdict::Fine => GO_ON,
            Verdict::Report(stall) => {
                tracing::error!(partition = stall.partition.0, detail = %stall, "partition does not advance");
                GO_ON
            }
            Verdict::Rebuild(stall) => {
                tracing::error!(partition = stall.partition.0, detail = %stall, "partition does not advance, rebuilding the consumer");
                Ok(ControlFlow::Break(End::Rebuild(Cause::Stalled)))
            }
            Verdict::Exit(stall) => Err(RunError::Stalled(stall)),
        }
    }

    /// For each lane, whether PostgreSQL owes it an answer for longer than answers take.
    fn waiting_lanes(&self) -> Vec<bool> {
        let now = Instant::now();
        self.lanes.iter().map(|lane| lane.clock.unanswered_for(now) >= WAITS_AFTER).collect()
    }
}
