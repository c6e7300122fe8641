//! Everything at once on one machine: load tester → ingest API → Kafka → processor → PostgreSQL, single
//! messages at a rate, with duplicates and invalid ones among them, verified afterwards.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    interrupt,
    process::{Server, Spec, log_tail},
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    lab::Lab,
    usage::{self, Usage},
};

/// What a rate came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtRate {
    /// Requests a second that were due.
    pub offered: f64,
    /// Requests a second that were answered.
    pub achieved: f64,
    /// Milliseconds from when a request was due to its answer.
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    /// Milliseconds from when a message was due to when its row was seen.
    pub stored_p50_ms: f64,
    pub stored_p99_ms: f64,
    /// The most records that were acknowledged and not applied, and the age of the oldest.
    pub lag_records: u64,
    pub lag_seconds: f64,
    /// Replies other than planned, and what verification found.
    pub wrong: u64,
    /// Processor time a request, in microseconds, of each program.
    pub cpu_micros: Cpu,
    /// The most memory that each program had, in MiB.
    pub peak_rss_mib: Memory,
}

/// Microseconds a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the programs")]
pub struct Cpu {
    pub ingest_api: f64,
    pub processor: f64,
    pub kafka: f64,
    pub postgres: f64,
    pub loadtest: f64,
}

/// MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the programs")]
pub struct Memory {
    pub ingest_api: f64,
    pub processor: f64,
    pub kafka: f64,
}

impl AtRate {
    /// Whether the rate was kept, without a lag of two seconds and without one wrong reply.
    pub fn is_sustained(&self) -> bool {
        self.achieved >= 0.98 * self.offered && self.lag_seconds < 2.0 && self.wrong == 0
    }
}

/// What `loadtest run --report` tells, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Report {
    requests_per_second: f64,
    unexpected: u64,
    latency_ms: Latency,
    stored_ms: Option<Latency>,
    lag_max: Option<Lag>,
    verification: Option<Verification>,
    timeline: Vec<Point>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

#[derive(Debug, Deserialize)]
struct Lag {
    records: u64,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Verification {
    verdict: String,
    findings: std::collections::BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Point {
    at_seconds: f64,
    achieved_per_second: f64,
}

/// The programs' use at one moment, in the order of [`Cpu`].
type Uses = [Usage; 5];

/// Connections of the load tester.
const CONNECTIONS: usize = 256;

/// Not counted at both ends.
const EDGE: Duration = Duration::from_secs(2);

/// Sends at a rate for so long.
///
/// # Errors
/// Something does not run.
pub fn at_rate(lab: &Lab, offered: f64, duration: Duration, name: &str) -> Result<AtRate> {
    let topic = format!("bench.{name}");
    lab.topic(&topic)?;
    let programs = lab.telex_database(&topic, name)?;
    let mut api = lab.ingest_api(&topic)?;
    let group = format!("--group={name}");
    let mut processor = programs.processor(&lab.directory, "processor", &[&group])?;
    processor.wait_until_ready()?;
    let address = api.address.context("the ingest API has no address")?;

    let report = lab.directory.join(format!("{name}.json"));
    let mut command = Command::new(lab.binaries().join("loadtest"));
    command.env("LOADTEST_DATABASE_URL", &programs.database_url);
    command.args(["run", "--url", &format!("http://{address}"), "--rate", &offered.to_string()]);
    command.args(["--duration", &duration.as_secs().to_string(), "--connections", &CONNECTIONS.to_string()]);
    command.arg("--report").arg(&report);
    let mut sender = Server::spawn(Spec {
        name: "loadtest",
        directory: &lab.directory,
        command,
        stop_signal: Signal::SIGINT,
    })?;
    let start = Instant::now();
    let pids = [
        Some(api.server.pid()),
        Some(processor.server.pid()),
        lab.kafka.pid(),
        lab.postgres.pid(),
        Some(sender.pid()),
    ];
    let uses = || pids.map(|pid| pid.map(usage::of).unwrap_or_default());
    interrupt::pause(EDGE)?;
    let (from, before) = (start.elapsed(), uses());
    interrupt::pause(duration.saturating_sub(EDGE + from))?;
    let (to, after) = (start.elapsed(), uses());
    while sender.is_running() {
        interrupt::pause(Duration::from_millis(100))?;
    }
    sender.wait()?;
    let text = fs::read(&report).with_context(|| format!("no report; {}", log_tail(sender.log())))?;
    let report: Report = serde_json::from_slice(&text).context("the load tester's report cannot be read")?;
    api.stop()?;
    processor.stop()?;
    lab.drop_database(name)?;
    at_rate_of(offered, &report, (from, before), (to, after))
}

fn at_rate_of(
    offered: f64,
    report: &Report,
    (from, before): (Duration, Uses),
    (to, after): (Duration, Uses),
) -> Result<AtRate> {
    let (Some(stored), Some(lag), Some(verification)) =
        (&report.stored_ms, &report.lag_max, &report.verification)
    else {
        bail!("the load tester did not look into the database");
    };
    let within = |point: &&Point| (from.as_secs_f64()..to.as_secs_f64()).contains(&point.at_seconds);
    let (points, rates) = report
        .timeline
        .iter()
        .filter(within)
        .fold((0.0, 0.0), |(points, rates), point| (points + 1.0, rates + point.achieved_per_second));
    let requests = rates / f64::max(points, 1.0) * (to - from).as_secs_f64();
    let [ingest_api, processor, kafka, postgres, loadtest] = std::array::from_fn(|place| {
        let of = |uses: &Uses| uses.get(place).copied().unwrap_or_default();
        (of(&after) - of(&before)).as_secs_f64() * 1e6 / f64::max(requests, 1.0)
    });
    let mib = |usage: Usage| usage.peak_rss_bytes as f64 / 1_048_576.0;
    let [api, drain, broker, ..] = after;
    let found =
        if verification.verdict == "clean" { 0 } else { verification.findings.values().sum::<u64>().max(1) };
    Ok(AtRate {
        offered,
        achieved: report.requests_per_second,
        ack_p50_ms: report.latency_ms.p50,
        ack_p99_ms: report.latency_ms.p99,
        stored_p50_ms: stored.p50,
        stored_p99_ms: stored.p99,
        lag_records: lag.records,
        lag_seconds: lag.seconds,
        wrong: report.unexpected + found,
        cpu_micros: Cpu { ingest_api, processor, kafka, postgres, loadtest },
        peak_rss_mib: Memory { ingest_api: mib(api), processor: mib(drain), kafka: mib(broker) },
    })
}
