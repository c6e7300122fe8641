//! A Telex of a fault's own: topic, database, programs, load, sampler. Dropping it kills what still runs.

mod look;
mod members;

pub use self::look::counted_by;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{self, PARTITIONS, Programs, Running, TOPIC_SETTINGS},
    proxy::Proxy,
};

use crate::{
    checker::{Violation, chain},
    ground::Site,
    history::{History, Mark},
    load::{Commands, Load, Order, Targets},
    plan::Plan,
    random::Random,
    sampler::Sampler,
    variant::Variant,
    verdict::{Outcome, Strike},
    wire::{
        kafka::{Cluster, End},
        postgres::Connection,
    },
};

/// How long the group waits for a silent processor: the shortest that a broker allows.
pub const SESSION: Duration = Duration::from_secs(6);
/// After its session a dead processor's partitions must be taken up within this time.
pub const TAKEOVER: Duration = Duration::from_secs(9);
/// Acknowledged messages a second below which a run says nothing.
const RATE_MIN: u64 = 200;
const SETUP: Duration = Duration::from_secs(60);

/// How many records are applied, as a server tells it.
pub const APPLIED: &str =
    "select coalesce(sum(next_offset - birth_offset), 0)::bigint from partition_progress";

/// How long the rate is looked at before a fault.
const LOOK: Duration = Duration::from_millis(1_500);
/// How long the rate may take to come back after a fault.
const FLOWS_AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Options {
    /// Where the programs are, built with the processor's feature `failpoints`.
    pub binaries: PathBuf,
    /// Where those of a former commit are, if there are any.
    pub former: Option<PathBuf>,
    pub directory: PathBuf,
    pub seed: u64,
    /// Messages offered a second.
    pub rate: u64,
    pub variant: Variant,
    /// Whether the programs have a planted bug: what is found is found, however little was sent.
    pub is_planted: bool,
    /// How long the lag may take to be nothing once everything is healed (P11).
    pub catch_up: Duration,
    /// How far back a restored database goes (F20).
    pub restore_ago: Duration,
}

pub struct World {
    pub options: Options,
    pub cluster: Cluster,
    pub topic: String,
    pub database: String,
    /// Between the processors and PostgreSQL.
    pub proxy: Proxy,
    pub history: Arc<History>,
    pub apis: Vec<Running>,
    /// The processors that run, by their names.
    pub processors: BTreeMap<String, Running>,
    pub sampler: Sampler,
    /// For what a fault leaves to chance.
    pub random: Random,
    site: Site,
    programs: Programs,
    targets: Targets,
    next: Arc<AtomicU64>,
    load: Option<Load>,
    started: u32,
    rate: u64,
}

