//! What came out of a run: JSON for machines ([`Report`], from which everything else is made), a table for
//! people ([`Summary`]), a page to show around ([`html`]).

pub mod html;
mod numbers;
mod summary;

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use numbers::{grouped, millis, per_second};
pub use summary::Summary;

use crate::{
    run::Ended,
    schedule::Schedule,
    stats::{Figures, Tally, Unexpected},
    verify::Verdict,
    watch::look_every,
};

/// The JSON report; the names are a contract with whoever reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub ended: Ended,
    /// What was asked for, by the names of the settings.
    #[serde(skip_deserializing)]
    pub settings: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    pub figures: Figures,
    /// Every reply by status, those included that asked to send again. Of a batch: for each message.
    pub replies: BTreeMap<u16, u64>,
    pub examples: Vec<String>,
    /// From the first request to the last reply.
    pub elapsed_seconds: f64,
    /// `sent` by `elapsed_seconds`.
    pub requests_per_second: f64,
    /// The share of the rate that was achieved: the time of the schedule by the time that it took. `None`
    /// without a rate, or before the end.
    pub achieved_share: Option<f64>,
    /// Whether the rate was sustained: 98 % of it achieved, each reply as planned and 99 of 100 within a second,
    /// never two seconds behind in the tables, and these as they have to be. `None` without a rate, before the
    /// end, and if nobody looked into the tables.
    pub sustained: Option<bool>,
    /// Processor time of the load tester for each request, in microseconds: what it took from the machine
    /// that it shares.
    pub own_cpu_micros: f64,
    /// From when a request was due to its last reply.
    pub latency_ms: Latency,
    /// From when a message was due until its row was seen; `None` if nobody looked.
    pub stored_ms: Option<Latency>,
    /// How many samples that is taken from, and how many are missing from it.
    pub stored_samples: Samples,
    /// What was acknowledged and not applied, at worst; `None` if nobody looked.
    pub lag_max: Option<Lag>,
    /// What the tables hold beside what the 202s promised; `None` if nobody compared.
    pub verification: Option<Verification>,
    /// How many requests took how long.
    pub latency_histogram: Vec<Bar>,
    /// How many samples took how long to be stored.
    pub stored_histogram: Vec<Bar>,
    pub timeline: Vec<Point>,
    /// Where the plan came from.
    pub seed: u64,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the requests took at most this long.
    pub p50: f64,
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    pub max: f64,
}

/// Samples whose rows were waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Time between two looks, as long as few are waited for.
    pub look_every_ms: u64,
    pub seen: u64,
    /// Not looked for: too many were waited for.
    pub skipped: u64,
    /// Not seen before the run ended.
    pub unseen: u64,
}

/// What was acknowledged and not applied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    pub records: u64,
    pub seconds: f64,
}

/// What the tables hold beside what the 202s promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// `clean`, or `wrong`.
    pub verdict: String,
    /// Whether everything that was acknowledged was applied in time.
    pub applied: bool,
    /// Messages that had to be there.
    pub promised: u64,
    pub rows: u64,
    /// Clients whose rows were compared.
    pub clients: u64,
    /// Messages that Kafka's client wrote twice: the row is of an earlier record than the one that the 202 named.
    /// That is allowed, and has no effect.
    pub written_twice: u64,
    /// What is wrong, by kind.
    pub findings: BTreeMap<String, u64>,
    /// The first few of each kind.
    pub examples: Vec<String>,
}

/// How many took longer than `from_ms` and at most `to_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Milliseconds.
    pub from_ms: f64,
    /// Milliseconds.
    pub to_ms: f64,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its middle, in seconds from the start.
    pub at_seconds: f64,
    /// Requests due, a second; `None` without a rate.
    pub offered_per_second: Option<f64>,
    /// Requests settled, a second.
    pub achieved_per_second: f64,
    /// Requests that ended otherwise than planned.
    pub unexpected: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Of the requests settled.
    pub latency_ms: Option<Latency>,
    /// Of the rows seen.
    pub stored_ms: Option<Latency>,
    /// The most records acknowledged and not applied.
    pub lag_records: Option<u64>,
}

pub struct Facts<'a> {
    pub tally: &'a Tally,
    pub ended: Ended,
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// Processor time of the load tester meanwhile.
    pub own_cpu: Duration,
    pub schedule: Option<Schedule>,
    pub settings: BTreeMap<&'static str, String>,
    pub seed: u64,
    /// What the comparison with the tables said, and whether it waited long enough.
    pub verdict: Option<(&'a Verdict, bool)>,
}

