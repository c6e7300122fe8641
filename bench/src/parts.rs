//! The measurements of a run, each with what it shows meanwhile and where its figures go. Each leaves a figure as
//! soon as it has it, so that what fails later takes nothing with it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use dev_env::{commands::steps::step, interrupt, workspace::Workspace};

use crate::{
    backlog::{self, Writers},
    busy, control, copy,
    debezium::Debezium,
    drain,
    end_to_end::{self as everything, AtRate},
    http::{self, Target},
    lab::Lab,
    postgres_alone,
    redis::{self, Redis, Way},
    summary::Summary,
    webhook,
};

#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub runs: u32,
    pub records: u64,
    /// Records of the backlogs of other clients, and of PostgreSQL alone.
    pub other_records: u64,
    pub http: Duration,
    pub redis: Duration,
    /// Messages of each of the two runs that break something.
    pub broken: u64,
    /// Everything at once: beside 10,000 requests a second.
    pub other_rates: &'static [f64],
    pub at_rate: Duration,
    /// A rate of the search for the highest.
    pub searched: Duration,
    pub warm_up: Duration,
    pub control: Duration,
    pub way: Duration,
    pub away: Duration,
}

pub const FULL: Size = Size {
    runs: 3,
    records: 1_000_000,
    other_records: 300_000,
    http: Duration::from_secs(8),
    redis: Duration::from_secs(10),
    broken: 40_000,
    other_rates: &[1_000.0, 5_000.0],
    at_rate: Duration::from_secs(30),
    searched: Duration::from_secs(15),
    warm_up: Duration::from_secs(45),
    control: Duration::from_secs(12),
    way: Duration::from_secs(3),
    away: Duration::from_secs(20),
};

pub const QUICK: Size = Size {
    runs: 1,
    records: 300_000,
    other_records: 100_000,
    http: Duration::from_secs(4),
    redis: Duration::from_secs(5),
    broken: 5_000,
    other_rates: &[1_000.0],
    at_rate: Duration::from_secs(12),
    searched: Duration::from_secs(10),
    warm_up: Duration::from_secs(20),
    control: Duration::from_secs(8),
    way: Duration::from_secs(1),
    away: Duration::from_secs(5),
};

pub const BACKLOG: &str = "bench.backlog";

/// Those of other clients.
const OTHER_BACKLOGS: [(&str, Writers); 2] =
    [("bench.new_clients", Writers::NewEachTime), ("bench.one_client", Writers::OneClient)];

/// What is sent while Kafka warms up, requests a second.
const WARM_UP_RATE: f64 = 4_000.0;

/// Requests that were written beforehand, in each of the ways to send them.
const POOL: u64 = 20_000;

/// Kafka's JVM compiles what it does often, for half a minute and more, on the cores that are measured.
pub fn warm_up(lab: &Lab, size: &Size, _: &mut Summary) -> Result<()> {
    let what = format!("end to end, {WARM_UP_RATE} requests/s, not counted: Kafka warms up");
    step(&what, || everything::at_rate(lab, WARM_UP_RATE, size.warm_up, "warm_up")).map(drop)
}

/// The handler that does nothing.
pub fn control(lab: &Lab, size: &Size, summary: &mut Summary) -> Result<()> {
    let control = step("the control: a handler that does nothing, 10,000 requests/s", || {
        control::measure(lab, size.control)
    })?;
    summary.controls.push(control);
    Ok(())
}

/// The processor, and COPY of what it wrote.
pub fn drained(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let (database, copy) = (format!("drain_{number}"), format!("copy_{number}"));
    let drained = step("the processor drains it", || drain::drain(lab, BACKLOG, size.records, &database))?;
    summary.drain_records_per_s.push(drained.records_per_second);
    summary.drain_cpu.push(drained.cpu);
    summary.drain_peak_rss_mib.push(drained.memory.processor);
    let rate = step("COPY of the same rows", || copy::rate(lab, BACKLOG, &database, &copy))?;
    summary.copy_rows_per_s.push(rate);
    lab.drop_database(&database)?;
    lab.drop_database(&copy)
}

pub fn other_backlogs(lab: &Lab, size: &Size, _: &mut Summary) -> Result<()> {
    for (topic, writers) in OTHER_BACKLOGS {
        step(&format!("a backlog, {topic}"), || {
            backlog::fill(lab, topic, backlog::plan(size.other_records, 2)?, writers)
        })?;
    }
    Ok(())
}