impl World {
    /// Makes topic, database and tables, and starts an API; no processor yet.
    pub fn new(name: &str, options: &Options, site: &Site) -> Result<Self> {
        static WORLDS: AtomicU64 = AtomicU64::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}_{:x}_{}_{number}", name.to_lowercase(), options.seed, std::process::id());
        let (topic, database) = (format!("torture.{unique}"), format!("torture_{unique}"));
        let settings: Vec<_> = TOPIC_SETTINGS.iter().chain(&site.settings).copied().collect();
        site.cluster.create_topic(&topic, &site.replicas, &settings)?;
        Connection::open(site.database, "postgres")?.execute(&format!("create database {database}"))?;
        let proxy = Proxy::start(site.database)?;
        let mut options = options.clone();
        options.directory = options.directory.join(unique);
        let programs = Programs {
            binaries: options.binaries.clone(),
            kafka: site.for_processors.clone(),
            database_url: format!("postgres://telex@{}/{database}", proxy.address()),
            topic: topic.clone(),
        };
        programs.require_processor(&["migrate"])?;
        Connection::open(site.database, &database)?.execute(chain::AUDIT)?;
        options.variant.prepare(&options.directory)?;
        let mut world = Self {
            sampler: Sampler::start(proxy.clone(), database.clone()),
            random: Random::new(options.seed, number),
            options,
            cluster: site.cluster.clone(),
            topic,
            database,
            proxy,
            history: Arc::default(),
            apis: Vec::new(),
            processors: BTreeMap::new(),
            site: site.clone(),
            programs,
            targets: Targets::default(),
            next: Arc::default(),
            load: None,
            started: 0,
            rate: 0,
        };
        world.api(Port::Free)?;
        Ok(world)
    }

    pub fn plan(&self) -> Plan {
        Plan { seed: self.options.seed, clients: self.options.variant.clients() }
    }

    /// The number of a message that nobody else sends.
    pub fn unsent(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on the processors read another Kafka, as after a change of their settings.
    pub fn read_from(&mut self, site: &Site) {
        self.programs.kafka.clone_from(&site.for_processors);
        self.cluster = site.cluster.clone();
        self.site = site.clone();
    }

    /// Runs a command of the processor's that must succeed, past the proxy.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        self.past_the_proxy().require_processor(arguments)
    }

    fn past_the_proxy(&self) -> Programs {
        let database_url = format!("postgres://telex@{}/{}", self.proxy.server(), self.database);
        Programs { database_url, ..self.programs.clone() }
    }

    pub fn start_load(&mut self) {
        if self.load.is_some() {
            return;
        }
        let commands =
            Commands { cluster: self.cluster.clone(), topic: self.topic.clone(), partitions: PARTITIONS };
        let order = Order { plan: self.plan(), rate: self.options.rate, variant: self.options.variant };
        self.history.mark(Mark::Load);
        self.load = Some(Load::start(order, &self.targets, &self.history, &self.next, commands));
    }

    /// Sends no more, and waits until every request has its answer.
    pub fn stop_load(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop();
            self.history.mark(Mark::Silence);
        }
    }

    /// Starts the load and waits until it flows into the tables as it must.
    pub fn warm_up(&mut self) -> Result<()> {
        self.start_load();
        self.wait("rows", SETUP, |world| Ok(world.applied()? > 0))?;
        self.require_rate()
    }

    /// Looks at how much is acknowledged a second, just before a fault.
    pub fn require_rate(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let (before, since) = (self.history.acked(), Instant::now());
            interrupt::pause(LOOK)?;
            let acked = u128::from(self.history.acked() - before);
            let millis = since.elapsed().as_millis().max(1);
            self.rate = u64::try_from(acked * 1_000 / millis)?;
            // A bug that is found is found, however little was sent.
            if self.rate >= RATE_MIN || self.options.is_planted {
                return Ok(());
            }
            if start.elapsed() > FLOWS_AGAIN {
                bail!("only {} messages acknowledged a second before the fault", self.rate);
            }
        }
    }

    /// Acknowledged messages a second, when last looked at.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// Waits until something holds; says how long it took.
    pub fn wait(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<Duration> {
        let start = Instant::now();
        // A server that is away for a moment is no answer.
        while !holds(self).unwrap_or(false) {
            ensure!(start.elapsed() <= within, "{what}: not within {} s", within.as_secs());
            interrupt::pause(Duration::from_millis(20))?;
        }
        Ok(start.elapsed())
    }

    /// The same, where the time is a promise: passed, it is a violation.
    pub fn must(
        &mut self,
        invariant: &'static str,
        what: &str,
        within: Duration,
        holds: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<(Duration, Option<Violation>)> {
        match self.wait(what, within, holds) {
            Ok(took) => Ok((took, None)),
            Err(error) => {
                interrupt::check()?;
                Ok((within, Some(Violation::new(invariant, format!("{error:#}")))))
            }
        }
    }

    /// Waits until everything is applied that is in the topic now; says how long it took. What Kafka itself
    /// wrote at the end of a log need not be applied: nobody reads it before something follows.
    pub fn catch_up(&mut self) -> Result<(Duration, Option<Violation>)> {
        let mut ends = BTreeMap::new();
        self.wait("the ends of the logs", SETUP, |world| {
            ends = world.cluster.ends(&world.topic, End::Latest)?;
            Ok(true)
        })?;
        let within = self.options.catch_up;
        self.must("P11", "everything applied that had been kept", within, move |world| {
            Ok(world.lag_before(&ends)? == 0)
        })
    }

    /// Ends the load and waits until everything is applied, every processor ready and no transaction left
    /// open (P11).
    pub fn settle(&mut self, must_be_ready: bool) -> Result<Vec<Violation>> {
        self.stop_load();
        let (_, late) = self.catch_up()?;
        let mut violations: Vec<Violation> = late.into_iter().collect();
        let within = Duration::from_secs(if violations.is_empty() { 20 } else { 1 });
        let (_, late) = self.must("P11", "processors ready", within, |world| {
            let is_ready = |processor: &Running| {
                processor.server.is_running()
                    && programs::get(processor.admin, "/readyz").is_some_and(|(status, _)| status == 200)
            };
            Ok(!must_be_ready || world.processors.values().all(is_ready))
        })?;
        violations.extend(late);
        let open = "select count(*) from pg_stat_activity where datname = current_database()
                    and state = 'idle in transaction' and now() - state_change > interval '10 s'";
        let open = self.sql()?.number(open)?;
        let what = format!("{open} transactions idle for more than 10 s");
        violations.extend(Violation::when(open > 0, "P11", what));
        Ok(violations)
    }

    /// After a fault that heals: the Telex is whole again, and everything kept meanwhile is applied.
    pub fn recover(&mut self, strike: &mut Strike) -> Result<()> {
        self.complete()?;
        let (took, late) = self.catch_up()?;
        strike.recovery.get_or_insert(took);
        strike.violations.extend(late);
        Ok(())
    }

    /// The end of a run whose fault has been healed: everything settles and is compared.
    pub fn finish(&mut self, mut strike: Strike) -> Result<Outcome> {
        strike.violations.extend(self.settle(true)?);
        strike.violations.extend(self.check()?);
        Ok(self.outcome(strike))
    }

    /// What is to be told of a run.
    pub fn outcome(&mut self, strike: Strike) -> Outcome {
        let (looks, found) = self.sampler.finish();
        let mut violations = strike.violations;
        violations.extend(found);
        Outcome {
            evidence: strike.evidence,
            recovery: strike.recovery.unwrap_or_default(),
            violations,
            looks,
            rate: self.rate,
            acked: self.history.acked(),
            unknown: self.history.unknown(),
            longest_gap: self.history.longest_gap(),
        }
    }

    /// Ends the programs, and removes topic and database: a long run has many Telexes.
    pub fn retire(mut self) {
        self.stop_load();
        self.processors.clear();
        self.apis.clear();
        let statement = format!("drop database if exists {} with (force)", self.database);
        let server = self.proxy.server();
        Connection::open(server, "postgres").and_then(|mut server| server.execute(&statement)).ok();
        self.cluster.delete_topic(&self.topic).ok();
        std::fs::remove_dir_all(&self.options.directory).ok();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_load();
    }
}
