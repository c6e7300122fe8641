//! What happens to partitions, and what is to be done about it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemas::Partition;

use crate::{
    consume::{
        lane::{LaneNews, LaneReport},
        takeover::Answer,
        tickets::Ticket,
    },
    domain::{
        halt::StopReason,
        obstacle::Obstacle,
        position::{NextOffset, Offset, OwnerEpoch},
        rules::PartitionRules,
        seat::{AssignmentEpoch, Start},
    },
    kafka::poller::Order,
    store::halts::{Halt, Recorded},
};

#[derive(Debug, Clone)]
pub enum Event {
    /// The group gives us partitions. It has been answered already; they are read when they are taken up.
    Assigned(Vec<Partition>),
    /// The group takes partitions. `lost`: others may own them already.
    Revoked { partitions: Vec<Partition>, lost: bool },
    /// Nothing of revoked partitions is under way any more, or that was waited for long enough.
    Drained(Vec<Partition>),
    /// A try to take partitions up has ended.
    Answered(Vec<(Partition, Ticket, Answer)>),
    /// A lane says something of a partition.
    Lane(LaneReport),
    /// A halt was written, or belongs to somebody else.
    HaltRecorded(Partition, Ticket, Recorded),
    /// A person has resumed halted partitions.
    Resumed(Vec<Partition>),
    /// Rows or topic are not what an owner believes.
    Differ(Vec<(Partition, AssignmentEpoch, Difference)>),
    /// The log of an active partition was looked at.
    Sighted(Partition, AssignmentEpoch, Sighted),
    /// The ends of the logs.
    LogEnds(Vec<(Partition, Offset)>),
    /// A second has passed.
    Tick { unix_seconds: i64 },
}

/// What is different from what the owner believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The row stands before what was committed: the database has moved back.
    NextOffset,
    /// Another owner, or a change of the rules: epochs only rise.
    OwnerEpoch,
    /// The epoch is one from before: the database has moved back.
    OlderEpoch,
    MissingRow,
    Halt,
    /// The topic of this name has another id, or is in another cluster.
    Topic,
    /// The log does not continue where the row stands.
    Log,
}

impl Difference {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NextOffset => "next_offset",
            Self::OwnerEpoch => "owner_epoch",
            Self::OlderEpoch => "older_epoch",
            Self::MissingRow => "missing_row",
            Self::Halt => "halt",
            Self::Topic => "topic",
            Self::Log => "log",
        }
    }

    /// How long to wait before the partition is taken up again.
    pub(super) const fn delay(self) -> Duration {
        match self {
            Self::OwnerEpoch => super::RETAKE_DELAY,
            Self::NextOffset | Self::OlderEpoch | Self::MissingRow | Self::Halt | Self::Topic | Self::Log => {
                Duration::ZERO
            }
        }
    }
}

/// What a look at the log of an active partition has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighted {
    /// Its log continues where the row stood, which answers as many doubts as there were when the look began.
    Sound { at: NextOffset, doubts: u64 },
    /// The batch at this offset cannot be read; what the client says.
    Unreadable(Offset, String),
}

/// What the owner of an active partition believes, to be held against the rows and the log. Taken before they are
/// read: a row may be ahead of it, but not behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Belief {
    pub partition: Partition,
    pub epoch: AssignmentEpoch,
    pub owner_epoch: OwnerEpoch,
    pub next_offset: NextOffset,
    /// As the brokers have named it last.
    pub log_end: Offset,
    pub lane: usize,
    /// How often the consumer has met something that its log may explain.
    pub doubts: u64,
}

/// Why the consumer is built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A partition does not advance.
    Stalled,
    /// An operator has accepted another topic of the same name.
    TopicChanged,
}

