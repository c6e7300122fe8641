//! The numbers to be reached, and what was measured for each. Ratios are of medians within one run: two machines
//! differ, two things on one machine do so for a reason.

use crate::{
    control::RATE,
    end_to_end::AtRate,
    summary::{Summary, median, median_of, number},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub what: &'static str,
    pub value: Option<f64>,
    pub must: f64,
    pub aim: f64,
    /// The value has to stay below, not above.
    is_limit: bool,
    unit: &'static str,
}

impl Verdict {
    fn holds(&self, bound: f64) -> Option<bool> {
        self.value.map(|value| if self.is_limit { value <= bound } else { value >= bound })
    }

    /// `None` if it was not measured.
    pub fn reaches_must(&self) -> Option<bool> {
        self.holds(self.must)
    }

    pub fn word(&self) -> &'static str {
        match (self.holds(self.aim), self.holds(self.must)) {
            (None, _) | (_, None) => "not measured",
            (Some(true), _) => "aim reached",
            (_, Some(true)) => "must reached",
            _ => "MISSED",
        }
    }

    pub fn shown(&self) -> String {
        self.value.map_or_else(|| "–".to_owned(), |value| format!("{}{}", number(value), self.unit))
    }

    /// What has to be reached, or kept to.
    pub fn bound(&self, bound: f64) -> String {
        format!("{} {}{}", if self.is_limit { "≤" } else { "≥" }, number(bound), self.unit)
    }
}

fn at_least(what: &'static str, value: Option<f64>, (must, aim): (f64, f64), unit: &'static str) -> Verdict {
    Verdict { what, value, must, aim, is_limit: false, unit }
}

fn at_most(what: &'static str, value: Option<f64>, (must, aim): (f64, f64), unit: &'static str) -> Verdict {
    Verdict { is_limit: true, ..at_least(what, value, (must, aim), unit) }
}

pub fn verdicts(summary: &Summary) -> Vec<Verdict> {
    [throughput(summary), sustained(summary), at_10_000(summary), costs(summary)].concat()
}

fn throughput(summary: &Summary) -> Vec<Verdict> {
    let drain = median(&summary.drain_records_per_s);
    let over = |other: &[f64]| Some(drain? / median(other)?);
    let single = median(&summary.ingest_single_rps).zip(median(&summary.http_noop_rps));
    let batches = median(&summary.ingest_batch_messages_per_s);
    vec![
        at_least("drain ÷ COPY limit", over(&summary.copy_rows_per_s), (0.55, 0.65), ""),
        at_least("drain ÷ Debezium JDBC sink, warm", over(&summary.debezium_rows_per_s), (3.0, 4.0), ""),
        at_least("drain ÷ Redis-lock way", over(&summary.redis_lock_messages_per_s), (10.0, 30.0), ""),
        at_least("single messages ÷ no-op handler", single.map(|(one, noop)| one / noop), (0.55, 0.7), ""),
        at_least("batches of 100", batches, (1e5, 2e5), " messages/s"),
    ]
}

fn sustained(summary: &Summary) -> Vec<Verdict> {
    /// How much more than an earlier version.
    const MORE: f64 = 1.7;
    let must = summary.sustained_before.map_or(RATE, |before| before * MORE);
    let rate = summary.sustained.as_ref().map(|found| found.rate);
    let beside = &summary.beside_busy_loop;
    let kept = beside.iter().filter(|point| point.is_sustained()).count() * 2 > beside.len();
    let kept = (!beside.is_empty()).then_some(if kept { RATE } else { 0.0 });
    let beside = "end to end, kept beside half a core of others' work";
    vec![
        at_least("end to end, sustained", rate, (must, f64::max(must, 25_000.0)), " requests/s"),
        at_least(beside, kept, (RATE, RATE), " requests/s"),
    ]
}

