//! What must be true, whatever happens. What is filed, and why a partition halts, is held against the brokers' own
//! chronicle, what is owned against the group's callbacks. Four invariants need the machine's own word:
//! [`ONE_THING`] asks what it says of its partitions, [`FRESH`] which of them its acts have given to lanes and what
//! the lanes expect, [`REMEMBERED`] what the lanes know of clients, [`NOTICED`] what it believes of their rows.

use processor::{
    domain::{batch::Run, fold::Cached, halt::StopReason},
    store::halts::{Halt, SeenRow},
};

use crate::{
    brokers::{Brokers, partition, serial},
    database::Row,
};

pub const ORDER: &str = "each record is filed once, and in its order";
pub const TOPIC: &str = "only records of the registered topic are filed";
pub const COUNTED: &str = "a row accounts for each of its offsets";
pub const FENCED: &str = "only the owner of the row's epoch commits";
pub const FRESH: &str = "nothing stale is accepted";
pub const REMEMBERED: &str = "what a lane knows of a client is in the tables";
pub const ONE_THING: &str = "a partition is one thing at a time, and each callback is answered once";
pub const WANTED: &str = "nobody takes what was taken from it";
pub const TRUE_HALT: &str = "a halt is true of the row that it stops";
pub const CAUSE: &str = "a partition halts only for a cause";
pub const LIVES: &str = "a process ends only when it is killed";
pub const NOTICED: &str = "an owner notices within 20 s that its row has moved back";
pub const NO_PANIC: &str = "nothing panics";
pub const FINISHED: &str = "what can be applied is applied in the end, and the rest stands still by name";

/// An invariant that does not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    pub invariant: &'static str,
    pub detail: String,
}

pub type Checked<T = ()> = Result<T, Violation>;

/// `Ok` if it holds.
pub fn must(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}

/// Files the records of a run behind those of its row, each of which must be the one that follows in the log. What
/// lies between them must be control records, and counted as such.
pub fn file(row: &mut Row, run: &Run, brokers: &Brokers) -> Checked {
    let (topic, partition) = (brokers.registered, run.partition);
    let (mut next, mut control) = (row.progress.next_offset.0, 0);
    let is_control = |offset: &i64| brokers.is_control(topic, partition, *offset);
    for record in &run.records {
        let serial = serial(&record.raw);
        let link = brokers.link(serial);
        must(link.topic == topic, TOPIC, || format!("{link:?} in {run:?}"))?;
        must(link.after == row.tail && link.partition == partition, ORDER, || {
            format!("{link:?} is filed behind {:?}", row.tail)
        })?;
        must(link.offset >= next && (next..link.offset).all(|offset| is_control(&offset)), COUNTED, || {
            format!("{link:?} is filed at {next}")
        })?;
        control += link.offset - next;
        (row.tail, next) = (Some(serial), link.offset + 1);
        row.clients.extend(record.client_id());
    }
    must(next <= run.to.0 && (next..run.to.0).all(|offset| is_control(&offset)), COUNTED, || {
        format!("{next}..{} of partition {partition} hold records", run.to)
    })?;
    control += run.to.0 - next;
    must(run.control() == control, COUNTED, || format!("{} counted, {control} passed over", run.control()))
}

/// What is said of the clients of a run must be so in the row's tables before it is applied.
pub fn remembered(row: &Row, run: &Run, cached: &Cached) -> Checked {
    let clients = run.records.iter().filter_map(|record| record.client_id());
    let mut known = clients.filter(|client| cached.states.contains_key(client));
    let wrong = known.find(|client| !row.clients.contains(client));
    must(wrong.is_none(), REMEMBERED, || format!("{wrong:?} before {run:?}"))
}

/// The numbers of a halt must be those of its row, and an owner must be the row's owner.
pub fn halt(row: &Row, halt: &Halt) -> Checked {
    let (next, last) = (row.progress.next_offset, row.progress.last_digest);
    let is_true = match &halt.reason {
        StopReason::BelowLogStart { next_offset, .. } | StopReason::BeyondLogEnd { next_offset, .. } => {
            *next_offset == next
        }
        StopReason::DigestMismatch { offset } => last.is_some_and(|last| last.offset == *offset),
        StopReason::OffsetGap { expected, .. } => *expected == next,
        _ => true,
    };
    let is_owner = match halt.seen {
        SeenRow::Owned(owner_epoch) => owner_epoch == row.progress.owner_epoch,
        SeenRow::Read(..) | SeenRow::Absent => true,
    };
    must(is_true && is_owner, TRUE_HALT, || format!("{halt:?} of {row:?}"))
}

/// The world must have done what a halt names, where the halt says.
pub fn cause(reason: &StopReason, at: usize, brokers: &Brokers) -> Checked {
    let is_other = |offset| brokers.is_recreated || brokers.was_lost(at, offset);
    let has_cause = match reason {
        StopReason::TopicRecreated { .. } => brokers.is_recreated,
        StopReason::OtherCluster { .. } => brokers.is_foreign,
        StopReason::BelowLogStart { next_offset, log_start } => {
            next_offset.offset() < *log_start && brokers.began_at(at, log_start.0)
        }
        StopReason::BeyondLogEnd { next_offset, log_end } => {
            next_offset.offset() > *log_end && is_other(log_end.0)
        }
        StopReason::DigestMismatch { offset } => is_other(offset.0),
        StopReason::OffsetGap { expected, found } => brokers.is_holed(partition(at), expected.0, found.0),
        _ => false,
    };
    must(has_cause, CAUSE, || format!("partition {at}: {reason}"))
}
