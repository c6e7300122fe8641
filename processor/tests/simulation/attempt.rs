//! Attempts, between a lane and the rows: stands in for `consume/attempt.rs` and `store/apply.rs`. A process may
//! freeze between any two statements, a connection may break, an answer may be lost; what was sent happens. The
//! server refuses some records whatever is done, and some batches because they are too much.

use std::sync::Arc;

use processor::{
    consume::attempt::{Ended, Outcome, Work},
    domain::{
        applied::Applied,
        decode::{Content, Record},
        fold::{Cached, ClientState},
        progress::Progress,
    },
    store::{StoreError, apply::ApplyError},
};

use crate::{
    brokers::serial,
    check::{self, Checked},
    database::Compared,
    faults,
    node::Process,
    what::What,
    world::World,
};

/// After this time the server ends a transaction whose client says nothing.
const IDLE_IN_TRANSACTION_MS: u64 = 10_000;

/// How often a statement waits for a row until it is given up, each time this long.
const WAITS: (u32, u64) = (20, 250);

#[derive(Debug)]
pub struct Attempt {
    id: u64,
    lane: usize,
    work: Work,
    cached: Cached,
    step: Step,
    waits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Compare,
    Commit,
    Read,
}

impl World {
    /// Begins an attempt, and answers with its number.
    pub fn begin(&mut self, process: Process, lane: usize, work: Work, cached: Cached) -> u64 {
        self.attempts += 1;
        let step = if matches!(work, Work::Apply(_)) { Step::Compare } else { Step::Read };
        let at = self.now + self.delay();
        let attempt = Attempt { id: self.attempts, lane, work, cached, step, waits: 0 };
        self.later(at, What::Send(process, attempt));
        self.attempts
    }

    /// The process sends the next statement.
    pub fn send(&mut self, process: Process, attempt: Attempt) {
        let at = self.now + self.delay();
        self.later(at, What::Serve(process, attempt));
    }

    /// The statement has come to the server, whatever its process is doing now.
    pub fn serve(&mut self, process: Process, attempt: Attempt) -> Checked {
        let batch = Arc::clone(attempt.work.batch());
        let outcome = match attempt.step {
            _ if !self.database.is_up => match attempt.step {
                Step::Compare | Step::Read => failed(StoreError::Deadline),
                Step::Commit => unsettled(),
            },
            Step::Read => {
                let row = |partition| -> Progress { self.database.row(partition).progress.clone() };
                Outcome::Read(batch.runs.iter().map(|run| row(run.partition)).collect())
            }
            Step::Compare => match self.compare(process, &attempt) {
                Err(error) => failed(error),
                Ok(Compared::Missed) => unsettled(),
                Ok(Compared::Waits) if attempt.waits >= WAITS.0 => failed(StoreError::Deadline),
                Ok(Compared::Waits) => {
                    let again = Attempt { waits: attempt.waits + 1, ..attempt };
                    self.later(self.now + WAITS.1, What::Serve(process, again));
                    return Ok(());
                }
                Ok(Compared::Moved) => {
                    for run in &batch.runs {
                        check::remembered(self.database.row(run.partition), run, &attempt.cached)?;
                    }
                    let at = self.now + self.delay();
                    self.later(self.now + IDLE_IN_TRANSACTION_MS, What::Expire(attempt.id));
                    self.later(at, What::Send(process, Attempt { step: Step::Commit, ..attempt }));
                    return Ok(());
                }
            },
            Step::Commit => {
                if !self.is_healed && self.dice.one_in(25) {
                    self.database.abort(attempt.id);
                }
                let is_committed = self.database.commit(attempt.id, &self.brokers)?;
                self.note(|| format!("attempt {} of {process:?}: {is_committed} {batch:?}", attempt.id));
                let is_lost = !self.is_healed && self.dice.one_in(12);
                if is_lost && self.dice.one_in(2) {
                    // No answer at all: the lane walks away in the end.
                    return Ok(());
                }
                let known = |client| (client, ClientState { known: true, ..ClientState::default() });
                let after = batch.records().filter_map(Record::client_id).map(known).collect();
                let is_settled = is_committed && !is_lost;
                if is_settled {
                    Outcome::Applied(Applied { after, ..Applied::default() })
                } else {
                    unsettled()
                }
            }
        };
        let is_cache_wrong = attempt.step == Step::Commit && !self.is_healed && self.dice.one_in(20);
        let at = self.now + self.delay();
        let ended = Ended { is_cache_wrong, outcome };
        self.later(at, What::Ended(process, attempt.lane, attempt.id, ended));
        Ok(())
    }

    /// The statements up to the compare-and-set.
    fn compare(&mut self, process: Process, attempt: &Attempt) -> Result<Compared, StoreError> {
        let batch = attempt.work.batch();
        let is_refused =
            |record: &Record| matches!(record.content, Content::Close(_)) && serial(&record.raw) % 29 == 7;
        if self.knows(faults::REFUSED_RECORDS) && batch.records().any(is_refused) {
            let (sqlstate, why) = ("22021".to_owned(), "a record that no table takes");
            return Err(StoreError::Record { sqlstate, constraint: None, why });
        }
        if self.knows(faults::TOO_MUCH) && !self.is_healed && self.dice.one_in(12) {
            return Err(StoreError::TooMuch(sqlx::Error::PoolTimedOut));
        }
        Ok(self.database.compare_and_set(attempt.id, process, batch))
    }
}

fn unsettled() -> Outcome {
    Outcome::Failed(ApplyError::Unsettled("its transaction, or the answer to it, is lost"))
}

fn failed(error: StoreError) -> Outcome {
    Outcome::Failed(error.into())
}
