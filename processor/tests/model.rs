//! The offset protocol, explored exhaustively: two owners, one partition, and everything that may happen
//! between them. Each owner is any number of steps late at any time, which is what a pause, a zombie and a
//! slow network are; a COMMIT may land after its owner has given it up; the database may go back to what a
//! standby had; the topic may be deleted and created again.
//!
//! What decides is the production code: [`judge`], [`guard`], and in [`world`] `PartitionState::arrive`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was explored")]

#[path = "model/world.rs"]
mod world;

use processor::{
    consume::guard::guard,
    domain::{
        position::{LogRange, NextOffset, Offset, OwnerEpoch},
        progress::{Verdict, judge},
    },
};
use stateright::{Checker as _, Model, Property};

use self::world::{
    Answer, Database, Owner, State, Step, Transaction, abort, commit, deliver, progress, record,
};

/// What is wrong with the protocol, to see that the model would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Neither next offset nor epoch is compared.
    NoCompare,
    /// The epoch is not part of the comparison.
    NoEpoch,
    /// After an unknown outcome the row is not read: the step is taken for not done.
    NotRead,
    /// A position that the database has gone back from is kept: the step is taken for done.
    Kept,
    /// The topic's id is not looked at.
    NoTopicId,
    /// Neither the topic's id nor the last record is looked at.
    NoIdentity,
}

#[derive(Debug, Clone)]
struct Protocol {
    records_max: u8,
    takes_max: u8,
    failovers_max: u8,
    recreations_max: u8,
    flaw: Flaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Recreate(u8),
    Assign(usize),
    Take(usize),
    Deliver(usize, u8),
    CompareAndSet(usize),
    SendCommit(usize),
    Commit,
    Abort,
    Hear(usize),
    LoseConnection(usize),
    Settle(usize),
    /// A crash, or the group takes the partition away: what is under way goes on without it.
    Leave(usize),
    Replicate,
    FailOver,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let database = Database { next: 0, epoch: 0, last: None, applied: Vec::new() };
        vec![State {
            topic: 0,
            log_end: self.records_max,
            standby: database.clone(),
            database,
            lock: None,
            owners: [Owner::Away, Owner::Away],
            takes: 0,
            failovers: 0,
            went_back: false,
            zombie: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Commit, Action::Abort, Action::Replicate, Action::FailOver]);
        actions.extend((0..=self.records_max).map(Action::Recreate));
        for owner in 0..state.owners.len() {
            actions.extend([
                Action::Assign(owner),
                Action::Take(owner),
                Action::CompareAndSet(owner),
                Action::SendCommit(owner),
                Action::Hear(owner),
                Action::LoseConnection(owner),
                Action::Settle(owner),
                Action::Leave(owner),
            ]);
            actions.extend((0..self.records_max).map(|offset| Action::Deliver(owner, offset)));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.act(&mut state, action)?;
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("each offset is applied exactly once", |_, state: &State| {
                let offsets = state.database.applied.iter().map(|(offset, _)| *offset);
                let mut sorted: Vec<u8> = offsets.collect();
                sorted.sort_unstable();
                sorted == (0..state.database.next).collect::<Vec<_>>()
            }),
            Property::always("no record of another topic is applied", |_, state: &State| {
                state.database.applied.iter().all(|(_, topic)| *topic == 0)
            }),
            Property::always("records of two topics are never mixed", |_, state: &State| {
                state.database.applied.windows(2).all(|pair| pair[0].1 == pair[1].1)
            }),
            Property::always("no former owner commits", |_, state: &State| !state.zombie),
            Property::always("the row never goes back within a timeline", |_, state: &State| {
                !state.went_back
            }),
            Property::always("progress stays possible", |protocol: &Self, state| protocol.can_go_on(state)),
            Property::sometimes("everything is applied", |protocol: &Self, state: &State| {
                state.database.next == protocol.records_max
            }),
        ]
    }
}

