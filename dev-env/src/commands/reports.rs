//! What `loadtest run --report` and `processor prove --json` tell, as far as the demo reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub struct Sent {
    /// Replies by status.
    pub replies: BTreeMap<u16, u64>,
    /// Distinct messages that got a 202.
    pub expected_messages: u64,
    /// Distinct clients among them.
    pub expected_clients: u64,
    pub requests_per_second: f64,
    pub latency_ms: Latency,
}

/// Quantiles, in milliseconds.
#[derive(Debug, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

#[derive(Debug, Deserialize)]
pub struct Proved {
    /// `clean`, or something else.
    pub verdict: String,
    /// The verdict in a sentence.
    pub line: String,
    pub records: u64,
    pub rows: Rows,
    pub duplicates: u64,
    pub findings: Vec<Value>,
}

/// Rows by table.
#[derive(Debug, Deserialize)]
pub struct Rows {
    pub clients: u64,
    pub dialogs: u64,
    pub messages: u64,
    pub dead_letters: u64,
    pub active_dialogs: u64,
}

impl Proved {
    /// Whether the tables are what the topic says.
    pub fn is_clean(&self) -> bool {
        self.verdict == "clean"
    }
}

/// The proof compares tables with the topic; this compares both with what was sent.
///
/// # Errors
/// The first difference, in words.
pub fn agree(sent: &Sent, proved: &Proved) -> Result<(), String> {
    let pairs = [
        ("messages", sent.expected_messages, proved.rows.messages),
        ("clients", sent.expected_clients, proved.rows.clients),
        ("active dialogs", sent.expected_clients, proved.rows.active_dialogs),
        ("dead letters", 0, proved.rows.dead_letters),
    ];
    match pairs.into_iter().find(|(_, sent, found)| sent != found) {
        Some((what, sent, found)) => Err(format!("{what}: {sent} expected, {found} found")),
        None => Ok(()),
    }
}
