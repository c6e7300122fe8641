//! Maps and sets that live as long as one batch is worked on: a hasher that is quick, not one that withstands who
//! watches it. Each is seeded anew, its seed is never used again, and nobody sees how long it takes; the caches, which
//! live as long as a partition is owned, keep the standard library's hasher.

use std::collections::{HashMap, HashSet};

type Hasher = foldhash::fast::RandomState;

pub type BatchMap<K, V> = HashMap<K, V, Hasher>;

pub type BatchSet<K> = HashSet<K, Hasher>;

/// An empty map with room for so many.
pub fn map<K, V>(room: usize) -> BatchMap<K, V> {
    BatchMap::with_capacity_and_hasher(room, Hasher::default())
}

/// An empty set with room for so many.
pub fn set<K>(room: usize) -> BatchSet<K> {
    BatchSet::with_capacity_and_hasher(room, Hasher::default())
}
