//! What is held of requests whose sender is not proven yet. A signature covers the body, so the body of a
//! signed request is read before anybody knows whether the request is genuine. These bodies have a budget of
//! their own, so that strangers cannot use up what producers share.
//!
//! A stranger can always fill this budget: the name of a producer is no secret. So full does not refuse the
//! newcomer. The request that has been read for the longest goes, out of the group (those that name one
//! producer, or none) that holds the most. A genuine body comes within milliseconds and is gone before it is the
//! oldest; and who floods under one producer's name takes nothing from the others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use service_kit::{
    count::signed,
    prometheus::{IntCounter, IntGauge},
};
use tokio::sync::oneshot;

use crate::{config::Limits, metrics::Metrics};

/// The requests that name one producer; those that name none.
type Name = Option<String>;

/// Completes when the request has to make room; its bytes are not counted any more.
pub type Evicted = oneshot::Receiver<()>;

/// Counts requests, and the bytes of their bodies, until their senders are proven.
#[derive(Debug)]
pub struct Unproven {
    ledger: Mutex<Ledger>,
    requests: IntGauge,
    bytes: IntGauge,
    evicted: IntCounter,
}

/// A request's place among those whose sender is not proven; dropping it leaves.
#[derive(Debug)]
pub struct Stay {
    unproven: Arc<Unproven>,
    name: Name,
    number: u64,
}