fn at_10_000(summary: &Summary) -> Vec<Verdict> {
    let noop = median_of(&summary.controls, |control| control.cpu_micros).filter(|noop| *noop > 0.0);
    let at = |figure: fn(&AtRate) -> f64| summary.at(RATE, figure);
    let (api, all) = (at(|it| it.cpu_micros.ingest_api), at(|it| it.cpu_micros.without_sender()));
    let (memory, at_1_000) =
        (at(|it| it.peak_rss_mib.ingest_api), summary.at(1_000.0, |it| it.stored_p99_ms));
    vec![
        at_most("ack p99 at 10,000 requests/s", at(|it| it.ack_p99_ms), (50.0, 25.0), " ms"),
        at_most("stored p99 at 10,000 requests/s", at(|it| it.stored_p99_ms), (120.0, 80.0), " ms"),
        at_most("stored p99 at 1,000 requests/s", at_1_000, (60.0, 25.0), " ms"),
        at_most("CPU at 10,000, ingest-api ÷ no-op handler", ratio(api, noop), (2.0, 1.5), ""),
        at_most("CPU at 10,000, all but the load tester ÷ no-op handler", ratio(all, noop), (5.0, 4.0), ""),
        at_most("peak RSS, ingest-api at 10,000", memory, (150.0, 80.0), " MiB"),
    ]
}

fn costs(summary: &Summary) -> Vec<Verdict> {
    let webhook = median_of(&summary.webhook_cpu, |cpu| cpu.ingest_api);
    let single = median_of(&summary.single_cpu, |cpu| cpu.ingest_api);
    let drain = median_of(&summary.drain_cpu, |cpu| cpu.processor);
    vec![
        at_most("CPU, webhook ÷ unsigned message", ratio(webhook, single), (1.5, 1.25), ""),
        at_most("CPU per record, processor draining", drain, (6.0, 4.0), " µs"),
        at_most("peak RSS, processor draining", median(&summary.drain_peak_rss_mib), (200.0, 120.0), " MiB"),
    ]
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::Control, end_to_end, sustained::Sustained, usage::Cpu};

    fn word(summary: &Summary, what: &str) -> &'static str {
        verdicts(summary).iter().find(|verdict| verdict.what == what).unwrap().word()
    }

    #[test]
    fn a_verdict_follows_from_the_figures_and_what_is_missing_is_not_measured() {
        let summary = Summary {
            drain_records_per_s: vec![60_000.0],
            copy_rows_per_s: vec![100_000.0],
            debezium_rows_per_s: vec![50_000.0],
            ..Summary::default()
        };
        let words: Vec<&str> = verdicts(&summary).iter().take(3).map(Verdict::word).collect();
        assert_eq!(words, ["must reached", "MISSED", "not measured"]);
        assert_eq!(verdicts(&summary)[0].shown(), "0.60");
    }

    #[test]
    fn what_a_message_costs_is_compared_with_the_handler_that_does_nothing() {
        let cpu = Cpu { ingest_api: 35.0, processor: 10.0, kafka: 15.0, postgres: 12.0, loadtest: 90.0 };
        let summary = Summary {
            controls: vec![Control { cpu_micros: 18.0, ..Control::default() }],
            end_to_end: vec![end_to_end::AtRate { cpu_micros: cpu, ..end_to_end::kept() }],
            ..Summary::default()
        };
        assert_eq!(word(&summary, "CPU at 10,000, ingest-api ÷ no-op handler"), "must reached");
        let all = "CPU at 10,000, all but the load tester ÷ no-op handler";
        assert_eq!(word(&summary, all), "aim reached");
    }

    #[test]
    fn what_is_sustained_is_compared_with_the_mission_or_with_an_earlier_version() {
        let sustained = Some(Sustained { rate: 16_000.0, tries: Vec::new() });
        let what = "end to end, sustained";
        let summary = Summary { sustained, ..Summary::default() };
        assert_eq!(word(&summary, what), "must reached");
        assert_eq!(word(&Summary { sustained_before: Some(10_000.0), ..summary }, what), "MISSED");
    }

    #[test]
    fn a_rate_that_is_not_kept_beside_others_work_is_missed() {
        let what = "end to end, kept beside half a core of others' work";
        let late = end_to_end::AtRate { ack_p99_ms: 4_000.0, ..end_to_end::kept() };
        let beside = |beside_busy_loop| Summary { beside_busy_loop, ..Summary::default() };
        assert_eq!(word(&beside(vec![late]), what), "MISSED");
        assert_eq!(word(&beside(vec![end_to_end::kept()]), what), "aim reached");
        assert_eq!(word(&Summary::default(), what), "not measured");
    }
}