impl Protocol {
    /// One step; `None` if it cannot happen now.
    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Recreate(log_end) => {
                state.topic = Some(state.topic + 1).filter(|topic| *topic <= self.recreations_max)?;
                state.log_end = log_end;
            }
            Action::Assign(owner) => {
                matches!(state.owners.get(owner)?, Owner::Away).then_some(())?;
                *state.owner(owner)? = self.take_up(state);
            }
            Action::Take(owner) => self.take(state, owner)?,
            Action::Deliver(owner, offset) => deliver(state, owner, offset)?,
            Action::CompareAndSet(owner) => self.compare_and_set(state, owner)?,
            Action::SendCommit(owner) => {
                let transaction = state.lock.as_mut().filter(|lock| lock.owner == owner)?;
                transaction.commit_sent = true;
            }
            Action::Commit => commit(state)?,
            Action::Abort => abort(state)?,
            Action::Hear(owner) => {
                let Owner::Committing(step, answer) = state.owners.get(owner)?.clone() else { return None };
                *state.owner(owner)? = match answer {
                    Answer::None => return None,
                    Answer::Committed => Owner::Reading(Step { from: step.to, ..step }),
                    Answer::Failed => Owner::Unsettled(step),
                };
            }
            Action::LoseConnection(owner) => {
                let Owner::Committing(step, _) = state.owners.get(owner)?.clone() else { return None };
                *state.owner(owner)? = Owner::Unsettled(step);
            }
            Action::Settle(owner) => self.settle(state, owner)?,
            Action::Leave(owner) => *state.owner(owner)? = Owner::Away,
            Action::Replicate => state.standby = state.database.clone(),
            Action::FailOver => {
                state.failovers = Some(state.failovers + 1).filter(|n| *n <= self.failovers_max)?;
                if state.lock.is_some() {
                    abort(state)?;
                }
                state.database = state.standby.clone();
            }
        }
        Some(())
    }

    /// The checks before a partition is taken up, in the order of `decide`.
    fn take_up(&self, state: &State) -> Owner {
        let (registered, row) = (0, progress(&state.database));
        if state.topic != registered && !matches!(self.flaw, Flaw::NoTopicId | Flaw::NoIdentity) {
            return Owner::Halted;
        }
        let log = LogRange { start: Offset(0), end: Offset(i64::from(state.log_end)) };
        match guard(&row, log) {
            Ok(Some((last, digest)))
                if self.flaw != Flaw::NoIdentity && record(state.topic, last.0) != digest =>
            {
                Owner::Halted
            }
            Ok(_) => Owner::Taking { seen: state.database.clone(), topic: state.topic },
            Err(_) => Owner::Halted,
        }
    }

    /// Raises the epoch of a row that is as it was read; an update waits for the row's lock.
    fn take(&self, state: &mut State, owner: usize) -> Option<()> {
        let Owner::Taking { seen, topic } = state.owners.get(owner)?.clone() else { return None };
        if state.lock.is_some() {
            return None;
        }
        *state.owner(owner)? = Owner::Away;
        state.takes = Some(state.takes + 1).filter(|takes| *takes <= self.takes_max)?;
        if (seen.next, seen.epoch) == (state.database.next, state.database.epoch) {
            state.database.epoch += 1;
            let (epoch, from) = (state.database.epoch, state.database.next);
            *state.owner(owner)? = Owner::Reading(Step { epoch, topic, from, to: from });
        }
        Some(())
    }

    fn compare_and_set(&self, state: &mut State, owner: usize) -> Option<()> {
        let Owner::Reading(step) = state.owners.get(owner)?.clone() else { return None };
        if state.lock.is_some() || step.from == step.to {
            return None;
        }
        let is_ours = self.flaw == Flaw::NoEpoch || step.epoch == state.database.epoch;
        let moves = self.flaw == Flaw::NoCompare || (is_ours && step.from == state.database.next);
        *state.owner(owner)? = if moves {
            state.lock = Some(Transaction { owner, step, commit_sent: false });
            Owner::Committing(step, Answer::None)
        } else {
            Owner::Unsettled(step)
        };
        Some(())
    }

    /// Reads the row on a server that can be written to, and lets the production code judge.
    fn settle(&self, state: &mut State, owner: usize) -> Option<()> {
        let Owner::Unsettled(step) = state.owners.get(owner)?.clone() else { return None };
        let (from, to) = (NextOffset(i64::from(step.from)), NextOffset(i64::from(step.to)));
        let row = progress(&state.database);
        let verdict = match judge(Some(&row), from, to, OwnerEpoch(i64::from(step.epoch))) {
            Verdict::Redo if self.flaw == Flaw::NotRead => Verdict::Done,
            Verdict::Fenced if self.flaw == Flaw::Kept => Verdict::Done,
            verdict => verdict,
        };
        *state.owner(owner)? = match verdict {
            Verdict::Done => Owner::Reading(Step { from: step.to, ..step }),
            Verdict::Redo => Owner::Reading(step),
            Verdict::Fenced => Owner::Away,
        };
        Some(())
    }

    /// Whether one owner, left in peace, brings the row to the end of the log, or halts for a reason.
    fn can_go_on(&self, state: &State) -> bool {
        let mut state = state.clone();
        if state.lock.is_some() && abort(&mut state).is_none() {
            return false;
        }
        (state.owners, state.takes) = ([Owner::Away, Owner::Away], 0);
        let mut steps = vec![Action::Assign(0), Action::Take(0)];
        steps.extend((state.database.next..state.log_end).map(|offset| Action::Deliver(0, offset)));
        steps.extend([Action::CompareAndSet(0), Action::SendCommit(0), Action::Commit, Action::Hear(0)]);
        for step in steps {
            if state.owners[0] == Owner::Halted {
                return state.topic > 0;
            }
            // Nothing to apply is no hindrance.
            let _idle = self.act(&mut state, step).is_none();
        }
        state.database.next == state.log_end
    }
}

