//! The cache: what a partition's clients are, so that a message of a known client costs no question.
//! Right because the partition has one owner, safe because the compare-and-set fences a former one;
//! dropped with the partition, and whenever an outcome is not known (pitfalls 82).
//!
//! Bounded by two generations: when the young one is full it becomes the old one, and what nobody has
//! asked for since then goes. How many clients the generations may hold is a share of what the process may
//! hold: memory does not grow with the number of partitions.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use schemas::ClientId;

use crate::domain::fold::ClientState;

/// How many clients the caches of a process may hold together, each the same share.
#[derive(Debug)]
pub struct CacheBudget {
    clients_max: usize,
    caches: AtomicUsize,
}

impl CacheBudget {
    /// A budget of `clients_max` clients that no cache uses yet.
    pub fn new(clients_max: usize) -> Arc<Self> {
        Arc::new(Self { clients_max, caches: AtomicUsize::new(0) })
    }

    /// Of one generation of one cache.
    fn share(&self) -> usize {
        (self.clients_max / self.caches.load(Ordering::Relaxed).max(1) / 2).max(1)
    }
}

/// The states of a partition's clients.
#[derive(Debug)]
pub struct DialogCache {
    young: HashMap<ClientId, ClientState>,
    old: HashMap<ClientId, ClientState>,
    budget: Arc<CacheBudget>,
}

impl DialogCache {
    /// An empty cache, which takes its share of the budget until it is dropped.
    pub fn new(budget: Arc<CacheBudget>) -> Self {
        budget.caches.fetch_add(1, Ordering::Relaxed);
        Self { young: HashMap::new(), old: HashMap::new(), budget }
    }

    /// Gives back what is beyond the share: it is smaller after a further partition has come.
    pub fn fit(&mut self) {
        let share = self.budget.share();
        for generation in [&mut self.young, &mut self.old] {
            let mut beyond = generation.len().saturating_sub(share);
            if beyond > 0 {
                generation.retain(|_, _| {
                    let keeps = beyond == 0;
                    beyond = beyond.saturating_sub(1);
                    keeps
                });
                generation.shrink_to_fit();
            }
        }
    }

    /// What a client is, if it is known.
    pub fn find(&mut self, client: ClientId) -> Option<ClientState> {
        if let Some(state) = self.young.get(&client) {
            return Some(*state);
        }
        let state = self.old.remove(&client)?;
        self.put(client, state);
        Some(state)
    }

    /// Notes what a client is now.
    pub fn put(&mut self, client: ClientId, state: ClientState) {
        if let Some(known) = self.young.get_mut(&client) {
            *known = state;
            return;
        }
        if self.young.len() >= self.budget.share() {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&client);
        self.young.insert(client, state);
    }

    pub fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

impl Drop for DialogCache {
    fn drop(&mut self) {
        self.budget.caches.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_asked_for() {
        let client = |n| ClientId::from_uuid(Uuid::from_u128(n));
        let state = ClientState { known: true, active: None };
        let mut cache = DialogCache::new(CacheBudget::new(100));
        cache.put(client(0), state);
        for n in 1..=1_000 {
            cache.put(client(n), state);
            assert_eq!(cache.find(client(0)), Some(state), "asked for all the time");
        }
        assert!(cache.young.len() + cache.old.len() <= 100);
        assert_eq!(cache.find(client(1)), None);
        assert_eq!(cache.find(client(1_000)), Some(state));
        cache.forget();
        assert_eq!(cache.find(client(0)), None);
    }

    #[test]
    fn a_newer_state_replaces_an_older_one_in_either_generation() {
        let client = |n| ClientId::from_uuid(Uuid::from_u128(n));
        let (known, unknown) = (ClientState { known: true, active: None }, ClientState::default());
        let mut cache = DialogCache::new(CacheBudget::new(4));
        cache.put(client(1), unknown);
        cache.put(client(2), unknown);
        cache.put(client(3), unknown);
        cache.put(client(1), known);
        assert_eq!(cache.find(client(1)), Some(known));
    }

    #[test]
    fn all_caches_together_hold_no_more_than_the_budget_however_many_partitions_there_are() {
        let client = |n| ClientId::from_uuid(Uuid::from_u128(n));
        let budget = CacheBudget::new(10_000);
        let fill = |cache: &mut DialogCache| {
            (0..20_000).for_each(|n| cache.put(client(n), ClientState::default()));
        };
        let held = |caches: &[DialogCache]| -> usize {
            caches.iter().map(|cache| cache.young.len() + cache.old.len()).sum()
        };
        let mut caches = vec![DialogCache::new(Arc::clone(&budget))];
        fill(&mut caches[0]);
        assert_eq!(held(&caches), 10_000, "one partition may use all of it");
        caches.extend((1..128).map(|_| DialogCache::new(Arc::clone(&budget))));
        caches.iter_mut().for_each(DialogCache::fit);
        caches.iter_mut().skip(1).for_each(fill);
        assert!(held(&caches) <= 10_000, "{}", held(&caches));
        assert!(caches.iter().all(|cache| cache.young.len() + cache.old.len() >= 39), "each has its share");
        caches.truncate(1);
        fill(&mut caches[0]);
        assert!(
            (5_000..=10_000).contains(&held(&caches)),
            "what the others had is free again: {}",
            held(&caches)
        );
    }
}
