//! The checker: H, L and D against the invariants. It shares no code with the product, and every expectation
//! comes from what was sent and from the topic, never from the tables.

pub mod chain;
mod fold;
mod log;
mod tables;

use std::{collections::BTreeMap, fmt};

use anyhow::Result;

pub use self::tables::Tables;
use crate::{
    history::{Attempt, Planted},
    wire::{kafka::PartitionLog, postgres::Connection},
};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

impl Violation {
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }

    pub fn when(is_broken: bool, invariant: &'static str, what: impl Into<String>) -> Option<Self> {
        is_broken.then(|| Self::new(invariant, what))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// L: the topic as it was read by the harness's own client.
#[derive(Debug, Clone)]
pub struct Log {
    pub topic_id: [u8; 16],
    pub partitions: BTreeMap<i32, PartitionLog>,
    /// Over how many of them keys are spread.
    pub keyed_partitions: i32,
}

#[derive(Debug)]
pub struct Evidence<'a> {
    /// What was sent and answered.
    pub attempts: &'a [Attempt],
    pub planted: &'a Planted,
    pub log: &'a Log,
}

/// Compares.
pub fn check(evidence: &Evidence<'_>, database: &mut Connection) -> Result<Vec<Violation>> {
    let mut violations = log::check(evidence);
    let found = Tables::read(database)?;
    let expected = fold::fold(evidence, &found.progress);
    violations.extend(expected.problems);
    violations.extend(tables::compare(&expected.tables, &found));
    violations.extend(tables::check_structure(&found, database)?);
    violations.extend(chain::check(&found.progress, database)?);
    Ok(violations)
}
