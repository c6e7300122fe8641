//! The cache: what a partition's clients are, so that a message of a known client costs no question, and which
//! messages the clients have that this stretch of ownership has created, so that a new message costs none either.
//! Right because the partition has one owner, safe because the compare-and-set fences a former one;
//! dropped with the partition, and whenever an outcome is not known (pitfalls 82).
//!
//! Bounded by two generations: when the young one is full it becomes the old one, and what nobody has
//! asked for since then goes. How many clients and ids the generations may hold is a share of what the process may
//! hold: memory does not grow with the number of partitions.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use schemas::ClientId;

use crate::domain::{
    batch::Run,
    decode::{Content, Record},
    fold::{Cached, ClientState, ClientStates, Ids},
    id_set::IdSet,
};

/// What the ids of all clients of a process may take, in words of eight bytes: 16 MiB.
const ID_WORDS_MAX: usize = 2 << 20;

/// How many clients the caches of a process may hold together, and what the ids of their messages may take: each
/// cache has the same share.
#[derive(Debug)]
pub struct CacheBudget {
    clients_max: usize,
    id_words_max: usize,
    caches: AtomicUsize,
    /// Of the fingerprints of ids: nobody outside knows which ids share one.
    key: RandomState,
}

impl CacheBudget {
    /// A budget of `clients_max` clients that no cache uses yet.
    pub fn new(clients_max: usize) -> Arc<Self> {
        Self::with_id_words(clients_max, ID_WORDS_MAX)
    }

    fn with_id_words(clients_max: usize, id_words_max: usize) -> Arc<Self> {
        Arc::new(Self { clients_max, id_words_max, caches: AtomicUsize::new(0), key: RandomState::new() })
    }

    /// Of one generation of one cache.
    fn share(&self) -> Share {
        let generations = self.caches.load(Ordering::Relaxed).max(1) * 2;
        Share { clients: (self.clients_max / generations).max(1), id_words: self.id_words_max / generations }
    }
}

/// What a generation may hold.
#[derive(Debug, Clone, Copy)]
struct Share {
    clients: usize,
    id_words: usize,
}

/// A client in the cache.
#[derive(Debug)]
struct Entry {
    state: ClientState,
    /// The ids of all its messages, if they are known.
    ids: Option<IdSet>,
}

impl Entry {
    fn state(&self) -> ClientState {
        let ids = if self.ids.is_some() { Ids::Complete } else { Ids::Unknown };
        ClientState { ids, ..self.state }
    }

    fn id_words(&self) -> usize {
        self.ids.as_ref().map_or(0, IdSet::words)
    }

    /// Notes a state and the ids that came since. These are all ids only of a client that was created meanwhile: where
    /// the ids before them are not here any more, nothing is known.
    fn learn(&mut self, state: ClientState, more: &[u64]) {
        let before = match state.ids {
            Ids::Created => Some(IdSet::default()),
            Ids::Complete => self.ids.take(),
            Ids::Unknown => None,
        };
        self.ids = before.and_then(|ids| ids.with(more));
        self.state = state;
    }

    /// Forgets the ids if they take more than that.
    fn keep_within(&mut self, id_words: usize) {
        if self.id_words() > id_words {
            self.ids = None;
        }
    }
}

/// Clients that came at about the same time.
#[derive(Debug, Default)]
struct Generation {
    clients: HashMap<ClientId, Entry>,
    /// What the ids of all of them take.
    id_words: usize,
}

impl Generation {
    /// Puts a client in that is not here; its ids only if there is room.
    fn insert(&mut self, client: ClientId, mut entry: Entry, share: Share) {
        entry.keep_within(share.id_words.saturating_sub(self.id_words));
        self.id_words += entry.id_words();
        self.clients.insert(client, entry);
    }

    fn remove(&mut self, client: ClientId) -> Option<Entry> {
        let entry = self.clients.remove(&client)?;
        self.id_words -= entry.id_words();
        Some(entry)
    }

    /// Notes what a client is; `false` if it is not here.
    fn learn(&mut self, client: ClientId, state: ClientState, more: &[u64], share: Share) -> bool {
        let Some(entry) = self.clients.get_mut(&client) else { return false };
        self.id_words -= entry.id_words();
        entry.learn(state, more);
        entry.keep_within(share.id_words.saturating_sub(self.id_words));
        self.id_words += entry.id_words();
        true
    }

    /// Gives back what is beyond a share.
    fn fit(&mut self, share: Share) {
        let mut beyond = self.clients.len().saturating_sub(share.clients);
        if beyond == 0 && self.id_words <= share.id_words {
            return;
        }
        let mut id_words = 0;
        self.clients.retain(|_, entry| {
            if beyond > 0 {
                beyond -= 1;
                return false;
            }
            entry.keep_within(share.id_words.saturating_sub(id_words));
            id_words += entry.id_words();
            true
        });
        self.id_words = id_words;
        self.clients.shrink_to_fit();
    }
}

