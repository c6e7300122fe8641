//! The table for people.

use std::fmt;

use super::{Latency, Report, Verification, grouped, per_second};
use crate::{run::Ended, stats::Figures};

pub struct Summary<'a> {
    pub report: &'a Report,
    /// How many requests the plan had.
    pub planned: u64,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (report, Figures { sent, unexpected, .. }) = (self.report, self.report.figures);
        let rate = grouped(per_second(sent, report.elapsed_seconds));
        let rate = format!("{rate}/s for {:.1} s", report.elapsed_seconds);
        row(f, "sent", sent, &rate)?;
        row(f, "  valid", report.figures.valid, "")?;
        row(f, "  duplicates", report.figures.duplicates, "")?;
        row(f, "  invalid", report.figures.invalid, "")?;
        for (status, count) in &report.replies {
            row(f, &format!("replies {status}"), *count, meaning(*status))?;
        }
        row(f, "retries", report.figures.retries, "")?;
        row(f, "unexpected", unexpected, "")?;
        let clients =
            format!("of {} clients, each confirmed by a 202", grouped(report.figures.expected_clients));
        row(f, "messages kept", report.figures.expected_messages, &clients)?;
        latency(f, "latency", report.latency_ms)?;
        if let Some(stored) = report.stored_ms {
            latency(f, "stored", stored)?;
        }
        if let Some(lag) = report.lag_max {
            let age = format!("records at most, the oldest {:.2} s old", lag.seconds);
            row(f, "lag", lag.records, &age)?;
        }
        if let Some(sustained) = report.sustained {
            let share = report.achieved_share.unwrap_or_default() * 100.0;
            let word = if sustained { "yes" } else { "NO" };
            cell(f, "sustained", word, &format!("{share:.1} % of the rate achieved"))?;
        }
        let own = format!("{:.1}", report.own_cpu_micros);
        cell(f, "own cost", &own, "µs of the load tester's processor time a request")?;
        for example in &report.examples {
            writeln!(f, "  {example}")?;
        }
        if let Some(verification) = &report.verification {
            verdict(f, verification)?;
        }
        match (report.ended, unexpected) {
            (Ended::Interrupted, _) => {
                writeln!(f, "interrupted: {} of {} sent", grouped(sent), grouped(self.planned))
            }
            (Ended::OutOfTime, _) => {
                writeln!(f, "out of time: {} of {} sent", grouped(sent), grouped(self.planned))
            }
            (Ended::GaveUp, _) => writeln!(f, "gave up: a request was repeated as often as allowed"),
            (Ended::Complete, 0) => writeln!(f, "every reply was as expected"),
            (Ended::Complete, wrong) => writeln!(f, "{} replies were NOT as expected", grouped(wrong)),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, count: u64, note: &str) -> fmt::Result {
    cell(f, name, &grouped(count), note)
}

fn cell(f: &mut fmt::Formatter<'_>, name: &str, value: &str, note: &str) -> fmt::Result {
    let gap = if note.is_empty() { "" } else { "  " };
    writeln!(f, "{name:<14}{value:>12}{gap}{note}")
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, latency: Latency) -> fmt::Result {
    let Latency { p50, p90, p99, max, .. } = latency;
    writeln!(f, "{name:<14}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  max {max:.1} ms")
}

fn verdict(f: &mut fmt::Formatter<'_>, verification: &Verification) -> fmt::Result {
    let Verification { applied, promised, rows, clients, written_twice, findings, examples, .. } =
        verification;
    row(f, "rows", *rows, &format!("for {} promised, of {} clients", grouped(*promised), grouped(*clients)))?;
    if *written_twice > 0 {
        row(f, "written twice", *written_twice, "by Kafka's client, without an effect")?;
    }
    if !applied {
        writeln!(f, "not everything that was acknowledged was applied in time")?;
    }
    for (kind, count) in findings {
        row(f, &format!("  {kind}"), *count, "WRONG")?;
    }
    for example in examples {
        writeln!(f, "  {example}")?;
    }
    match verification.is_clean() {
        true => {
            writeln!(f, "verified: each 202 is a row, once, in its client's order, and nothing else is there")
        }
        false => writeln!(f, "verified: the tables are NOT what the 202s promised"),
    }
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        report::Facts,
        stats::Stats,
        verify::{Finding, Verdict},
    };

    fn summary(ended: Ended, verdict: Option<(&Verdict, bool)>) -> String {
        let (tally, elapsed) = (&Stats::new().unwrap().tally(), Duration::from_secs(2));
        let settings = BTreeMap::new();
        let own_cpu = Duration::ZERO;
        let report =
            Report::new(Facts { tally, ended, elapsed, own_cpu, schedule: None, settings, seed: 7, verdict });
        Summary { report: &report, planned: 5_000 }.to_string()
    }

    #[test]
    fn the_summary_ends_with_the_verdict() {
        let ending = |ended| summary(ended, None).lines().last().unwrap_or_default().to_owned();
        assert_eq!(ending(Ended::Complete), "every reply was as expected");
        assert_eq!(ending(Ended::Interrupted), "interrupted: 0 of 5,000 sent");
        assert_eq!(ending(Ended::OutOfTime), "out of time: 0 of 5,000 sent");
    }

    #[test]
    fn what_was_written_twice_is_said_and_is_not_wrong() {
        let twice = |written_twice| {
            let verdict = Verdict { written_twice, ..Verdict::default() };
            summary(Ended::Complete, Some((&verdict, true)))
        };
        let said = twice(6);
        assert!(said.contains("\nwritten twice            6  by Kafka's client"), "{said}");
        assert!(said.contains("\nverified: each 202 is a row") && !said.contains("WRONG"), "{said}");
        assert!(!twice(0).contains("written twice"));
    }

    #[test]
    fn what_is_wrong_in_the_tables_is_named() {
        let mut verdict = Verdict::default();
        assert!(summary(Ended::Complete, Some((&verdict, true))).contains("\nverified: each 202 is a row"));
        let late = summary(Ended::Complete, Some((&verdict, false)));
        assert!(late.contains("in time") && late.contains("NOT what the 202s promised"), "{late}");
        verdict.findings.add(Finding::Missing { message: "lt-1-7".to_owned() });
        let wrong = summary(Ended::Complete, Some((&verdict, true)));
        assert!(wrong.contains("lt-1-7 got a 202 and has no row"), "{wrong}");
        assert!(wrong.contains("missing") && wrong.contains("NOT what the 202s promised"), "{wrong}");
    }
}
