//! What came out of a run: a table for people, JSON for machines.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::{
    run::Ended,
    stats::{Tally, Unexpected},
};

/// The JSON report; the names are a contract with whoever reads it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Requests sent, each counted once however often it was repeated.
    pub sent: u64,
    /// Every reply by status, those included that asked to send again.
    pub replies: BTreeMap<u16, u64>,
    /// Requests that ended otherwise than planned.
    pub unexpected: u64,
    /// Attempts beyond each request's first.
    pub retries: u64,
    /// Of those sent: new messages.
    pub valid: u64,
    /// Of those sent: repeats.
    pub duplicates: u64,
    /// Of those sent: such that must be refused.
    pub invalid: u64,
    /// Distinct messages that got a 202: as many new rows must exist.
    pub expected_messages: u64,
    /// Distinct clients among them.
    pub expected_clients: u64,
    /// From the first request to the last reply.
    pub elapsed_seconds: f64,
    /// `sent` by `elapsed_seconds`.
    pub requests_per_second: f64,
    /// From when a request was due to its last reply.
    pub latency_ms: Latency,
    /// Where the plan came from.
    pub seed: u64,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the requests took at most this long.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All of them.
    pub max: f64,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn new(tally: &Tally, elapsed: Duration, seed: u64) -> Self {
        let latency_ms = |share| tally.latency.value_at_quantile(share) as f64 / 1_000.0;
        let elapsed_seconds = elapsed.as_secs_f64();
        let requests_per_second = tally.sent as f64 / elapsed_seconds.max(f64::MIN_POSITIVE);
        Self {
            sent: tally.sent,
            replies: tally.replies.clone(),
            unexpected: tally.unexpected,
            retries: tally.retries,
            valid: tally.valid,
            duplicates: tally.duplicates,
            invalid: tally.invalid,
            expected_messages: tally.kept_messages,
            expected_clients: tally.kept_clients,
            elapsed_seconds,
            requests_per_second,
            latency_ms: Latency {
                p50: latency_ms(0.5),
                p90: latency_ms(0.9),
                p99: latency_ms(0.99),
                max: latency_ms(1.0),
            },
            seed,
        }
    }
}

/// The table for people.
pub struct Summary<'a> {
    /// The numbers.
    pub report: &'a Report,
    /// Some of what went wrong.
    pub examples: &'a [Unexpected],
    /// Why the run ended.
    pub ended: Ended,
    /// How many requests the plan had.
    pub planned: u64,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, planned, .. } = self;
        let rate = grouped(per_second(report.sent, report.elapsed_seconds));
        let rate = format!("{rate}/s for {:.1} s", report.elapsed_seconds);
        row(f, "sent", report.sent, &rate)?;
        row(f, "  valid", report.valid, "")?;
        row(f, "  duplicates", report.duplicates, "")?;
        row(f, "  invalid", report.invalid, "")?;
        for (status, count) in &report.replies {
            row(f, &format!("replies {status}"), *count, meaning(*status))?;
        }
        row(f, "retries", report.retries, "")?;
        row(f, "unexpected", report.unexpected, "")?;
        let clients = format!(
            "of {} clients, each confirmed by a 202",
            grouped(report.expected_clients)
        );
        row(f, "messages kept", report.expected_messages, &clients)?;
        let Latency { p50, p90, p99, max } = report.latency_ms;
        writeln!(
            f,
            "{:<14}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  max {max:.1} ms",
            "latency"
        )?;
        for example in self.examples {
            writeln!(f, "  {example}")?;
        }
        match (self.ended, report.unexpected) {
            (Ended::Interrupted, _) => writeln!(
                f,
                "interrupted: {} of {} sent",
                grouped(report.sent),
                grouped(*planned)
            ),
            (Ended::GaveUp, _) => writeln!(f, "gave up: a request was repeated as often as allowed"),
            (Ended::Complete, 0) => writeln!(f, "every reply was as expected"),
            (Ended::Complete, wrong) => writeln!(f, "{} replies were NOT as expected", grouped(wrong)),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str) -> fmt::Result {
    let gap = if note.is_empty() { "" } else { "  " };
    writeln!(f, "{name:<14}{:>12}{gap}{note}", grouped(count))
}

fn meaning(status: u16) -> &'static str {
    match status {
        202 => "kept",
        400 => "not JSON",
        422 => "a field breaks a rule",
        429 | 503 => "asked to send again",
        _ => "",
    }
}

/// Rounded, to look at; zero if no time has passed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "neither negative nor that large"
)]
#[must_use]
pub fn per_second(count: u64, seconds: f64) -> u64 {
    if seconds > 0.0 {
        (count as f64 / seconds).round() as u64
    } else {
        0
    }
}

/// `12,345`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Milliseconds with one digit after the point.
#[must_use]
pub fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn a_rate_counts_only_the_time_that_passed() {
        assert_eq!(per_second(500, 0.25), 2_000);
        assert_eq!(per_second(500, 0.0), 0);
    }

    #[test]
    fn the_json_has_exactly_the_agreed_keys() {
        let stats = Stats::new().unwrap();
        stats.replied(202);
        let report = Report::new(&stats.tally(), Duration::from_secs(2), 7);
        let json = serde_json::to_value(&report).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut agreed = [
            "sent",
            "replies",
            "unexpected",
            "retries",
            "valid",
            "duplicates",
            "invalid",
            "expected_messages",
            "expected_clients",
            "elapsed_seconds",
            "requests_per_second",
            "latency_ms",
            "seed",
        ];
        agreed.sort_unstable();
        assert_eq!(keys, agreed);
        assert_eq!(json["replies"], serde_json::json!({"202": 1}));
        assert!(
            ["p50", "p90", "p99", "max"]
                .iter()
                .all(|key| json["latency_ms"][key].is_number())
        );
    }

    #[test]
    fn the_summary_ends_with_the_verdict() {
        let stats = Stats::new().unwrap();
        let report = Report::new(&stats.tally(), Duration::from_secs(2), 7);
        let ending = |ended| {
            let summary = Summary {
                report: &report,
                examples: &[],
                ended,
                planned: 5_000,
            }
            .to_string();
            summary.lines().last().unwrap_or_default().to_owned()
        };
        assert_eq!(ending(Ended::Complete), "every reply was as expected");
        assert_eq!(ending(Ended::Interrupted), "interrupted: 0 of 5,000 sent");
    }
}