/// The processor on them.
pub fn other_drains(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let rates = [&mut summary.drain_new_clients_per_s, &mut summary.drain_one_client_per_s];
    for ((topic, _), rates) in OTHER_BACKLOGS.into_iter().zip(rates) {
        let database = format!("{}_{number}", topic.replace('.', "_"));
        let drained = step(&format!("the processor drains {topic}"), || {
            drain::drain(lab, topic, size.other_records, &database)
        })?;
        rates.push(drained.records_per_second);
        lab.drop_database(&database)?;
    }
    Ok(())
}

/// The ingest API and the handler that does nothing, as fast as they answer.
pub fn over_http(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let plan = backlog::plan(POOL, 300 + u64::from(number))?;
    let pool = |writers| backlog::single_requests(&plan, writers).map(Arc::new);
    let singles = pool(Writers::Usual)?;
    let batch = |from| backlog::batch_request(&plan, Writers::Usual, from, from + backlog::BATCH);
    let batches = (0..POOL).step_by(usize::try_from(backlog::BATCH)?).map(batch);
    let batches = Arc::new(batches.collect::<Result<Vec<_>>>()?);
    let load = |target, requests: &Arc<Vec<Vec<u8>>>, connections| {
        lab.runtime.block_on(http::load(target, Arc::clone(requests), connections, size.http))
    };
    let noop = step("HTTP, a handler that does nothing", || {
        let noop = control::start(lab)?;
        let pids = [Some(noop.pid()), None, None, None, None];
        load(Target { address: noop.address, pids }, &singles, http::CONNECTIONS)
    })?;
    summary.http_noop_rps.push(noop.per_second);
    summary.noop_cpu.push(noop.cpu);
    let topic = format!("bench.http{number}");
    lab.topic(&topic)?;
    let mut api = lab.ingest_api(&topic)?;
    let target = lab.target(&api)?;
    let single = step("HTTP, single messages", || load(target, &singles, http::CONNECTIONS))?;
    summary.ingest_single_rps.push(single.per_second);
    summary.single_cpu.push(single.cpu);
    for (what, writers, rates) in [
        ("HTTP, each message another client's", Writers::NewEachTime, &mut summary.ingest_new_clients_rps),
        ("HTTP, all messages one client's", Writers::OneClient, &mut summary.ingest_one_client_rps),
    ] {
        let requests = pool(writers)?;
        rates.push(step(what, || load(target, &requests, http::CONNECTIONS))?.per_second);
    }
    let batch = step("HTTP, batches of 100", || load(target, &batches, http::CONNECTIONS_WITH_BATCHES))?;
    summary.ingest_batch_messages_per_s.push(batch.per_second * backlog::BATCH as f64);
    api.stop()?;
    let topic = format!("bench.webhook{number}");
    let pair =
        step("HTTP, signed messages and webhooks", || webhook::measure(lab, &topic, &plan, size.http))?;
    summary.ingest_signed_rps.push(pair.signed.per_second);
    summary.ingest_webhook_rps.push(pair.webhook.per_second);
    summary.signed_cpu.push(pair.signed.cpu);
    summary.webhook_cpu.push(pair.webhook.cpu);
    // What it left in the page cache is written before the next measurement.
    interrupt::pause(Duration::from_secs(2))?;
    Ok(())
}

/// How PostgreSQL alone commits best.
pub fn best_way(lab: &Lab, size: &Size, summary: &mut Summary) -> Result<()> {
    let requests = Arc::new(backlog::single_requests(&backlog::plan(POOL, 300)?, Writers::Usual)?);
    let way = step("PostgreSQL alone, its best way", || postgres_alone::best(lab, &requests, size.way))?;
    summary.alone.way = Some(way);
    Ok(())
}

/// What PostgreSQL alone acknowledges, and what it folds.
pub fn alone(lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
    let way = summary.alone.way.context("its best way is not known")?;
    let plan = backlog::plan(POOL, 300 + u64::from(number))?;
    let requests = Arc::new(backlog::single_requests(&plan, Writers::Usual)?);
    let database = format!("alone_{number}");
    let single = step("PostgreSQL alone, single messages", || {
        postgres_alone::closed_loop(lab, way, &requests, size.http, &database)
    })?;
    summary.alone.single_rps.push(single.per_second);
    summary.alone.single_cpu.push(single.cpu);
    let (rate, cpu) = step("PostgreSQL alone, a backlog", || {
        postgres_alone::folded(lab, &backlog::plan(size.other_records, 1)?, &format!("{database}_backlog"))
    })?;
    summary.alone.folded_per_s.push(rate);
    summary.alone.folded_cpu.push(cpu);
    Ok(())
}

