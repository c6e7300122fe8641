//! How a request ends, and what follows from it: whether its message was kept, and what is shown of a reply that was
//! not planned. Never holds a phone or a text.

use std::{fmt, time::Duration};

use crate::{
    ledger::{Place, Receipt},
    plan::Kind,
};

/// How a request came to its end.
#[derive(Debug)]
pub struct Settlement<'a> {
    pub request_id: &'a str,
    pub outcome: Outcome,
    /// From when it was due.
    pub latency: Duration,
    /// How many attempts were made before.
    pub attempt: u32,
    pub place: Option<Place>,
}

/// A request that ended otherwise than planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: expected {expected}, got {outcome} (x-request-id {request_id})")]
pub struct Unexpected {
    pub index: u64,
    /// The id of its last attempt, to look for in the logs.
    pub request_id: String,
    pub kind: &'static str,
    pub expected: u16,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Reply {
        status: u16,
        /// The problem's `code`, if there was one.
        code: Option<String>,
    },
    /// Without a reply that settles it; the last reason.
    NoReply(String),
}

/// A 4xx says that nothing was kept, everything else but a 202 says nothing.
pub(super) fn receipt(outcome: &Outcome, attempt: u32, place: Option<Place>) -> Receipt {
    match outcome {
        Outcome::Reply { status: 202, .. } => Receipt::Kept { at_once: attempt == 0, place },
        Outcome::Reply { status: 400..=499, .. } if attempt == 0 => Receipt::Refused,
        Outcome::Reply { .. } | Outcome::NoReply(_) => Receipt::Open,
    }
}

pub(super) fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Valid => "a valid message",
        Kind::Duplicate { .. } => "a duplicate",
        Kind::Invalid(flaw) => flaw.name,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { status, code: Some(code) } => write!(f, "{status} {code}"),
            Self::Reply { status, code: None } => write!(f, "{status}"),
            Self::NoReply(reason) => write!(f, "no answer: {reason}"),
        }
    }
}