impl Report {
    pub fn new(facts: Facts<'_>) -> Self {
        let Facts { tally, ended, elapsed, own_cpu, schedule, settings, seed, verdict } = facts;
        let elapsed_seconds = elapsed.as_secs_f64();
        let complete = schedule.filter(|_| ended == Ended::Complete);
        let look_every = look_every(schedule.map(|schedule| schedule.per_second()));
        let mut report = Self {
            ended,
            settings,
            figures: tally.figures,
            replies: tally.replies.clone(),
            examples: tally.examples.iter().map(Unexpected::to_string).collect(),
            elapsed_seconds,
            requests_per_second: tally.figures.sent as f64 / elapsed_seconds.max(f64::MIN_POSITIVE),
            achieved_share: complete.map(|schedule| {
                (schedule.duration().as_secs_f64() / elapsed_seconds.max(f64::MIN_POSITIVE)).min(1.0)
            }),
            sustained: None,
            own_cpu_micros: own_cpu.as_secs_f64() * 1e6 / tally.figures.sent.max(1) as f64,
            latency_ms: Latency::of(&tally.latency).unwrap_or(Latency::NONE),
            stored_ms: Latency::of(&tally.stored),
            stored_samples: Samples {
                look_every_ms: u64::try_from(look_every.as_millis()).unwrap_or_default(),
                seen: tally.stored.len(),
                skipped: tally.probes_skipped,
                unseen: tally.probes_unseen,
            },
            lag_max: tally.lag_most.map(|lag| Lag { records: lag.records, seconds: lag.age.as_secs_f64() }),
            verification: verdict.map(|(verdict, applied)| Verification::new(verdict, applied)),
            latency_histogram: bars(&tally.latency),
            stored_histogram: bars(&tally.stored),
            timeline: points(tally, elapsed, schedule),
            seed,
        };
        report.sustained = report.is_sustained();
        report
    }

    /// As the field says.
    fn is_sustained(&self) -> Option<bool> {
        let (achieved, lag, _compared) = (self.achieved_share?, self.lag_max?, self.verification.as_ref()?);
        let in_time = achieved >= 0.98 && lag.seconds < 2.0 && self.latency_ms.p99 < 1_000.0;
        Some(in_time && self.is_clean())
    }

    /// Whether everything was as it has to be.
    pub fn is_clean(&self) -> bool {
        self.figures.unexpected == 0 && self.verification.as_ref().is_none_or(Verification::is_clean)
    }
}

impl Verification {
    fn new(verdict: &Verdict, applied: bool) -> Self {
        let (kinds, is_clean) = (verdict.findings.kinds(), verdict.is_clean() && applied);
        Self {
            verdict: if is_clean { "clean" } else { "wrong" }.to_owned(),
            applied,
            promised: verdict.promised,
            rows: verdict.rows,
            clients: verdict.clients,
            written_twice: verdict.written_twice,
            findings: kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            examples: verdict.findings.examples().iter().map(ToString::to_string).collect(),
        }
    }

    pub fn is_clean(&self) -> bool {
        self.verdict == "clean"
    }

    /// How many things it found; at least one unless it was clean.
    pub fn found(&self) -> u64 {
        if self.is_clean() { 0 } else { self.findings.values().sum::<u64>().max(1) }
    }
}

impl Latency {
    const NONE: Self = Self { p50: 0.0, p90: 0.0, p99: 0.0, p999: 0.0, max: 0.0 };

    /// `None` of nothing.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |share| histogram.value_at_quantile(share) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: ms(1.0),
        })
    }
}

/// Ten bars for each power of ten, from the first that has any to the last.
fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
    let edge = |step: i32| 10_f64.powf(f64::from(step) / 10.0);
    let mut bars = Vec::new();
    for step in 0..=95 {
        let (from, to) = (edge(step), edge(step + 1));
        let count = histogram.iter_recorded().filter(|value| {
            let micros = value.value_iterated_to() as f64;
            micros >= from && micros < to
        });
        let count = count.map(|value| value.count_at_value()).sum();
        bars.push(Bar { from_ms: from / 1_000.0, to_ms: to / 1_000.0, count });
    }
    let last = bars.iter().rposition(|bar| bar.count > 0).map_or(0, |last| last + 1);
    bars.truncate(last);
    bars.drain(..bars.iter().position(|bar| bar.count > 0).unwrap_or(0));
    bars
}

fn points(tally: &Tally, elapsed: Duration, schedule: Option<Schedule>) -> Vec<Point> {
    let (width, slots) = (tally.timeline.width(), tally.timeline.slots());
    let mut from = Duration::ZERO;
    let mut points = Vec::with_capacity(slots.len());
    for slot in slots {
        let (start, end) = (from, from + width);
        from = end;
        let full = end.min(elapsed.max(start)) - start;
        // A rate over a small part of a slot says nothing; a run that is shorter has nothing else.
        if full < width / 2 && !points.is_empty() {
            break;
        }
        let seconds = full.max(width / 10).as_secs_f64();
        let due = |time| schedule.map_or(0.0, |schedule| schedule.due_by(time));
        let offered = (due(start + Duration::from_secs_f64(seconds)) - due(start)) / seconds;
        points.push(Point {
            at_seconds: start.as_secs_f64() + seconds / 2.0,
            offered_per_second: schedule.map(|_| offered),
            achieved_per_second: slot.settled as f64 / seconds,
            unexpected: slot.unexpected,
            retries: slot.retries,
            latency_ms: Latency::of(&slot.ack),
            stored_ms: Latency::of(&slot.stored),
            lag_records: slot.lag_records,
        });
    }
    points
}

#[cfg(test)]
mod tests;
