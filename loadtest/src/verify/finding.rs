//! What can be wrong, each with its name; never an address or a text.

use std::{collections::BTreeMap, fmt};

use crate::ledger::Place;

/// How many of each kind are kept to show.
const EXAMPLES_MAX: usize = 5;

/// One thing that is wrong. Messages are named by their `external_message_id`, clients by their `client_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A 202 without a row.
    Missing { message: String },
    /// Two rows.
    Doubled { message: String },
    /// A row of a request that was refused or never sent.
    NotAllowed { message: String },
    /// A row with an id that no request of this run carried.
    Unknown { message: String },
    /// The row is not of the record that its 202 named: a duplicate had an effect, or there were two.
    Elsewhere { message: String, promised: Place, found: Place },
    /// Other words than were sent.
    Altered { message: String },
    /// Answered later, stored earlier.
    OutOfOrder { first: String, then: String },
    /// A dialog that is not one of the client's.
    NoDialog { message: String },
    /// More than one active dialog.
    SeveralActive { client: String, dialogs: usize },
    /// No client, or another source or address.
    WrongClient { client: String },
    /// An alias that its messages name is not there.
    NoAlias { client: String },
    /// Rows of this run under clients who did not write them.
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { message } => write!(f, "{message} got a 202 and has no row"),
            Self::Doubled { message } => write!(f, "{message} has two rows"),
            Self::NotAllowed { message } => write!(f, "{message} was refused or never sent, and has a row"),
            Self::Unknown { message } => write!(f, "{message} has a row and is in no request"),
            Self::Elsewhere { message, promised, found } => {
                let (Place { partition, offset }, Place { partition: at, offset: found }) = (promised, found);
                write!(f, "{message} was kept at {partition}/{offset}, and its row is of {at}/{found}")
            }
            Self::Altered { message } => write!(f, "{message} has other words than were sent"),
            Self::OutOfOrder { first, then } => {
                write!(f, "{first} was answered before {then}, and stands behind it")
            }
            Self::NoDialog { message } => write!(f, "{message} is in no dialog of its client"),
            Self::SeveralActive { client, dialogs } => {
                write!(f, "client {client} has {dialogs} active dialogs")
            }
            Self::WrongClient { client } => write!(f, "client {client} is missing, or another one"),
            Self::NoAlias { client } => write!(f, "client {client} lacks an alias that its messages name"),
            Self::Strays { rows } => {
                write!(f, "{rows} rows of this run under clients who did not write them")
            }
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
