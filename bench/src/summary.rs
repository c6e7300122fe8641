//! The figures of a run, their medians, and a verdict for each number that is to be reached.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{end_to_end::AtRate, redis::Damage};

/// Everything that was measured, as target/bench/summary.json has it. What could not be measured is absent, and
/// `notes` says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// A quick run: fewer messages, one run of each.
    pub quick: bool,
    pub machine: Machine,
    pub records: u64,
    /// Rows of `messages` that COPY writes, a second.
    pub copy_rows_per_s: Vec<f64>,
    /// Records that the processor applies, a second.
    pub drain_records_per_s: Vec<f64>,
    /// Processor time of the processor for each, in microseconds.
    pub drain_cpu_micros: Vec<f64>,
    /// The most memory that it had meanwhile, in MiB.
    pub drain_peak_rss_mib: Vec<f64>,
    /// Rows that Debezium's JDBC sink writes, a second.
    pub debezium_rows_per_s: Vec<f64>,
    /// Messages that the Redis-lock way stores, a second.
    pub redis_lock_messages_per_s: Vec<f64>,
    /// What it doubles and drops when workers are killed.
    pub redis_lock_killed: Option<Damage>,
    /// What it doubles and drops when locks expire.
    pub redis_lock_expired: Option<Damage>,
    /// Requests a second of a handler that does nothing.
    pub http_noop_rps: Vec<f64>,
    /// Single messages a second.
    pub ingest_single_rps: Vec<f64>,
    /// Messages a second in batches of 100.
    pub ingest_batch_messages_per_s: Vec<f64>,
    /// Single messages a second that are signed, as Telex's own and as a provider's webhook.
    pub ingest_signed_rps: Vec<f64>,
    pub ingest_webhook_rps: Vec<f64>,
    /// Processor time of the ingest API for each, in microseconds; `single`: unsigned.
    pub single_cpu_micros: Vec<f64>,
    pub signed_cpu_micros: Vec<f64>,
    pub webhook_cpu_micros: Vec<f64>,
    /// Everything at once, by rate.
    pub end_to_end: Vec<AtRate>,
    /// What could not be measured, and why.
    pub notes: Vec<String>,
}

/// The machine, and how quiet it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The load average of a minute before the run: what others did.
    pub load_before: f64,
}

/// A number to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub what: &'static str,
    pub value: Option<f64>,
    /// The bound that must be reached.
    pub must: Bound,
    /// The one that is aimed at.
    pub aim: Bound,
}

/// A bound and its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    AtLeast(f64, &'static str),
    AtMost(f64, &'static str),
}

impl Bound {
    const fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound, _) => value >= bound,
            Self::AtMost(bound, _) => value <= bound,
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::AtLeast(_, unit) | Self::AtMost(_, unit) => unit,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound, unit) => write!(f, "≥ {}{unit}", number(*bound)),
            Self::AtMost(bound, unit) => write!(f, "≤ {}{unit}", number(*bound)),
        }
    }
}

impl Verdict {
    /// `None` if it was not measured.
    pub fn reaches_must(&self) -> Option<bool> {
        self.value.map(|value| self.must.holds(value))
    }

    pub fn word(&self) -> &'static str {
        match self.value {
            None => "not measured",
            Some(value) if self.aim.holds(value) => "aim reached",
            Some(value) if self.must.holds(value) => "must reached",
            Some(_) => "MISSED",
        }
    }

    /// The number with its unit.
    pub fn shown(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), |value| format!("{}{}", number(value), self.must.unit()))
    }
}

/// Of three or more runs the middle one; of none, nothing.
pub fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?)),
    }
}

