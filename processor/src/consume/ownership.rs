//! Which partitions this process owns, and what is to be done about each. Pure: an event comes in, acts come out;
//! time is an argument, and nothing here waits or sends. `Ownerships::step` is the whole of it: every state
//! against every piece of news, written out.
#![deny(clippy::wildcard_enum_match_arm)]

mod event;
mod log;
mod view;
mod waiting;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use schemas::Partition;

pub use self::event::{Act, Belief, Cause, Difference, Event, Shown, Sighted};
use self::{
    event::{News, drain, together},
    waiting::Waiting,
};
use crate::{
    consume::{decide::Takeover, lane::LaneNews, takeover::Answer, tickets::Ticket},
    domain::{
        halt::StopReason,
        obstacle::Obstacle,
        position::{NextOffset, Offset, OwnerEpoch},
        seat::{AssignmentEpoch, Start},
    },
    kafka::poller::Order,
    store::halts::{Halt, Recorded, SeenRow},
};

/// Before a partition that somebody else has taken is taken again, the group gets time to say whose it
/// is: two owners that take in turns would only fence each other.
pub const RETAKE_DELAY: Duration = Duration::from_secs(2);

/// Between two tries of a takeover: the first delay, doubled with each try, and the longest.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// The same where a transaction holds the row: the server ends it within `idle_in_transaction_session_timeout`, and
/// the partition is to go on at once.
const ROW_MOVES: Duration = Duration::from_secs(1);

/// What a partition that the group has given us is, here.
#[derive(Debug)]
enum Ownership {
    /// Being taken up: after an assignment, or again after it was fenced, resumed, or found elsewhere.
    Taking {
        ticket: Ticket,
        tries: u32,
        obstacle: Option<Obstacle>,
    },
    Active(Active),
    Halted {
        reason: StopReason,
        record: Recording,
    },
}

/// A partition that a lane applies.
#[derive(Debug)]
struct Active {
    epoch: AssignmentEpoch,
    owner_epoch: OwnerEpoch,
    lane: usize,
    /// As the lane has reported it: the row is there or further.
    next_offset: NextOffset,
    log_end: Offset,
    /// Whether the group knows `next_offset`.
    is_mirrored: bool,
    /// The position at which the log was last held against the row.
    looked_at: NextOffset,
    /// How often the consumer has met something that this log may explain.
    doubts: u64,
    /// How many of them were answered by a look that began after them.
    doubts_answered: u64,
    /// Where it stood when idle and when stuck partitions were last asked for.
    stood_at: [NextOffset; 2],
    waiting: Waiting,
    /// The batch at `next_offset` cannot be read, and since when that is known.
    unreadable_since: Option<(Offset, Instant)>,
}

/// Whether a halt is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recording {
    Writing(Ticket),
    /// It is: from now on its end is looked for.
    Standing,
}

/// The partitions of this process.
#[derive(Debug)]
pub struct Ownerships {
    partitions: BTreeMap<Partition, Ownership>,
    /// How many lanes share the partitions.
    lanes: usize,
    /// One number for each ticket and each stretch: what carries an older one is stale.
    last: u64,
    /// Whether the group has ever said which partitions are ours.
    is_given: bool,
}

impl Ownerships {
    pub const fn new(lanes: usize) -> Self {
        Self { partitions: BTreeMap::new(), lanes, last: 0, is_given: false }
    }

