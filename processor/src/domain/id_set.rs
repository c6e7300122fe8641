//! The ids of a client's messages, as an owner that has seen all of them keeps them: fingerprints of 64 bits under a
//! key of the process. What is in no set of all ids is certainly new; what is in it may be, and has to be looked up.
//! Bounded. Sync and pure.

/// How many ids a set holds. A client with more is an old one, and has its messages looked up.
pub const IDS_MAX: usize = 32;

/// Fingerprints, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdSet(Box<[u64]>);

impl IdSet {
    /// The same and `more`; `None` if that is too many: nothing is known then.
    pub fn with(self, more: &[u64]) -> Option<Self> {
        let mut ids = Vec::from(self.0);
        ids.reserve_exact(more.len().min(IDS_MAX - ids.len()));
        for id in more {
            if ids.contains(id) {
                continue;
            }
            if ids.len() == IDS_MAX {
                return None;
            }
            ids.push(*id);
        }
        Some(Self(ids.into()))
    }

    /// `false`: certainly not.
    pub fn may_hold(&self, id: u64) -> bool {
        self.0.contains(&id)
    }

    /// What it takes on the heap, in words of eight bytes: its ids, and what the allocator adds.
    pub fn words(&self) -> usize {
        self.0.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_all_that_was_put_in_or_says_that_it_knows_nothing(
            batches in prop::collection::vec(prop::collection::vec(0..48_u64, 0..12), 0..12),
        ) {
            let mut set = Some(IdSet::default());
            let mut all = HashSet::new();
            for batch in &batches {
                all.extend(batch.iter().copied());
                set = set.and_then(|set| set.with(batch));
                prop_assert_eq!(set.is_some(), all.len() <= IDS_MAX, "bounded, and full no earlier");
                if let Some(set) = &set {
                    for id in 0..48 {
                        prop_assert_eq!(set.may_hold(id), all.contains(&id));
                    }
                    prop_assert_eq!(set.words(), all.len() + 1, "no room that is not used");
                } else {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_client_that_writes_a_whole_batch_has_no_set() {
        let ids: Vec<u64> = (0..20_000).collect();
        assert_eq!(IdSet::default().with(&ids), None);
        assert!(IdSet::default().with(&[7; 20_000]).is_some_and(|set| set.may_hold(7) && set.words() == 2));
    }
}
