//! What is told of a run: one line, and below it what does not hold.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::checker::Violation;

/// Violations of one invariant that are told one by one.
const TOLD_MAX: usize = 4;
/// Of each, so much.
const TOLD_CHARS: usize = 400;

/// A fault that was seen to bite.
#[derive(Debug, Default)]
pub struct Strike {
    pub evidence: String,
    /// From the fault, or from its end, until everything went on; `None`: until everything was applied.
    pub recovery: Option<Duration>,
    pub violations: Vec<Violation>,
}

impl Strike {
    /// A fault whose recovery is measured by what is applied.
    pub fn seen(evidence: String) -> Self {
        Self { evidence, ..Self::default() }
    }
}

/// A run that came to its end.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How the fault was seen to bite.
    pub evidence: String,
    /// From the fault, or from its end, until everything went on.
    pub recovery: Duration,
    pub violations: Vec<Violation>,
    /// Snapshots of the tables that were judged.
    pub looks: u64,
    /// Acknowledged messages a second before the fault.
    pub rate: u64,
    pub acked: u64,
    /// Attempts without a clear answer.
    pub unknown: u64,
    /// The longest time without a 202.
    pub longest_gap: Duration,
}

#[derive(Debug)]
pub enum Verdict {
    Held(Outcome),
    Violated(Outcome),
    /// Nothing: the fault did not bite, the load was too small, or nobody looked.
    Invalid(String),
}

impl Verdict {
    pub fn of(run: anyhow::Result<Outcome>) -> Self {
        match run {
            Ok(outcome) if !outcome.violations.is_empty() => Self::Violated(outcome),
            Ok(Outcome { looks: 0, .. }) => Self::Invalid("nobody looked at the tables meanwhile".to_owned()),
            Ok(outcome) => Self::Held(outcome),
            Err(error) => Self::Invalid(format!("{error:#}")),
        }
    }

    pub fn violated(&self) -> Vec<&'static str> {
        let Self::Violated(outcome) = self else {
            return Vec::new();
        };
        let mut names: Vec<&'static str> = outcome.violations.iter().map(|v| v.invariant).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The line, and what follows it.
    pub fn tell(&self, fault: &str, seed: u64, took: Duration) -> String {
        let head = |word: &str| format!("{fault:<5} {word:<8}");
        match self {
            Self::Invalid(why) => format!("{} {why} (seed {seed}, {} s)", head("invalid"), took.as_secs()),
            Self::Held(outcome) => head("held") + &line(outcome, seed, took),
            Self::Violated(outcome) => head("VIOLATED") + &line(outcome, seed, took) + &told(outcome),
        }
    }
}

fn line(outcome: &Outcome, seed: u64, took: Duration) -> String {
    format!(
        " {}; acked {} ({}/s before), unknown {}, longest gap {:.1} s, looks {}, violations {}, recovery {:.1} s (seed {seed}, {} s)",
        outcome.evidence,
        outcome.acked,
        outcome.rate,
        outcome.unknown,
        outcome.longest_gap.as_secs_f64(),
        outcome.looks,
        outcome.violations.len(),
        outcome.recovery.as_secs_f64(),
        took.as_secs(),
    )
}

fn told(outcome: &Outcome) -> String {
    let mut by_invariant: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    for violation in &outcome.violations {
        by_invariant.entry(violation.invariant).or_default().push(violation);
    }
    let mut text = String::new();
    for (invariant, violations) in by_invariant {
        for violation in violations.iter().take(TOLD_MAX) {
            // Rows may be long. Writing to memory cannot fail.
            let short: String = violation.to_string().chars().take(TOLD_CHARS).collect();
            write!(text, "\n        {short}").ok();
        }
        if violations.len() > TOLD_MAX {
            write!(text, "\n        {invariant}: {} in all", violations.len()).ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_tables_nobody_looked_at_has_not_held() {
        let run = |looks| Verdict::of(Ok(Outcome { looks, ..Outcome::default() }));
        assert!(matches!(run(0), Verdict::Invalid(_)));
        assert!(matches!(run(1), Verdict::Held(_)));
        let violations = vec![Violation::new("I1", "")];
        let violated = Verdict::of(Ok(Outcome { violations, ..Outcome::default() }));
        assert_eq!(violated.violated(), ["I1"]);
    }
}
