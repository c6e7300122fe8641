//! What the producers file says of one producer: its credentials, what it may write, and how much.

use std::{collections::HashSet, fmt, time::Duration};

use hooks::{Hook, description::Identity};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::{rate::Rate, signature::SigningKey};

/// A producer as the file describes it.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub secrets: Vec<SigningKey>,
    pub api_keys: Vec<ApiKey>,
    /// How old the timestamp of a signed request may be.
    pub tolerance: Duration,
    pub scope: Scope,
    /// Messages a second.
    pub messages: Option<Rate>,
    /// Bytes a second.
    pub bytes: Option<Rate>,
    pub hooks: Vec<HookEntry>,
}

/// A hook as the file describes it.
#[derive(Debug)]
pub struct HookEntry {
    /// The last segment of its path.
    pub name: String,
    /// Where the file names it.
    pub line: usize,
    pub hook: Hook,
    pub identity_change: Option<IdentityChange>,
}

/// A change of a hook's identity that somebody wants. It names the hook and the new identity, so that one which stays
/// in the file allows nothing else.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityChange {
    pub hook: String,
    pub to: Identity,
}

/// The digest of an API key: the key itself is not known here.
#[derive(Clone, Copy)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// What is shorter can be guessed from its digest, if the file gets out.
    pub const BYTES_MIN: usize = 32;

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok().map(|()| Self(digest))
    }

    /// Whether it is the same, in constant time.
    pub fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Of a key as it is sent.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which sources' ids a producer may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    Named {
        /// Exactly these.
        exact: HashSet<String>,
        /// And those that begin so.
        prefixes: Vec<String>,
    },
}

impl Scope {
    pub fn holds(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named { exact, prefixes } => {
                exact.contains(id) || prefixes.iter().any(|prefix| id.starts_with(prefix.as_str()))
            }
        }
    }
}
