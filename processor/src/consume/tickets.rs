//! Tickets: one number for each takeover and each halt that is being written. What carries one that is not live
//! any more speaks of a stretch of ownership that has ended: its answer is dropped, its work aborted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// The number of one takeover, or of one halt that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Which tickets are live, as the tasks that carry them see it: a task for several partitions goes on when one of
/// them leaves, and writes nothing for that one.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<HashSet<Ticket>>>);

impl Live {
    /// Whether what the ticket was given for is still wanted.
    pub fn holds(&self, ticket: Ticket) -> bool {
        self.with(|live| live.contains(&ticket))
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashSet<Ticket>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The tasks behind the live tickets. Dropping it ends them all: a takeover outlives neither its ownership nor the
/// consumer that it was for.
#[derive(Debug, Default)]
pub struct Tickets {
    live: Live,
    tasks: HashMap<Ticket, Arc<AbortOnDrop>>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tickets {
    /// The live tickets, to be looked at by tasks.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Makes tickets live, before the task that carries them begins.
    pub fn open(&self, tickets: &[Ticket]) {
        self.live.with(|live| live.extend(tickets));
    }

    /// The task that works for some tickets. It ends with the last of them.
    pub fn carried_by(&mut self, tickets: &[Ticket], task: AbortHandle) {
        let task = Arc::new(AbortOnDrop(task));
        for ticket in tickets {
            // Of a former try of the same takeover: it has ended.
            let _former = self.tasks.insert(*ticket, Arc::clone(&task));
        }
    }

    /// What the ticket was given for is over, or not wanted any more.
    pub fn close(&mut self, ticket: Ticket) {
        self.live.with(|live| live.remove(&ticket));
        self.tasks.remove(&ticket);
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        // A task that cannot be aborted at its next await writes nothing either.
        self.live.with(HashSet::clear);
    }
}
