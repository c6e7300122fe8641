//! The cache: what a partition's clients are, so that a message of a known client costs no question.
//! Right because the partition has one owner, safe because the compare-and-set fences a former one;
//! dropped with the partition, and whenever an outcome is not known (pitfalls 82).
//!
//! Bounded by two generations: when the young one is full it becomes the old one, and what nobody has
//! asked for since then goes.

use std::collections::HashMap;

use schemas::ClientId;

use crate::fold::ClientState;

/// The states of a partition's clients.
#[derive(Debug)]
pub struct DialogCache {
    young: HashMap<ClientId, ClientState>,
    old: HashMap<ClientId, ClientState>,
    /// Of each generation.
    clients_max: usize,
}

impl DialogCache {
    /// An empty cache for at most `clients_max` clients.
    #[must_use]
    pub fn new(clients_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), clients_max: (clients_max / 2).max(1) }
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
        if self.young.len() >= self.clients_max && !self.young.contains_key(&client) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&client);
        self.young.insert(client, state);
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
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
        let mut cache = DialogCache::new(100);
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
        let mut cache = DialogCache::new(4);
        cache.put(client(1), unknown);
        cache.put(client(2), unknown);
        cache.put(client(3), unknown);
        cache.put(client(1), known);
        assert_eq!(cache.find(client(1)), Some(known));
    }
}
