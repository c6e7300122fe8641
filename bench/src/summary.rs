//! The figures of a run, their medians, and whether the machine was quiet enough to say anything about them.

use serde::{Deserialize, Serialize};

use crate::{
    control::{Control, P99_MS_MAX, STOLEN_MAX},
    end_to_end::AtRate,
    machine::Machine,
    postgres_alone::Alone,
    redis::Damage,
    sustained::Sustained,
    usage::Cpu,
};

/// Everything that was measured, as target/bench/summary.json has it. What could not be measured is absent, and
/// `failed` says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// A quick run: fewer messages, one run of each.
    pub quick: bool,
    /// Runs of each, unless a part failed.
    pub runs: u32,
    pub machine: Machine,
    /// The share of all time that others had below us, from the first measurement to the last.
    pub stolen: f64,
    /// The handler that does nothing, once a run and once at the end.
    pub controls: Vec<Control>,
    pub records: u64,
    /// Rows of `messages` that COPY writes, a second.
    pub copy_rows_per_s: Vec<f64>,
    /// Records that the processor applies, a second.
    pub drain_records_per_s: Vec<f64>,
    /// Processor time of each program for each.
    pub drain_cpu: Vec<Cpu>,
    /// The most memory that the processor had meanwhile, in MiB.
    pub drain_peak_rss_mib: Vec<f64>,
    /// The same where each message is another client's, and where all are one client's.
    pub drain_new_clients_per_s: Vec<f64>,
    pub drain_one_client_per_s: Vec<f64>,
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
    /// Single messages a second; also of another client each, and of one client.
    pub ingest_single_rps: Vec<f64>,
    pub ingest_new_clients_rps: Vec<f64>,
    pub ingest_one_client_rps: Vec<f64>,
    /// Messages a second in batches of 100.
    pub ingest_batch_messages_per_s: Vec<f64>,
    /// Single messages a second that are signed, as Telex's own and as a provider's webhook.
    pub ingest_signed_rps: Vec<f64>,
    pub ingest_webhook_rps: Vec<f64>,
    /// Processor time for each, of each program; `single`: unsigned.
    pub noop_cpu: Vec<Cpu>,
    pub single_cpu: Vec<Cpu>,
    pub signed_cpu: Vec<Cpu>,
    pub webhook_cpu: Vec<Cpu>,
    /// Everything at once, by rate: at 10,000 requests a second once a run, at others once.
    pub end_to_end: Vec<AtRate>,
    /// The same at 10,000 beside somebody who has half a core.
    pub beside_busy_loop: Vec<AtRate>,
    /// The highest rate that was kept.
    pub sustained: Option<Sustained>,
    /// The same of an earlier version, by the same bench on the same machine, as the caller says.
    pub sustained_before: Option<f64>,
    pub alone: Alone,
    /// What could not be measured, and why.
    pub failed: Vec<String>,
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

/// The median of one figure of several.
pub fn median_of<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> Option<f64> {
    median(&runs.iter().map(figure).collect::<Vec<_>>())
}

impl Summary {
    /// Why the figures say nothing about Telex; empty if the machine was quiet.
    pub fn noise(&self) -> Vec<String> {
        let mut noise = Vec::new();
        match median_of(&self.controls, |control| control.p99_ms) {
            None => noise.push("the control was not measured, so nobody knows".to_owned()),
            Some(p99) if p99 > P99_MS_MAX => noise.push(format!(
                "the handler that does nothing answered 1 of 100 requests after {p99:.0} ms at 10,000 a second, \
                 which takes at most {P99_MS_MAX:.0} ms where nobody else is at work"
            )),
            Some(_) => {}
        }
        if self.stolen > STOLEN_MAX {
            noise.push(format!(
                "others had {:.1} % of the processors' time below us, at most {:.0} % are let pass",
                self.stolen * 100.0,
                STOLEN_MAX * 100.0
            ));
        }
        noise
    }

    /// The median of a figure at a rate, of everything at once.
    pub fn at(&self, rate: f64, figure: impl Fn(&AtRate) -> f64) -> Option<f64> {
        let points: Vec<&AtRate> =
            self.end_to_end.iter().filter(|point| (point.offered - rate).abs() < 0.5).collect();
        median_of(&points, |point| figure(point))
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
    fn a_machine_is_quiet_if_the_control_is_fast_and_nobody_takes_its_time() {
        let control = |p99_ms| Control { p99_ms, ..Control::default() };
        let noise = |controls: &[f64], stolen| {
            let controls = controls.iter().copied().map(control).collect();
            Summary { controls, stolen, ..Summary::default() }.noise()
        };
        assert_eq!(noise(&[4.0, 3.0, 90.0], 0.0), Vec::<String>::new());
        assert!(noise(&[4.0, 80.0, 90.0], 0.0)[0].contains("after 80 ms"));
        assert!(noise(&[4.0], 0.1)[0].contains("10.0 %"));
        assert_eq!(noise(&[], 0.0).len(), 1, "without a control nothing is known");
    }
}
