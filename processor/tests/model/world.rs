//! What the model's steps do: what the owners have in their hands, and what PostgreSQL does with a row, whose lock the
//! compare-and-set holds until its transaction ends.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use processor::{
    consume::{
        dialogs::{CacheBudget, DialogCache},
        partition::{Arrival, PartitionState},
    },
    domain::{
        counters::Counters,
        dead_letter::DeadLetterConfig,
        position::{LastRecord, NextOffset, Offset, OwnerEpoch, RecordDigest},
        progress::Progress,
        rules::PartitionRules,
        seat::{AssignmentEpoch, Seat},
    },
};
use schemas::{Partition, PartitionCount, Timestamp};

/// The row, and what stands in the tables for each offset: how often it was applied, and of which topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Database {
    pub next: u8,
    pub epoch: u8,
    pub last: Option<(u8, u8)>,
    pub applied: Vec<(u8, u8)>,
}

/// A transaction whose compare-and-set has moved the row: it holds the row's lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub owner: usize,
    pub step: Step,
    pub commit_sent: bool,
}

/// Records of one topic, applied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    pub epoch: u8,
    pub topic: u8,
    pub from: u8,
    pub to: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    None,
    Committed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Has no part in it.
    Away,
    /// Has read the row and found it sound; the epoch is not raised yet.
    Taking { seen: Database, topic: u8 },
    /// Has the records from..to in its hands.
    Reading(Step),
    /// Waits for the answer to COMMIT.
    Committing(Step, Answer),
    /// Does not know what became of its step.
    Unsettled(Step),
    /// Stands still until a person decides.
    Halted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub topic: u8,
    pub log_end: u8,
    pub database: Database,
    pub standby: Database,
    pub lock: Option<Transaction>,
    pub owners: [Owner; 2],
    pub takes: u8,
    pub failovers: u8,
    /// A commit moved the row back, or was made by a former owner.
    pub went_back: bool,
    pub zombie: bool,
}

impl State {
    pub fn owner(&mut self, owner: usize) -> Option<&mut Owner> {
        self.owners.get_mut(owner)
    }
}

/// Those of a topic that has never grown.
static RULES: LazyLock<Arc<PartitionRules>> =
    LazyLock::new(|| Arc::new(PartitionRules::new(Partition(0), PartitionCount::new(1).unwrap())));

/// A record comes, perhaps again, perhaps one too far: the production code says what it is.
pub fn deliver(state: &mut State, owner: usize, offset: u8) -> Option<()> {
    let Owner::Reading(step) = state.owners.get(owner)?.clone() else { return None };
    // The consumer of a topic that is gone reads no more.
    if step.topic != state.topic || offset >= state.log_end {
        return None;
    }
    let limit = DeadLetterConfig { dead_letters_per_minute_max: 1, dead_letters_percent_max: 1 };
    let seat = Seat {
        assignment_epoch: AssignmentEpoch(1),
        owner_epoch: OwnerEpoch(i64::from(step.epoch)),
        next_offset: NextOffset(i64::from(step.to)),
        rules: Arc::clone(&RULES),
    };
    let cache = DialogCache::new(CacheBudget::new(1));
    let mut partition = PartitionState::new(seat, cache, limit, Instant::now());
    *state.owner(owner)? = match partition.arrive(AssignmentEpoch(1), Offset(i64::from(offset))) {
        Arrival::Next => Owner::Reading(Step { to: offset + 1, ..step }),
        // Kafka leaves no gap in this model: the model only offers a record too early.
        Arrival::Stale | Arrival::Stop(_) | Arrival::Contradiction(_) => return None,
    };
    Some(())
}

pub fn commit(state: &mut State) -> Option<()> {
    let Transaction { owner, step, .. } = state.lock.take_if(|lock| lock.commit_sent)?;
    state.zombie |= step.epoch < state.database.epoch;
    state.went_back |= step.to < state.database.next;
    state.database.next = step.to;
    state.database.last = Some((step.topic, step.to - 1));
    state.database.applied.extend((step.from..step.to).map(|offset| (offset, step.topic)));
    state.database.applied.sort_unstable();
    answer(state, owner, step, Answer::Committed);
    Some(())
}

pub fn abort(state: &mut State) -> Option<()> {
    let Transaction { owner, step, .. } = state.lock.take()?;
    answer(state, owner, step, Answer::Failed);
    Some(())
}

/// Reaches an owner that still waits for it.
fn answer(state: &mut State, owner: usize, of: Step, with: Answer) {
    if let Some(Owner::Committing(step, answer @ Answer::None)) = state.owners.get_mut(owner)
        && *step == of
    {
        *answer = with;
    }
}

pub fn progress(database: &Database) -> Progress {
    Progress {
        next_offset: NextOffset(i64::from(database.next)),
        owner_epoch: OwnerEpoch(i64::from(database.epoch)),
        last_digest: database.last.map(|(topic, offset)| {
            let offset = i64::from(offset);
            LastRecord { offset: Offset(offset), digest: record(topic, offset) }
        }),
        counters: Counters { messages: i64::from(database.next), ..Counters::default() },
        ..Progress::born(Partition(0), Offset(0))
    }
}

/// The digest of a topic's record.
pub fn record(topic: u8, offset: i64) -> RecordDigest {
    let at = Timestamp::from_millis(offset).unwrap();
    RecordDigest::of(Some(&[topic]), None, at)
}