/// The states of a partition's clients.
#[derive(Debug)]
pub struct DialogCache {
    young: Generation,
    old: Generation,
    budget: Arc<CacheBudget>,
}

impl DialogCache {
    /// An empty cache, which takes its share of the budget until it is dropped.
    pub fn new(budget: Arc<CacheBudget>) -> Self {
        budget.caches.fetch_add(1, Ordering::Relaxed);
        Self { young: Generation::default(), old: Generation::default(), budget }
    }

    /// Gives back what is beyond the share: it is smaller after a further partition has come.
    pub fn fit(&mut self) {
        let share = self.budget.share();
        self.young.fit(share);
        self.old.fit(share);
    }

    /// Adds what is known of the clients of a run, and which of its messages may be stored already although all ids
    /// of their client are known. Says how many clients there are.
    pub fn recall(&mut self, run: &Run, cached: &mut Cached) -> usize {
        let (key, mut clients) = (self.budget.key.clone(), 0);
        for records in by_client(run).chunk_by(same_client) {
            clients += 1;
            let Some((client, _)) = records.first() else { continue };
            let found = self.look(*client, |entry| {
                if let Some(ids) = &entry.ids {
                    let may_be_stored = |record: &&Record| {
                        external_id(record).is_some_and(|id| ids.may_hold(key.hash_one(id)))
                    };
                    let suspects = records.iter().map(|(_, record)| *record).filter(may_be_stored);
                    cached.suspects.extend(suspects.map(|record| (record.raw.partition, record.raw.offset)));
                }
                entry.state()
            });
            cached.states.extend(found.map(|state| (*client, state)));
        }
        clients
    }

    /// Notes what the clients of a run are once it is applied.
    pub fn learn(&mut self, run: &Run, after: &ClientStates) {
        let (key, mut ids) = (self.budget.key.clone(), Vec::new());
        for records in by_client(run).chunk_by(same_client) {
            let Some((client, _)) = records.first() else { continue };
            let Some(state) = after.get(client) else { continue };
            ids.clear();
            if state.ids != Ids::Unknown {
                let of_messages = records.iter().filter_map(|(_, record)| external_id(record));
                ids.extend(of_messages.map(|id| key.hash_one(id)));
            }
            self.put(*client, *state, &ids);
        }
    }

    /// Looks at a client, if it is here: from now on it is one of the young.
    fn look<T>(&mut self, client: ClientId, see: impl FnOnce(&Entry) -> T) -> Option<T> {
        if let Some(entry) = self.young.clients.get(&client) {
            return Some(see(entry));
        }
        let entry = self.old.remove(client)?;
        let seen = see(&entry);
        self.insert(client, entry);
        Some(seen)
    }

    fn put(&mut self, client: ClientId, state: ClientState, more: &[u64]) {
        if self.young.learn(client, state, more, self.budget.share()) {
            return;
        }
        let mut entry = self.old.remove(client).unwrap_or(Entry { state, ids: None });
        entry.learn(state, more);
        self.insert(client, entry);
    }

    /// Puts a client that is in neither generation among the young.
    fn insert(&mut self, client: ClientId, entry: Entry) {
        let share = self.budget.share();
        if self.young.clients.len() >= share.clients {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client, entry, share);
    }

    pub fn forget(&mut self) {
        (self.young, self.old) = (Generation::default(), Generation::default());
    }
}

