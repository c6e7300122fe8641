//! Which measurement comes when. Each of several runs does all of them, one after the other: so that what
//! changes on the machine meanwhile meets them all.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result};
use dev_env::{
    commands::steps::{say, step},
    interrupt,
    ports::Port,
    process::{Server, Spec},
    workspace::Workspace,
};
use nix::sys::signal::Signal;

use crate::{
    backlog, copy,
    debezium::Debezium,
    document, drain, end_to_end, http,
    lab::Lab,
    redis::{self, Redis, Way},
    summary::{Machine, Summary},
    webhook,
};

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The processor, and COPY of what it wrote.
    Drain,
    /// Debezium's JDBC sink.
    Debezium,
    /// The Redis lock.
    Redis,
    /// The ingest API and the handler that does nothing.
    Http,
    /// Everything at once.
    EndToEnd,
}

struct Size {
    runs: u32,
    records: u64,
    http: Duration,
    redis: Duration,
    /// Messages of each of the two runs that break something.
    broken: u64,
    rates: &'static [f64],
    at_rate: Duration,
    warm_up: Duration,
}

/// What is sent while Kafka warms up, requests a second.
const WARM_UP_RATE: f64 = 4_000.0;

const FULL: Size = Size {
    runs: 3,
    records: 1_000_000,
    http: Duration::from_secs(10),
    redis: Duration::from_secs(15),
    broken: 40_000,
    rates: &[1_000.0, 5_000.0, 10_000.0, 15_000.0, 20_000.0, 25_000.0],
    at_rate: Duration::from_secs(60),
    warm_up: Duration::from_secs(60),
};

const QUICK: Size = Size {
    runs: 1,
    records: 300_000,
    http: Duration::from_secs(4),
    redis: Duration::from_secs(5),
    broken: 5_000,
    rates: &[1_000.0, 10_000.0, 15_000.0],
    at_rate: Duration::from_secs(20),
    warm_up: Duration::from_secs(30),
};

/// Requests that were written beforehand, in each of the ways to send them.
const POOL: u64 = 20_000;

/// Where the summary is left.
pub fn summary_path(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bench/summary.json")
}

/// Measures, and prints the table.
///
/// # Errors
/// Something could not be measured that needs nothing of others.
pub fn run(workspace: &Workspace, quick: bool, only: &[Part]) -> Result<Summary> {
    let size = if quick { QUICK } else { FULL };
    let wants = |part| only.is_empty() || only.contains(&part);
    let mut summary = Summary { quick, records: size.records, machine: machine(), ..Summary::default() };
    let lab = step("Kafka and PostgreSQL", || Lab::start(workspace))?;
    let drains = wants(Part::Drain) || wants(Part::Debezium);
    if drains {
        step(&format!("a backlog of {} records", size.records), || {
            backlog::fill(&lab, "bench.backlog", backlog::plan(size.records, 1)?)
        })?;
    }
    let others = Others::prepare(workspace, &lab, (wants(Part::Debezium), wants(Part::Redis)), &mut summary);
    for number in 1..=size.runs {
        say(&format!("run {number} of {}", size.runs));
        if wants(Part::Drain) {
            drained(&lab, &size, number, &mut summary)?;
        }
        others.measure(&lab, &size, number, &mut summary);
        if wants(Part::Http) {
            over_http(&lab, &size, number, &mut summary)?;
        }
    }
    if wants(Part::Redis) {
        others.damage(&lab, &size, &mut summary);
    }
    if wants(Part::EndToEnd) {
        // Kafka's JVM compiles what it does often, for half a minute and more, on the cores that are measured.
        let warm_up = format!("end to end, {WARM_UP_RATE} requests/s, not counted: Kafka warms up");
        step(&warm_up, || end_to_end::at_rate(&lab, WARM_UP_RATE, size.warm_up, "warm_up"))?;
        for rate in size.rates {
            let what = format!("end to end, {rate} requests/s for {} s", size.at_rate.as_secs());
            let name = format!("rate_{rate}");
            summary.end_to_end.push(step(&what, || end_to_end::at_rate(&lab, *rate, size.at_rate, &name))?);
        }
    }
    summary.at = service_kit::clock::unix_time().as_secs();
    let path = summary_path(workspace);
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(&path, serde_json::to_vec_pretty(&summary)?)?;
    let directory = lab.directory.clone();
    drop(lab);
    // Gigabytes; the logs go with them, unless something failed before.
    fs::remove_dir_all(directory).ok();
    say(&format!("\n{}\n{}", document::table(&summary), path.display()));
    Ok(summary)
}

fn drained(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let (database, copy) = (format!("drain_{number}"), format!("copy_{number}"));
    let drained =
        step("the processor drains it", || drain::drain(lab, "bench.backlog", size.records, &database))?;
    summary.drain_records_per_s.push(drained.records_per_second);
    summary.drain_cpu_micros.push(drained.cpu_micros);
    summary.drain_peak_rss_mib.push(drained.peak_rss_bytes as f64 / 1_048_576.0);
    let rate = step("COPY of the same rows", || copy::rate(lab, "bench.backlog", &database, &copy))?;
    summary.copy_rows_per_s.push(rate);
    lab.drop_database(&database)?;
    lab.drop_database(&copy)
}

/// What is not ours: where one cannot be had, the table says so and the run goes on.
struct Others {
    debezium: Option<Debezium>,
    redis: Option<Redis>,
}

