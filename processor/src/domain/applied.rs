//! What a batch did.

use schemas::Partition;

use super::{counters::Counters, fold::ClientStates, position::Offset};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What its clients are now.
    pub after: ClientStates,
    /// What became of its records, by partition.
    pub counters: Vec<(Partition, Counters)>,
    /// The dead letters, with the codes of their reasons.
    pub dead_letters: Vec<(Partition, Offset, &'static str)>,
}