fn explore(protocol: Protocol) -> impl stateright::Checker<Protocol> {
    let explored = protocol.checker().threads(2).spawn_bfs().join();
    println!("{} states", explored.unique_state_count());
    explored
}

const EVERYTHING: Protocol =
    Protocol { records_max: 2, takes_max: 2, failovers_max: 1, recreations_max: 1, flaw: Flaw::None };

#[test]
fn whatever_happens_to_two_owners_each_offset_is_applied_exactly_once() {
    explore(Protocol { takes_max: 3, recreations_max: 0, ..EVERYTHING }).assert_properties();
}

#[test]
fn whatever_happens_to_the_topic_its_records_alone_are_applied() {
    explore(EVERYTHING).assert_properties();
}

#[test]
fn five_records_are_applied_exactly_once_by_two_owners() {
    let protocol = Protocol { records_max: 5, failovers_max: 0, recreations_max: 0, ..EVERYTHING };
    explore(protocol).assert_properties();
}

#[test]
fn the_last_record_alone_tells_a_topic_that_was_created_again() {
    // Without a failover: one that loses the raise of an epoch lets two owners have the same, and a former
    // one may then append to what the new one applied. Of one topic that is the same record; only the topic's
    // id keeps two topics apart.
    let protocol = Protocol { flaw: Flaw::NoTopicId, failovers_max: 0, ..EVERYTHING };
    let explored = explore(protocol);
    // Before anything was applied there is no last record to tell: then all are of the new topic.
    explored.assert_no_discovery("records of two topics are never mixed");
    explored.assert_no_discovery("each offset is applied exactly once");
}

#[test]
fn a_protocol_with_a_flaw_is_found_out() {
    let small = Protocol { recreations_max: 0, ..EVERYTHING };
    for (flaw, property) in [
        (Flaw::NoCompare, "each offset is applied exactly once"),
        (Flaw::NoEpoch, "no former owner commits"),
        (Flaw::NoIdentity, "no record of another topic is applied"),
    ] {
        let recreations_max = u8::from(flaw == Flaw::NoIdentity);
        let explored = explore(Protocol { flaw, recreations_max, ..small.clone() });
        assert!(explored.discovery(property).is_some(), "{flaw:?}");
    }
    // The compare-and-set makes these harmless: a position that is wrong moves nothing.
    for flaw in [Flaw::NotRead, Flaw::Kept] {
        explore(Protocol { flaw, ..small.clone() }).assert_properties();
    }
}
