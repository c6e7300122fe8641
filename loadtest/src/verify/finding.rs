//! What can be wrong, each with its name; never an address or a text.

use std::collections::BTreeMap;

use crate::ledger::Place;

/// How many of each kind are kept to show.
const EXAMPLES_MAX: usize = 5;

/// One thing that is wrong. Messages are named by their `external_message_id`, clients by their `client_id`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A 202 without a row.
    #[error("{message} got a 202 and has no row")]
    Missing { message: String },
    /// Two rows.
    #[error("{message} has two rows")]
    Doubled { message: String },
    /// A row of a request that was refused or never sent.
    #[error("{message} was refused or never sent, and has a row")]
    NotAllowed { message: String },
    /// A row with an id that no request of this run carried.
    #[error("{message} has a row and is in no request")]
    Unknown { message: String },
    /// The row is not of the record that its 202 named, nor of an earlier one that Kafka's client can have written
    /// of the same message: a duplicate had an effect, or another message is there.
    #[error(
        "{message} was kept at {}/{}, and its row is of {}/{}",
        .promised.partition, .promised.offset, .found.partition, .found.offset
    )]
    Elsewhere { message: String, promised: Place, found: Place },
    /// Other words than were sent.
    #[error("{message} has other words than were sent")]
    Altered { message: String },
    /// Answered later, stored earlier.
    #[error("{first} was answered before {then}, and stands behind it")]
    OutOfOrder { first: String, then: String },
    /// A dialog that is not one of the client's.
    #[error("{message} is in no dialog of its client")]
    NoDialog { message: String },
    /// More than one active dialog.
    #[error("client {client} has {dialogs} active dialogs")]
    SeveralActive { client: String, dialogs: usize },
    /// No client, or another source or address.
    #[error("client {client} is missing, or another one")]
    WrongClient { client: String },
    /// An alias that its messages name is not there.
    #[error("client {client} lacks an alias that its messages name")]
    NoAlias { client: String },
    /// Rows of this run under clients who did not write them.
    #[error("{rows} rows of this run under clients who did not write them")]
    Strays { rows: u64 },
}

impl Finding {
    /// Its name, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Doubled { .. } => "doubled",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Unknown { .. } => "unknown",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Altered { .. } => "altered",
            Self::OutOfOrder { .. } => "out_of_order",
            Self::NoDialog { .. } => "no_dialog",
            Self::SeveralActive { .. } => "several_active",
            Self::WrongClient { .. } => "wrong_client",
            Self::NoAlias { .. } => "no_alias",
            Self::Strays { .. } => "strays",
        }
    }
}

/// All that is wrong, counted by kind, with the first few of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    kinds: BTreeMap<&'static str, u64>,
    examples: Vec<Finding>,
}

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        let count = self.kinds.entry(finding.name()).or_default();
        *count += 1;
        if *count <= EXAMPLES_MAX as u64 {
            self.examples.push(finding);
        }
    }

    pub fn total(&self) -> u64 {
        self.kinds.values().sum()
    }

    pub const fn kinds(&self) -> &BTreeMap<&'static str, u64> {
        &self.kinds
    }

    pub fn examples(&self) -> &[Finding] {
        &self.examples
    }
}