impl Drop for DialogCache {
    fn drop(&mut self) {
        self.budget.caches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The records of a run that are some client's, those of a client side by side.
fn by_client(run: &Run) -> Vec<(ClientId, &Record)> {
    let mut records = Vec::with_capacity(run.records.len());
    records.extend(run.records.iter().filter_map(|record| Some((record.client_id()?, &**record))));
    records.sort_unstable_by_key(|(client, _)| *client);
    records
}

fn same_client(one: &(ClientId, &Record), other: &(ClientId, &Record)) -> bool {
    one.0 == other.0
}

/// The id that a message has at its source.
fn external_id(record: &Record) -> Option<&str> {
    match &record.content {
        Content::Message(received) => Some(received.message.external_message_id().as_str()),
        Content::Close(_) | Content::DeadLetter(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const KNOWN: ClientState = ClientState { known: true, active: None, ids: Ids::Unknown };
    const COMPLETE: ClientState = ClientState { ids: Ids::Complete, ..KNOWN };
    const CREATED: ClientState = ClientState { ids: Ids::Created, ..KNOWN };

    fn client(n: u128) -> ClientId {
        ClientId::from_uuid(Uuid::from_u128(n))
    }

    fn find(cache: &mut DialogCache, client: ClientId) -> Option<ClientState> {
        cache.look(client, Entry::state)
    }

    fn ids(cache: &mut DialogCache, client: ClientId) -> Option<IdSet> {
        cache.look(client, |entry| entry.ids.clone()).flatten()
    }

    fn held(cache: &DialogCache) -> usize {
        cache.young.clients.len() + cache.old.clients.len()
    }

    #[test]
    fn all_ids_are_known_of_a_client_that_was_created_here_until_one_step_is_missed() {
        let mut cache = DialogCache::new(CacheBudget::new(100));
        cache.put(client(1), CREATED, &[1, 2]);
        cache.put(client(1), COMPLETE, &[2, 3]);
        assert_eq!(find(&mut cache, client(1)), Some(COMPLETE));
        assert_eq!(ids(&mut cache, client(1)), IdSet::default().with(&[1, 2, 3]));
        cache.put(client(1), KNOWN, &[]);
        cache.put(client(1), COMPLETE, &[4]);
        assert_eq!(find(&mut cache, client(1)), Some(KNOWN), "it is never known again");
        cache.put(client(2), COMPLETE, &[5]);
        assert_eq!(find(&mut cache, client(2)), Some(KNOWN), "what was before has left the cache");
        cache.put(client(3), CREATED, &(0..33).collect::<Vec<_>>());
        assert_eq!(find(&mut cache, client(3)), Some(KNOWN), "more than are kept of a client");
    }

    #[test]
    fn a_client_that_moves_between_the_generations_keeps_all_its_ids_or_none() {
        let mut cache = DialogCache::new(CacheBudget::new(8));
        cache.put(client(0), CREATED, &[0]);
        let mut all = vec![0];
        for n in 1..60_u64 {
            cache.put(client(u128::from(n)), CREATED, &[n]);
            if n % 3 == 0 {
                cache.put(client(0), COMPLETE, &[n]);
                all.push(n);
            }
        }
        assert_eq!(ids(&mut cache, client(0)), IdSet::default().with(&all));
        assert_eq!(ids(&mut cache, client(59)), IdSet::default().with(&[59]));
        assert_eq!(ids(&mut cache, client(1)), None);
    }

    #[test]
    fn the_cache_stays_bounded_and_keeps_what_is_asked_for() {
        let mut cache = DialogCache::new(CacheBudget::new(100));
        cache.put(client(0), KNOWN, &[]);
        for n in 1..=1_000 {
            cache.put(client(n), KNOWN, &[]);
            assert_eq!(find(&mut cache, client(0)), Some(KNOWN), "asked for all the time");
        }
        assert!(held(&cache) <= 100);
        assert_eq!(find(&mut cache, client(1)), None);
        assert_eq!(find(&mut cache, client(1_000)), Some(KNOWN));
        cache.forget();
        assert_eq!(find(&mut cache, client(0)), None);
    }

    #[test]
    fn a_newer_state_replaces_an_older_one_in_either_generation() {
        let mut cache = DialogCache::new(CacheBudget::new(4));
        for n in [1, 2, 3] {
            cache.put(client(n), ClientState::default(), &[]);
        }
        cache.put(client(1), KNOWN, &[]);
        assert_eq!(find(&mut cache, client(1)), Some(KNOWN));
    }

    #[test]
    fn all_caches_together_hold_no_more_than_the_budget_however_many_partitions_there_are() {
        let budget = CacheBudget::with_id_words(10_000, 3_000);
        let fill = |cache: &mut DialogCache| {
            (0..20_000).for_each(|n| cache.put(client(n), CREATED, &[1, 2]));
        };
        let held = |caches: &[DialogCache]| -> usize {
            let words: usize = caches.iter().map(|cache| cache.young.id_words + cache.old.id_words).sum();
            assert!(words <= 3_000, "{words}");
            let counted = |cache: &DialogCache| -> usize {
                [&cache.young, &cache.old]
                    .iter()
                    .flat_map(|one| one.clients.values())
                    .map(Entry::id_words)
                    .sum()
            };
            assert_eq!(words, caches.iter().map(counted).sum::<usize>());
            caches.iter().map(self::held).sum()
        };
        let mut caches = vec![DialogCache::new(Arc::clone(&budget))];
        fill(&mut caches[0]);
        assert_eq!(held(&caches), 10_000, "one partition may use all of it");
        caches.extend((1..128).map(|_| DialogCache::new(Arc::clone(&budget))));
        caches.iter_mut().for_each(DialogCache::fit);
        caches.iter_mut().skip(1).for_each(fill);
        assert!(held(&caches) <= 10_000, "{}", held(&caches));
        assert!(caches.iter().all(|cache| self::held(cache) >= 39), "each has its share");
        caches.truncate(1);
        fill(&mut caches[0]);
        assert!(
            (5_000..=10_000).contains(&held(&caches)),
            "what the others had is free again: {}",
            held(&caches)
        );
    }
}