impl Others {
    fn prepare(
        workspace: &Workspace,
        lab: &Lab,
        (debezium, redis): (bool, bool),
        summary: &mut Summary,
    ) -> Self {
        let mut others = Self { debezium: None, redis: None };
        if debezium {
            match step("Debezium's JDBC sink", || Debezium::install(workspace)) {
                Ok(installed) => others.debezium = Some(installed),
                Err(error) => summary.notes.push(format!("Debezium's JDBC sink: {error:#}")),
            }
        }
        if redis {
            match step("Redis", || Redis::start(workspace, &lab.directory)) {
                Ok(started) => others.redis = Some(started),
                Err(error) => summary.notes.push(format!("Redis: {error:#}")),
            }
        }
        others
    }

    fn measure(&self, lab: &Lab, size: &Size, number: u32, summary: &mut Summary) {
        if let Some(debezium) = &self.debezium {
            let database = format!("debezium_{number}");
            let rate = step("Debezium's JDBC sink drains it", || {
                debezium.rate(lab, "bench.backlog", size.records, &database)
            });
            noted(rate, &mut summary.debezium_rows_per_s, &mut summary.notes, "Debezium's JDBC sink");
            lab.drop_database(&database).ok();
        }
        if let Some(redis) = &self.redis {
            let database = format!("redis_{number}");
            let rate = step("the Redis-lock way", || {
                let plan = backlog::plan(1_000_000, 100 + u64::from(number))?;
                redis::rate(lab, redis.port, plan, &database, size.redis)
            });
            noted(rate, &mut summary.redis_lock_messages_per_s, &mut summary.notes, "the Redis-lock way");
            lab.drop_database(&database).ok();
        }
    }

    fn damage(&self, lab: &Lab, size: &Size, summary: &mut Summary) {
        let Some(redis) = &self.redis else { return };
        let expiring = Way {
            lock: Duration::from_millis(200),
            stall: Some((50, Duration::from_millis(400))),
            ..Way::USUAL
        };
        let damage = |what: &str, database: &str, seed, way, kill| {
            let damage = step(what, || {
                let plan = backlog::plan(size.broken, seed)?;
                redis::damage(lab, redis.port, (plan, database), way, kill)
            });
            lab.drop_database(database).ok();
            damage
        };
        let kill = Some(Duration::from_millis(50));
        let killed = damage("the Redis-lock way, workers killed", "redis_killed", 201, Way::USUAL, kill);
        let expired = damage("the Redis-lock way, locks expire", "redis_expired", 202, expiring, None);
        for (damage, slot) in
            [(killed, &mut summary.redis_lock_killed), (expired, &mut summary.redis_lock_expired)]
        {
            match damage {
                Ok(damage) => *slot = Some(damage),
                Err(error) => summary.notes.push(format!("the Redis-lock way, broken: {error:#}")),
            }
        }
    }
}

fn noted(rate: Result<f64>, rates: &mut Vec<f64>, notes: &mut Vec<String>, name: &str) {
    match rate {
        Ok(rate) => rates.push(rate),
        Err(error) => notes.push(format!("{name}: {error:#}")),
    }
}

fn over_http(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let plan = backlog::plan(POOL, 300 + u64::from(number))?;
    let single = |index| http::request("/v1/messages", "application/json", &plan.body(&plan.request(index)));
    let singles = Arc::new((0..POOL).map(single).collect::<Vec<_>>());
    let batch = |from| backlog::batch_request(&plan, from, from + backlog::BATCH);
    let batches =
        Arc::new((0..POOL).step_by(usize::try_from(backlog::BATCH)?).map(batch).collect::<Vec<_>>());
    let load = |server, requests: &Arc<Vec<Vec<u8>>>, connections| {
        lab.runtime.block_on(http::load(server, Arc::clone(requests), connections, size.http))
    };
    let noop = step("HTTP, a handler that does nothing", || {
        let address = SocketAddr::from(([127, 0, 0, 1], Port::Free.pick()?));
        let mut command = Command::new(lab.binaries().join("bench"));
        command.arg("noop-server").arg("--listen").arg(address.to_string());
        let spec = Spec { name: "noop", directory: &lab.directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        server
            .wait_until_ready(Duration::from_secs(10), |_| std::net::TcpStream::connect(address).is_ok())?;
        load((address, server.pid()), &singles, http::CONNECTIONS)
    })?;
    summary.http_noop_rps.push(noop.per_second);
    let topic = format!("bench.http{number}");
    lab.topic(&topic)?;
    let mut api = lab.ingest_api(&topic)?;
    let server = (api.address.context("the ingest API has no address")?, api.server.pid());
    let single = step("HTTP, single messages", || load(server, &singles, http::CONNECTIONS))?;
    summary.ingest_single_rps.push(single.per_second);
    summary.single_cpu_micros.push(single.cpu_micros);
    let batch = step("HTTP, batches of 100", || load(server, &batches, http::CONNECTIONS_WITH_BATCHES))?;
    summary.ingest_batch_messages_per_s.push(batch.per_second * backlog::BATCH as f64);
    api.stop()?;
    let topic = format!("bench.webhook{number}");
    let pair =
        step("HTTP, signed messages and webhooks", || webhook::measure(lab, &topic, &plan, size.http))?;
    summary.ingest_signed_rps.push(pair.signed.per_second);
    summary.ingest_webhook_rps.push(pair.webhook.per_second);
    summary.signed_cpu_micros.push(pair.signed.cpu_micros);
    summary.webhook_cpu_micros.push(pair.webhook.cpu_micros);
    // What it left in the page cache is written before the next measurement.
    interrupt::pause(Duration::from_secs(2))?;
    Ok(())
}

fn machine() -> Machine {
    let first = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = after(&first("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let memory_kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    Machine {
        cores: thread::available_parallelism().map_or(0, usize::from),
        processor: after(&first("/proc/cpuinfo"), "model name").unwrap_or_default(),
        memory_mib: memory_kib / 1024,
        load_before: first("/proc/loadavg")
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or_default(),
    }
}
