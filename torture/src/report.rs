//! What a long run adds up to.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    checker::Violation,
    faults::Fault,
    variant::Variant,
    verdict::{Outcome, Strike},
};

/// Violations and runs without a word that are told one by one.
const TOLD_MAX: usize = 100;
/// Of each, so much: rows may be long.
const TOLD_CHARS: usize = 400;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    /// The commit, and whether there are changes.
    pub version: String,
    /// How the programs were built.
    pub binaries: String,
    pub cores: usize,
    pub seconds: u64,
    /// Messages offered a second to each Telex.
    pub rate: u64,
    /// Telexes, each with a topic and a database of its own.
    pub worlds: u64,
    /// Messages answered with 202, by the variant of the load.
    pub acked: BTreeMap<String, u64>,
    /// Attempts without a clear answer.
    pub unknown: u64,
    /// Snapshots of the tables that were judged.
    pub looks: u64,
    /// The longest time without a 202 while something was sent.
    pub longest_gap: f64,
    pub faults: BTreeMap<String, Kind>,
    pub violations: Vec<String>,
    /// How many that were, those that are not told included.
    pub violations_count: usize,
    /// Faults that were not seen to bite, or for which there was too little load: they count for nothing.
    pub invalid: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kind {
    pub what: String,
    /// How each was seen, the last one.
    pub evidence: String,
    /// How many were seen to bite, with a load just before.
    pub count: u64,
    /// The smallest number of messages acknowledged a second just before.
    pub rate_min: u64,
    /// How long it took until everything went on, in seconds.
    pub recoveries: Vec<f64>,
}

impl Kind {
    /// The middle of the recovery times, and the longest.
    pub fn recovery(&self) -> (f64, f64) {
        let mut sorted = self.recoveries.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        (median, sorted.last().copied().unwrap_or_default())
    }
}

impl Report {
    pub fn acked(&self) -> u64 {
        self.acked.values().sum()
    }

    pub fn count(&self) -> u64 {
        self.faults.values().map(|kind| kind.count).sum()
    }

    /// Of the kind that happened least often.
    pub fn count_min(&self) -> u64 {
        self.faults.values().map(|kind| kind.count).min().unwrap_or_default()
    }

    /// The share of attempts with a clear answer that was 202, of all that were not refused for good.
    pub fn availability(&self) -> f64 {
        let acked = self.acked() as f64;
        acked / (acked + self.unknown as f64).max(1.0)
    }

    /// Whether everything held, and something happened at all.
    pub fn has_held(&self) -> bool {
        self.violations_count == 0 && self.count() > 0
    }

    /// Counts a fault that was seen to bite.
    pub fn strike(&mut self, fault: &Fault, rate: u64, strike: &Strike) {
        let kind = self.faults.entry(fault.id.to_owned()).or_default();
        fault.what.clone_into(&mut kind.what);
        kind.evidence.clone_from(&strike.evidence);
        kind.rate_min = if kind.count == 0 { rate } else { kind.rate_min.min(rate) };
        kind.count += 1;
        kind.recoveries.push(strike.recovery.unwrap_or_default().as_secs_f64());
        self.violated(fault.id, &strike.violations);
    }

    /// Counts a fault that says nothing.
    pub fn invalid(&mut self, fault: &str, why: &str) {
        if self.invalid.len() < TOLD_MAX {
            self.invalid.push(format!("{fault}: {why}"));
        }
    }

    pub fn world(&mut self, name: &str, variant: Variant, outcome: &Outcome) {
        self.worlds += 1;
        *self.acked.entry(variant.name().to_owned()).or_default() += outcome.acked;
        self.unknown += outcome.unknown;
        self.looks += outcome.looks;
        self.longest_gap = self.longest_gap.max(outcome.longest_gap.as_secs_f64());
        self.violated(name, &outcome.violations);
    }

    pub fn violated(&mut self, place: &str, violations: &[Violation]) {
        self.violations_count += violations.len();
        let room = TOLD_MAX.saturating_sub(self.violations.len());
        let told = violations.iter().take(room).map(|violation| {
            let what: String = violation.what.chars().take(TOLD_CHARS).collect();
            format!("{place}: {}: {what}", violation.invariant)
        });
        self.violations.extend(told);
    }

    /// How it stands, in a line.
    pub fn line(&self, elapsed: Duration) -> String {
        format!(
            "{} s: {} acked, {} faults of {} kinds (at least {} of each), {} invalid, {} violations",
            elapsed.as_secs(),
            self.acked(),
            self.count(),
            self.faults.len(),
            self.count_min(),
            self.invalid.len(),
            self.violations_count
        )
    }
}
