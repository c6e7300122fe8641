//! The answers of a try to take partitions up.

use schemas::Partition;

use crate::{consume::decide::Takeover, domain::obstacle::Obstacle};

/// The answer of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Taken(Takeover),
    /// It cannot be decided now.
    Waits(Obstacle),
}

/// The same for each partition.
pub fn all_wait(partitions: &[Partition], obstacle: &Obstacle) -> Vec<(Partition, Answer)> {
    partitions.iter().map(|partition| (*partition, Answer::Waits(obstacle.clone()))).collect()
}