impl Unproven {
    pub fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let requests_max = usize::try_from(limits.unproven_requests_max).unwrap_or(usize::MAX);
        Self {
            ledger: Mutex::new(Ledger::new(requests_max, limits.unproven_bytes_max.into())),
            requests: metrics.ingest_unproven_requests.clone(),
            bytes: metrics.ingest_unproven_bytes.clone(),
            evicted: metrics.ingest_unproven_evicted_total.clone(),
        }
    }

    /// Lets a request in that names this producer.
    pub fn enter(self: &Arc<Self>, name: Option<&str>) -> (Stay, Evicted) {
        let (evict, evicted) = oneshot::channel();
        let name = name.map(str::to_owned);
        let number = self.change(|ledger| ledger.enter(name.clone(), evict));
        (Stay { unproven: Arc::clone(self), name, number }, evicted)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.lock();
        let changed = change(&mut ledger);
        self.evicted.inc_by(ledger.make_room());
        self.requests.set(signed(ledger.requests));
        self.bytes.set(signed(ledger.bytes));
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stay {
    /// Counts `bytes` more; whoever has to make room for them learns it by [`Evicted`].
    pub fn grow(&self, bytes: usize) {
        self.unproven.change(|ledger| ledger.grow(&self.name, self.number, bytes as u64));
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.unproven.change(|ledger| ledger.leave(&self.name, self.number));
    }
}

/// The requests of one group by their number, so that the first is the oldest.
#[derive(Debug, Default)]
struct Group {
    held: BTreeMap<u64, Held>,
    bytes: u64,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    evict: oneshot::Sender<()>,
}

/// Who holds what. Without a lock of its own.
#[derive(Debug)]
struct Ledger {
    requests_max: usize,
    bytes_max: u64,
    groups: HashMap<Name, Group>,
    requests: usize,
    bytes: u64,
    last_number: u64,
}

impl Ledger {
    fn new(requests_max: usize, bytes_max: u64) -> Self {
        Self { requests_max, bytes_max, groups: HashMap::new(), requests: 0, bytes: 0, last_number: 0 }
    }

    fn enter(&mut self, name: Name, evict: oneshot::Sender<()>) -> u64 {
        self.last_number += 1;
        self.requests += 1;
        self.groups.entry(name).or_default().held.insert(self.last_number, Held { bytes: 0, evict });
        self.last_number
    }

    /// Nothing for a request that is not here any more: it had to make room.
    fn grow(&mut self, name: &Name, number: u64, bytes: u64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(held) = group.held.get_mut(&number) else { return };
        held.bytes += bytes;
        group.bytes += bytes;
        self.bytes += bytes;
    }

    fn leave(&mut self, name: &Name, number: u64) {
        let _was_here = self.remove(name, number).is_some();
    }

    fn remove(&mut self, name: &Name, number: u64) -> Option<Held> {
        let group = self.groups.get_mut(name)?;
        let held = group.held.remove(&number)?;
        group.bytes -= held.bytes;
        self.bytes -= held.bytes;
        self.requests -= 1;
        if group.held.is_empty() {
            self.groups.remove(name);
        }
        Some(held)
    }

    /// Evicts until the limits hold; how many.
    fn make_room(&mut self) -> u64 {
        let mut evicted = 0;
        while let Some((name, number)) = self.one_too_many() {
            let Some(held) = self.remove(&name, number) else { break };
            // Nobody listens only if the request has just ended.
            let _ended = held.evict.send(()).is_err();
            evicted += 1;
        }
        evicted
    }

    /// Who goes next, if somebody has to.
    fn one_too_many(&self) -> Option<(Name, u64)> {
        let groups = self.groups.iter();
        let largest = if self.bytes > self.bytes_max {
            groups.max_by_key(|(_, group)| group.bytes)
        } else if self.requests > self.requests_max {
            groups.max_by_key(|(_, group)| group.held.len())
        } else {
            None
        };
        let (name, group) = largest?;
        let (number, _) = group.held.first_key_value()?;
        Some((name.clone(), *number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn enter(ledger: &mut Ledger, name: &str) -> (u64, Evicted) {
        let (evict, evicted) = oneshot::channel();
        (ledger.enter(Some(name.to_owned()), evict), evicted)
    }

    fn named(name: &str) -> Name {
        Some(name.to_owned())
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let mut ledger = Ledger::new(10, 100);
        let (slow, mut slow_evicted) = enter(&mut ledger, "crm");
        let (next, mut next_evicted) = enter(&mut ledger, "crm");
        ledger.grow(&named("crm"), slow, 60);
        ledger.grow(&named("crm"), next, 40);
        assert_eq!(ledger.make_room(), 0, "just full");
        ledger.grow(&named("crm"), next, 1);
        assert_eq!((ledger.make_room(), ledger.bytes), (1, 41));
        assert!(slow_evicted.try_recv().is_ok() && next_evicted.try_recv().is_err());
        ledger.grow(&named("crm"), slow, 100);
        assert_eq!(ledger.bytes, 41, "who is gone does not count");
    }

    #[test]
    fn who_floods_under_one_name_makes_room_for_the_other_names() {
        let mut ledger = Ledger::new(1_000, 1_000);
        let (quiet, mut quiet_evicted) = enter(&mut ledger, "quiet");
        ledger.grow(&named("quiet"), quiet, 300);
        for _ in 0..100 {
            let (number, _evicted) = enter(&mut ledger, "flooded");
            ledger.grow(&named("flooded"), number, 100);
            ledger.make_room();
        }
        assert!(quiet_evicted.try_recv().is_err(), "older than all, and still here");
        assert_eq!((ledger.bytes, ledger.requests), (1_000, 8));
    }

    #[test]
    fn requests_without_a_byte_are_limited_as_well() {
        let mut ledger = Ledger::new(2, 100);
        let (_, mut first) = enter(&mut ledger, "crm");
        let _others = [enter(&mut ledger, "crm"), enter(&mut ledger, "crm")];
        assert_eq!((ledger.make_room(), ledger.requests), (1, 2));
        assert!(first.try_recv().is_ok());
    }

    proptest! {
        /// Whatever comes, the limits hold after each step, and nothing is left when all have gone.
        #[test]
        fn the_limits_hold_and_nothing_leaks(steps in proptest::collection::vec((0u8..3, 0usize..40, 0u64..50), 0..300)) {
            let mut ledger = Ledger::new(8, 100);
            let mut entered: Vec<(Name, u64, Evicted)> = Vec::new();
            for (step, which, bytes) in steps {
                match (step, entered.len()) {
                    (0, _) | (_, 0) => {
                        let name = ["a", "b", "c"][which % 3];
                        let (number, evicted) = enter(&mut ledger, name);
                        entered.push((named(name), number, evicted));
                    }
                    (1, count) => {
                        let (name, number, _) = &entered[which % count];
                        ledger.grow(name, *number, bytes);
                    }
                    (_, count) => {
                        let (name, number, _) = entered.swap_remove(which % count);
                        ledger.leave(&name, number);
                    }
                }
                ledger.make_room();
                prop_assert!(ledger.bytes <= 100 && ledger.requests <= 8);
                let held: u64 = ledger.groups.values().map(|group| group.bytes).sum();
                prop_assert_eq!(held, ledger.bytes);
            }
            for (name, number, _) in entered {
                ledger.leave(&name, number);
            }
            prop_assert!(ledger.groups.is_empty() && ledger.bytes == 0 && ledger.requests == 0);
        }
    }
}