    /// What is to be done about an event, in this order.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Act> {
        let mut acts = Vec::new();
        match event {
            Event::Assigned(partitions) => {
                self.is_given = true;
                self.each(partitions, now, &mut acts, |partition| (partition, News::Assigned));
            }
            Event::Revoked { partitions, lost } => {
                let revoked = partitions.clone();
                self.each(revoked, now, &mut acts, |partition| (partition, News::Revoked));
                acts = drain(acts, partitions, lost);
            }
            Event::Drained(partitions) => acts.push(Act::Order(Order::Unassign(partitions))),
            Event::Answered(answers) => {
                self.each(answers, now, &mut acts, |(p, ticket, answer)| {
                    (p, News::Answered(ticket, Box::new(answer)))
                });
            }
            Event::Lane(said) => {
                self.each([said], now, &mut acts, |said| (said.partition, News::Lane(said.epoch, said.news)));
            }
            Event::HaltRecorded(partition, ticket, recorded) => {
                self.each([partition], now, &mut acts, |p| (p, News::Recorded(ticket, recorded)));
            }
            Event::Resumed(partitions) => {
                self.each(partitions, now, &mut acts, |partition| (partition, News::Resumed));
            }
            Event::Differ(differences) => {
                self.each(differences, now, &mut acts, |(p, epoch, what)| (p, News::Differs(epoch, what)));
            }
            Event::Sighted(partition, epoch, sighted) => {
                self.each([partition], now, &mut acts, |p| (p, News::Sighted(epoch, sighted.clone())));
            }
            Event::LogEnds(ends) => self.note_log_ends(ends),
            Event::Tick { unix_seconds } => self.tick(unix_seconds, &mut acts),
        }
        acts.push(Act::Show(Shown::Owned { active: self.active().count(), is_settled: self.is_settled() }));
        together(acts)
    }

    fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        now: Instant,
        acts: &mut Vec<Act>,
        news: impl Fn(T) -> (Partition, News),
    ) {
        for (partition, news) in items.into_iter().map(news) {
            let before = self.partitions.remove(&partition);
            if let Some(after) = self.step(partition, before, news, now, acts) {
                self.partitions.insert(partition, after);
            }
        }
    }

    /// What a partition is after a piece of news.
    #[expect(clippy::too_many_lines, reason = "one match, so that a reader sees what is not possible")]
    fn step(
        &mut self,
        partition: Partition,
        before: Option<Ownership>,
        news: News,
        now: Instant,
        acts: &mut Vec<Act>,
    ) -> Option<Ownership> {
        use Ownership::{Halted, Taking};
        match (before, news) {
            (None, News::Assigned) => Some(self.take(partition, Duration::ZERO, acts)),
            // Nothing is given twice without being taken in between: what stands here is of a former assignment.
            (Some(former), News::Assigned) => Some(self.again(partition, former, Duration::ZERO, acts)),
            (None, News::Revoked) => None,
            (Some(former), News::Revoked) => {
                leave(partition, former, acts);
                None
            }

            (Some(taking @ Taking { ticket, .. }), News::Answered(of, answer)) if ticket == of => {
                match *answer {
                    Answer::Taken(takeover) => {
                        leave(partition, taking, acts);
                        Some(self.taken(partition, takeover, acts))
                    }
                    Answer::Waits(why) => Some(wait(partition, taking, why, acts)),
                }
            }
            // Of a takeover that nobody wants any more.
            (
                before @ (None | Some(Taking { .. } | Ownership::Active(_) | Halted { .. })),
                News::Answered(..),
            ) => before,

            (Some(Ownership::Active(mut active)), News::Lane(of, news)) if active.epoch == of => match news {
                LaneNews::Arrived(appended_at) => {
                    active.waiting.appended_at = Some(appended_at);
                    Some(Ownership::Active(active))
                }
                LaneNews::Advanced(to, next_appended_at) => {
                    (active.next_offset, active.is_mirrored) = (to, false);
                    (active.waiting.appended_at, active.unreadable_since) = (next_appended_at, None);
                    acts.push(Act::Show(Shown::Advanced(partition)));
                    Some(Ownership::Active(active))
                }
                LaneNews::Fenced => {
                    acts.push(Act::Show(Shown::Fenced(partition)));
                    Some(self.again(partition, Ownership::Active(active), RETAKE_DELAY, acts))
                }
                // It stays ours until what its lane has in hand is applied, which PostgreSQL may keep waiting.
                LaneNews::Stops => {
                    acts.push(Act::Order(Order::Halt(partition)));
                    Some(Ownership::Active(active))
                }
                LaneNews::Halted(reason) => {
                    let seen = active.seen(&reason);
                    leave(partition, Ownership::Active(active), acts);
                    Some(self.halt(partition, reason, seen, acts))
                }
            },
            // A lane speaks of a stretch of ownership that has ended.
            (
                before @ (None | Some(Taking { .. } | Ownership::Active(_) | Halted { .. })),
                News::Lane(..),
            ) => before,

            (Some(Halted { reason, record: Recording::Writing(ticket) }), News::Recorded(of, recorded))
                if ticket == of =>
            {
                match recorded {
                    Recorded::Standing => {
                        acts.push(Act::Forget(ticket));
                        Some(Halted { reason, record: Recording::Standing })
                    }
                    // The row is not as it was when the halt was decided.
                    Recorded::Fenced => {
                        let halted = Halted { reason, record: Recording::Writing(ticket) };
                        Some(self.again(partition, halted, RETAKE_DELAY, acts))
                    }
                }
            }
            (
                before @ (None | Some(Taking { .. } | Ownership::Active(_) | Halted { .. })),
                News::Recorded(..),
            ) => before,

            // Another topic: nothing that this consumer knows is true of it.
            (
                Some(Halted {
                    reason: reason @ (StopReason::TopicRecreated { .. } | StopReason::OtherCluster { .. }),
                    record,
                }),
                News::Resumed,
            ) => {
                acts.push(Act::Rebuild(Cause::TopicChanged));
                Some(Halted { reason, record })
            }
            (Some(halted @ Halted { .. }), News::Resumed) => {
                acts.push(Act::Show(Shown::Resumed(partition)));
                Some(self.again(partition, halted, Duration::ZERO, acts))
            }
            // Revoked, or taken up again, while its halt was looked at.
            (before @ (None | Some(Taking { .. } | Ownership::Active(_))), News::Resumed) => before,

            (Some(Ownership::Active(active)), News::Differs(of, what)) if active.epoch == of => {
                acts.push(Act::Show(Shown::Differs(partition, what)));
                Some(self.again(partition, Ownership::Active(active), what.delay(), acts))
            }
            (Some(Ownership::Active(active)), News::Sighted(of, sighted)) if active.epoch == of => {
                Some(self.sighted(partition, active, sighted, now, acts))
            }
            // What was looked at has changed since.
            (
                before @ (None | Some(Taking { .. } | Ownership::Active(_) | Halted { .. })),
                News::Differs(..) | News::Sighted(..),
            ) => before,
        }
    }

    fn take(&mut self, partition: Partition, after: Duration, acts: &mut Vec<Act>) -> Ownership {
        let ticket = Ticket(self.next());
        acts.push(Act::Take { asked: vec![(partition, ticket)], after, alone: false });
        Ownership::Taking { ticket, tries: 0, obstacle: None }
    }

    /// Takes up again a partition that the group has not taken from us.
    fn again(
        &mut self,
        partition: Partition,
        former: Ownership,
        after: Duration,
        acts: &mut Vec<Act>,
    ) -> Ownership {
        leave(partition, former, acts);
        self.take(partition, after, acts)
    }

    fn taken(&mut self, partition: Partition, takeover: Takeover, acts: &mut Vec<Act>) -> Ownership {
        match takeover {
            Takeover::Owned { next_offset, owner_epoch, log_end, rules } => {
                let (epoch, lane) = (AssignmentEpoch(self.next()), self.idlest_lane());
                let start = Start { partition, next_offset, assignment_epoch: epoch, lane };
                acts.push(Act::Adopt { start, owner_epoch, rules });
                acts.push(Act::Order(Order::Assign(vec![start])));
                acts.push(Act::Show(Shown::TakenUp { start, owner_epoch, log_end }));
                Ownership::Active(Active {
                    epoch,
                    owner_epoch,
                    lane,
                    next_offset,
                    log_end,
                    is_mirrored: false,
                    looked_at: next_offset,
                    doubts: 0,
                    doubts_answered: 0,
                    stood_at: [next_offset; 2],
                    waiting: Waiting::default(),
                    unreadable_since: None,
                })
            }
            Takeover::Halted(reason, seen) => self.halt(partition, reason, seen, acts),
            Takeover::StillHalted(reason) => {
                acts.push(Act::Show(Shown::Halted(partition, reason.clone())));
                Ownership::Halted { reason, record: Recording::Standing }
            }
        }
    }

    /// A partition must not go on.
    fn halt(
        &mut self,
        partition: Partition,
        reason: StopReason,
        seen: SeenRow,
        acts: &mut Vec<Act>,
    ) -> Ownership {
        let ticket = Ticket(self.next());
        acts.push(Act::Show(Shown::Halted(partition, reason.clone())));
        acts.push(Act::Record(ticket, Halt { partition, reason: reason.clone(), seen }));
        Ownership::Halted { reason, record: Recording::Writing(ticket) }
    }

    const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Ends what a partition was here: its ticket, its lane, its reading.