impl Summary {
    /// The numbers to be reached, each with what was measured. Ratios are of medians within this run.
    pub fn verdicts(&self) -> Vec<Verdict> {
        use Bound::{AtLeast, AtMost};
        let drain = median(&self.drain_records_per_s);
        let over = |other: &[f64]| Some(drain? / median(other)?);
        let row = |what, value, must, aim| Verdict { what, value, must, aim };
        let at = |rate: f64| self.end_to_end.iter().find(|point| (point.offered - rate).abs() < 0.5);
        let single =
            median(&self.ingest_single_rps).zip(median(&self.http_noop_rps)).map(|(one, noop)| one / noop);
        let sustained = self.end_to_end.iter().filter(|point| point.is_sustained());
        let sustained = sustained.map(|point| point.offered).reduce(f64::max);
        let sustained = sustained.or((!self.end_to_end.is_empty()).then_some(0.0));
        let webhook = median(&self.webhook_cpu_micros).zip(median(&self.single_cpu_micros));
        let webhook = webhook.map(|(webhook, single)| webhook / single);
        let api_cpu = at(10_000.0).map(|point| point.cpu_micros.ingest_api);
        let api_memory = at(10_000.0).map(|point| point.peak_rss_mib.ingest_api);
        vec![
            row("drain ÷ COPY limit", over(&self.copy_rows_per_s), AtLeast(0.6, ""), AtLeast(0.8, "")),
            row(
                "drain ÷ Debezium JDBC sink, warm",
                over(&self.debezium_rows_per_s),
                AtLeast(1.8, ""),
                AtLeast(3.0, ""),
            ),
            row(
                "drain ÷ Redis-lock way",
                over(&self.redis_lock_messages_per_s),
                AtLeast(10.0, ""),
                AtLeast(30.0, ""),
            ),
            row("single messages ÷ no-op handler", single, AtLeast(0.5, ""), AtLeast(0.65, "")),
            row(
                "batches of 100",
                median(&self.ingest_batch_messages_per_s),
                AtLeast(1e5, " messages/s"),
                AtLeast(2e5, " messages/s"),
            ),
            row("CPU, webhook ÷ unsigned message", webhook, AtMost(1.5, ""), AtMost(1.25, "")),
            row(
                "end to end, sustained",
                sustained,
                AtLeast(15_000.0, " requests/s"),
                AtLeast(25_000.0, " requests/s"),
            ),
            row(
                "stored p99 at 10,000 requests/s",
                at(10_000.0).map(|point| point.stored_p99_ms),
                AtMost(250.0, " ms"),
                AtMost(100.0, " ms"),
            ),
            row(
                "stored p99 at 1,000 requests/s",
                at(1_000.0).map(|point| point.stored_p99_ms),
                AtMost(60.0, " ms"),
                AtMost(25.0, " ms"),
            ),
            row("CPU per message, ingest-api at 10,000", api_cpu, AtMost(30.0, " µs"), AtMost(18.0, " µs")),
            row(
                "CPU per message, processor draining",
                median(&self.drain_cpu_micros),
                AtMost(10.0, " µs"),
                AtMost(6.0, " µs"),
            ),
            row("peak RSS, ingest-api at 10,000", api_memory, AtMost(150.0, " MiB"), AtMost(80.0, " MiB")),
            row(
                "peak RSS, processor draining",
                median(&self.drain_peak_rss_mib),
                AtMost(200.0, " MiB"),
                AtMost(120.0, " MiB"),
            ),
        ]
    }
}

/// `12,345`, `12.3` or `0.64`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no figure is negative or that large"
)]
pub fn number(value: f64) -> String {
    match value {
        large if large >= 1_000.0 => loadtest::report::grouped(large.round() as u64),
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!((median(&[5.0]), median(&[])), (Some(5.0), None));
    }

    #[test]
    fn a_verdict_follows_from_the_figures_and_what_is_missing_is_not_measured() {
        let summary = Summary {
            drain_records_per_s: vec![70_000.0],
            copy_rows_per_s: vec![100_000.0],
            debezium_rows_per_s: vec![50_000.0],
            ..Summary::default()
        };
        let words: Vec<&str> = summary.verdicts().iter().take(3).map(Verdict::word).collect();
        assert_eq!(words, ["must reached", "MISSED", "not measured"]);
        assert_eq!(summary.verdicts()[0].shown(), "0.70");
    }
}