impl Cause {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::TopicChanged => "topic_changed",
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Act {
    /// Try to take partitions up, after a time, and answer with [`Event::Answered`]. `alone`: apart from others,
    /// which must not wait for what holds this one up.
    Take {
        asked: Vec<(Partition, Ticket)>,
        after: Duration,
        alone: bool,
    },
    /// What carries the ticket is not wanted any more.
    Forget(Ticket),
    /// A lane gets a partition, before the first of its records can come.
    Adopt {
        start: Start,
        owner_epoch: OwnerEpoch,
        rules: Arc<PartitionRules>,
    },
    /// A lane forgets a partition.
    Release(usize, Partition),
    /// The lanes forget revoked partitions; [`Event::Drained`] when nothing of them is under way, at once if `lost`.
    Drain {
        lanes: BTreeMap<usize, Vec<Partition>>,
        partitions: Vec<Partition>,
        lost: bool,
    },
    Order(Order),
    /// Write a halt, however long it takes, and answer with [`Event::HaltRecorded`].
    Record(Ticket, Halt),
    /// Say it in gauges, readiness and the log.
    Show(Shown),
    /// Build everything between the topic and the tables again.
    Rebuild(Cause),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    TakenUp {
        start: Start,
        owner_epoch: OwnerEpoch,
        log_end: Offset,
    },
    Waits(Partition, Obstacle),
    NoLongerWaits(Partition, Option<Obstacle>),
    Advanced(Partition),
    Fenced(Partition),
    Differs(Partition, Difference),
    NoLongerActive(Partition),
    Halted(Partition, StopReason),
    NoLongerHalted(Partition, StopReason),
    Resumed(Partition),
    Lag {
        partition: Partition,
        records: i64,
        age_seconds: i64,
    },
    /// How many partitions are active, and whether each of ours is in a state that has a name.
    Owned {
        active: usize,
        is_settled: bool,
    },
}

/// A piece of news about one partition.
pub(super) enum News {
    Assigned,
    Revoked,
    Answered(Ticket, Box<Answer>),
    Lane(AssignmentEpoch, LaneNews),
    Recorded(Ticket, Recorded),
    Resumed,
    Differs(AssignmentEpoch, Difference),
    Sighted(AssignmentEpoch, Sighted),
}

/// Takeovers that begin at the same time are tried together, but for those that are to be tried alone. What is to
/// be read is assigned in one step, after each lane has its partitions.
pub(super) fn together(acts: Vec<Act>) -> Vec<Act> {
    let (mut joined, mut starts): (Vec<Act>, Vec<Start>) = (Vec::with_capacity(acts.len()), Vec::new());
    for act in acts {
        match act {
            Act::Order(Order::Assign(more)) => starts.extend(more),
            Act::Take { asked: more, after: at, alone: false } => {
                let earlier = joined.iter_mut().find_map(|earlier| {
                    let Act::Take { asked, after, alone: false } = earlier else { return None };
                    (*after == at).then_some(asked)
                });
                match earlier {
                    Some(asked) => asked.extend(more),
                    None => joined.push(Act::Take { asked: more, after: at, alone: false }),
                }
            }
            other @ (Act::Take { .. }
            | Act::Forget(_)
            | Act::Adopt { .. }
            | Act::Release(..)
            | Act::Drain { .. }
            | Act::Order(_)
            | Act::Record(..)
            | Act::Show(_)
            | Act::Rebuild(_)) => joined.push(other),
        }
    }
    if !starts.is_empty() {
        joined.push(Act::Order(Order::Assign(starts)));
    }
    joined
}

/// Partitions that the group takes leave their lanes together, and are read until then.
pub(super) fn drain(acts: Vec<Act>, partitions: Vec<Partition>, lost: bool) -> Vec<Act> {
    let (mut lanes, mut others) = (BTreeMap::<usize, Vec<Partition>>::new(), Vec::new());
    for act in acts {
        match act {
            Act::Release(lane, partition) => lanes.entry(lane).or_default().push(partition),
            Act::Order(Order::Halt(_)) => {}
            other @ (Act::Take { .. }
            | Act::Forget(_)
            | Act::Adopt { .. }
            | Act::Drain { .. }
            | Act::Order(_)
            | Act::Record(..)
            | Act::Show(_)
            | Act::Rebuild(_)) => others.push(other),
        }
    }
    others.push(Act::Drain { lanes, partitions, lost });
    others
}