/// What senders notice while PostgreSQL is away.
pub fn outage(lab: &Lab, size: &Size, summary: &mut Summary) -> Result<()> {
    let way = summary.alone.way.context("its best way is not known")?;
    let (alone, telex) = step("PostgreSQL away, alone and with Kafka in front", || {
        postgres_alone::refused(lab, way, size.away)
    })?;
    (summary.alone.outage, summary.alone.telex_outage) = (Some(alone), Some(telex));
    Ok(())
}

/// Everything at once at a rate.
pub fn end_to_end(lab: &Lab, size: &Size, rate: f64, number: u32, points: &mut Vec<AtRate>) -> Result<()> {
    let what = format!("end to end, {rate} requests/s for {} s", size.at_rate.as_secs());
    let name = format!("rate_{rate}_{number}");
    points.push(step(&what, || everything::at_rate(lab, rate, size.at_rate, &name))?);
    Ok(())
}

/// The mission's load beside somebody who has half a core.
pub fn beside_busy_loop(lab: &Lab, size: &Size, summary: &mut Summary) -> Result<()> {
    let mut busy = busy::start(lab)?;
    let what = format!("end to end, {} requests/s beside half a core of others' work", control::RATE);
    let point = step(&what, || everything::at_rate(lab, control::RATE, size.at_rate, "beside_busy_loop"))?;
    // Otherwise the figure would be one of a free machine.
    anyhow::ensure!(busy.is_running(), "the work beside it ended too early");
    busy.kill();
    summary.beside_busy_loop.push(point);
    Ok(())
}

/// One of the others, if it is wanted and can be had.
fn had<T>(
    what: &str,
    is_wanted: bool,
    failed: &mut Vec<String>,
    work: impl FnOnce() -> Result<T>,
) -> Option<T> {
    let had = is_wanted.then(|| step(what, work))?;
    had.map_err(|error| failed.push(format!("{what}: {error:#}"))).ok()
}

/// What is not ours, as far as it can be had.
pub struct Others {
    debezium: Option<Debezium>,
    redis: Option<Redis>,
}

impl Others {
    pub fn prepare(
        workspace: &Workspace,
        lab: &Lab,
        debezium: bool,
        redis: bool,
        failed: &mut Vec<String>,
    ) -> Self {
        Self {
            debezium: had("Debezium's JDBC sink", debezium, failed, || Debezium::install(workspace)),
            redis: had("Redis", redis, failed, || Redis::start(workspace, &lab.directory)),
        }
    }

    pub fn debezium(&self, lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
        let Some(debezium) = &self.debezium else { return Ok(()) };
        let database = format!("debezium_{number}");
        let rate =
            step("Debezium's JDBC sink drains it", || debezium.rate(lab, BACKLOG, size.records, &database));
        lab.drop_database(&database).ok();
        summary.debezium_rows_per_s.push(rate?);
        Ok(())
    }

    pub fn redis(&self, lab: &Lab, size: &Size, number: u32, summary: &mut Summary) -> Result<()> {
        let Some(redis) = &self.redis else { return Ok(()) };
        let database = format!("redis_{number}");
        let rate = step("the Redis-lock way", || {
            let plan = backlog::plan(1_000_000, 100 + u64::from(number))?;
            redis::rate(lab, redis.port, plan, &database, size.redis)
        });
        lab.drop_database(&database).ok();
        summary.redis_lock_messages_per_s.push(rate?);
        Ok(())
    }

    /// What a Redis lock doubles and drops.
    pub fn damage(&self, lab: &Lab, size: &Size, summary: &mut Summary) -> Result<()> {
        let Some(redis) = &self.redis else { return Ok(()) };
        let expiring = Way {
            lock: Duration::from_millis(200),
            stall: Some((50, Duration::from_millis(400))),
            ..Way::USUAL
        };
        let damage = |what: &str, database: &str, seed, way, kill| {
            let damage = step(what, || {
                let plan = backlog::plan(size.broken, seed)?;
                redis::damage(lab, redis.port, plan, database, way, kill)
            });
            lab.drop_database(database).ok();
            damage.map(Some)
        };
        let kill = Some(Duration::from_millis(50));
        summary.redis_lock_killed =
            damage("the Redis-lock way, workers killed", "redis_killed", 201, Way::USUAL, kill)?;
        summary.redis_lock_expired =
            damage("the Redis-lock way, locks expire", "redis_expired", 202, expiring, None)?;
        Ok(())
    }
}
