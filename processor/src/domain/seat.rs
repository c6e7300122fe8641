//! A partition's place in this process: for how long, and where its records go.

use std::sync::Arc;

use schemas::Partition;

use super::{
    position::{NextOffset, OwnerEpoch},
    rules::PartitionRules,
};

/// One stretch of ownership of a partition in this process; a record or an outcome of an older one is
/// dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignmentEpoch(pub u64);

/// From where a partition is read, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub partition: Partition,
    /// The first record to be read.
    pub next_offset: NextOffset,
    /// The stretch of ownership that begins.
    pub assignment_epoch: AssignmentEpoch,
    /// The lane that gets the records.
    pub lane: usize,
}

/// What a lane needs to apply a partition, for one stretch of ownership.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The stretch in memory.
    pub assignment_epoch: AssignmentEpoch,
    /// The stretch in PostgreSQL.
    pub owner_epoch: OwnerEpoch,
    /// The first record to be applied.
    pub next_offset: NextOffset,
    /// What its records mean.
    pub rules: Arc<PartitionRules>,
}