fn leave(partition: Partition, former: Ownership, acts: &mut Vec<Act>) {
    match former {
        Ownership::Taking { ticket, obstacle, .. } => {
            acts.push(Act::Forget(ticket));
            acts.push(Act::Show(Shown::NoLongerWaits(partition, obstacle)));
        }
        Ownership::Active(Active { lane, next_offset, is_mirrored, .. }) => {
            acts.push(Act::Release(lane, partition));
            // What has come and will still come is dropped at the source.
            acts.push(Act::Order(Order::Halt(partition)));
            if !is_mirrored {
                acts.push(Act::Order(Order::Mirror(vec![(partition, next_offset)])));
            }
            acts.push(Act::Show(Shown::NoLongerActive(partition)));
        }
        Ownership::Halted { reason, record } => {
            if let Recording::Writing(ticket) = record {
                acts.push(Act::Forget(ticket));
            }
            acts.push(Act::Show(Shown::NoLongerHalted(partition, reason)));
        }
    }
}

/// A try has met an obstacle: the next comes later each time.
fn wait(partition: Partition, before: Ownership, why: Obstacle, acts: &mut Vec<Act>) -> Ownership {
    let Ownership::Taking { ticket, tries, obstacle } = before else { return before };
    if obstacle.as_ref() != Some(&why) {
        acts.push(Act::Show(Shown::NoLongerWaits(partition, obstacle)));
        acts.push(Act::Show(Shown::Waits(partition, why.clone())));
    }
    let (first, mut longest) = TRY_AGAIN;
    if why == Obstacle::RowMoves {
        longest = ROW_MOVES;
    }
    let after = first.saturating_mul(1 << tries.min(8)).min(longest);
    acts.push(Act::Take { asked: vec![(partition, ticket)], after, alone: !why.is_shared() });
    Ownership::Taking { ticket, tries: tries.saturating_add(1), obstacle: Some(why) }
}

#[cfg(test)]
mod tests;
