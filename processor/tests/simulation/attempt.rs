//! Attempts, between a lane and the rows: stands in for `consume/attempt.rs` and `store/apply.rs`. A process may
//! freeze between any two statements, a connection may break, an answer may be lost; what was sent happens.

use std::sync::Arc;

use processor::{consume::attempt::Work, domain::progress::Progress};

use crate::{check::Checked, database::Compared, lane::Outcome, node::Process, what::What, world::World};

/// After this time the server ends a transaction whose client says nothing.
const IDLE_IN_TRANSACTION_MS: u64 = 10_000;

/// How often a statement waits for a row until it is given up, each time this long.
const WAITS: (u32, u64) = (20, 250);

#[derive(Debug)]
pub struct Attempt {
    id: u64,
    lane: usize,
    work: Work,
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
    pub fn begin(&mut self, process: Process, lane: usize, work: Work) {
        let step = if matches!(work, Work::Apply(_)) { Step::Compare } else { Step::Read };
        let at = self.now + self.delay();
        let attempt = Attempt { id: self.attempts, lane, work, step, waits: 0 };
        self.later(at, What::Send(process, attempt));
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
                Step::Compare | Step::Read => Outcome::Refused,
                Step::Commit => Outcome::Unsettled,
            },
            Step::Read => {
                let row = |partition| -> Progress { self.database.row(partition).progress.clone() };
                Outcome::Read(batch.runs.iter().map(|run| row(run.partition)).collect())
            }
            Step::Compare => match self.database.compare_and_set(attempt.id, process, &batch) {
                Compared::Missed => Outcome::Unsettled,
                Compared::Waits if attempt.waits >= WAITS.0 => Outcome::Refused,
                Compared::Waits => {
                    let again = Attempt { waits: attempt.waits + 1, ..attempt };
                    self.later(self.now + WAITS.1, What::Serve(process, again));
                    return Ok(());
                }
                Compared::Moved => {
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
                if is_committed && !is_lost { Outcome::Applied } else { Outcome::Unsettled }
            }
        };
        let at = self.now + self.delay();
        self.later(at, What::Ended(process, attempt.lane, attempt.id, outcome));
        Ok(())
    }
}
