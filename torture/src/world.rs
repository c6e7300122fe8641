//! A Telex of a fault's own: topic, database, programs, load, sampler. Dropping it kills what still runs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{self, PARTITIONS, Programs, Running, TOPIC_SETTINGS},
};

use crate::{
    checker::{self, Evidence, Log, Violation, chain},
    history::History,
    load::{Commands, Load, Targets},
    proxy::Proxy,
    random::Random,
    sampler::Sampler,
    verdict::Outcome,
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

/// What a run is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the programs are, built with the features `failpoints` and `planted-bugs`.
    pub binaries: PathBuf,
    /// Where logs and data go.
    pub directory: PathBuf,
    /// What everything random follows from.
    pub seed: u64,
    /// Requests offered a second.
    pub rate: u64,
    /// The bug that is planted in the processors.
    pub plant: Option<String>,
    /// How long the lag may take to be nothing once everything is healed (P11).
    pub catch_up: Duration,
}

/// A Telex.
pub struct World {
    /// What it was made with.
    pub options: Options,
    /// Kafka.
    pub cluster: Cluster,
    /// The topic.
    pub topic: String,
    /// The database.
    pub database: String,
    /// Between the processors and PostgreSQL.
    pub proxy: Proxy,
    /// What was sent.
    pub history: Arc<History>,
    /// The APIs that run.
    pub apis: Vec<Running>,
    /// The processors that run, by their names.
    pub processors: BTreeMap<String, Running>,
    /// Looks at the tables.
    pub sampler: Sampler,
    /// For what a fault leaves to chance.
    pub random: Random,
    programs: Programs,
    targets: Targets,
    next: Arc<AtomicU64>,
    load: Option<Load>,
    started: u32,
    rate: u64,
}

impl World {
    /// Makes topic, database and tables, and starts an API; no processor yet.
    ///
    /// # Errors
    /// Something does not start.
    pub fn new(
        name: &str,
        options: &Options,
        cluster: Cluster,
        replicas: &[Vec<i32>],
        database_server: SocketAddr,
    ) -> Result<Self> {
        let unique = format!("{}_{:x}_{}", name.to_lowercase(), options.seed, std::process::id());
        let (topic, database) = (format!("torture.{unique}"), format!("torture_{unique}"));
        let mut settings = TOPIC_SETTINGS.to_vec();
        if replicas.first().is_some_and(|brokers| brokers.len() > 1) {
            settings.extend([("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")]);
        }
        cluster.create_topic(&topic, replicas, &settings)?;
        Connection::open(database_server, "postgres")?.query(&format!("create database {database}"))?;
        let proxy = Proxy::start(database_server)?;
        let mut options = options.clone();
        options.directory = options.directory.join(unique);
        let brokers: Vec<String> = cluster.bootstrap.iter().map(ToString::to_string).collect();
        let programs = Programs {
            binaries: options.binaries.clone(),
            kafka: brokers.join(","),
            database_url: format!("postgres://telex@{}/{database}", proxy.address()),
            topic: topic.clone(),
        };
        programs.require_processor(&["migrate"])?;
        Connection::open(database_server, &database)?.query(chain::AUDIT)?;
        let mut world = Self {
            sampler: Sampler::start(proxy.clone(), database.clone()),
            random: Random::new(options.seed, 0),
            options,
            cluster,
            topic,
            database,
            proxy,
            history: Arc::default(),
            apis: Vec::new(),
            processors: BTreeMap::new(),
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

    /// Starts an API and sends requests to it as well.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn api(&mut self, port: Port) -> Result<()> {
        self.started += 1;
        let name = format!("ingest-api-{}", self.started);
        let mut api = self.programs.ingest_api(&self.options.directory, &name, port, &[])?;
        api.wait_until_ready()?;
        self.apis.push(api);
        self.retarget();
        Ok(())
    }

    /// Requests go to the APIs that there are.
    pub fn retarget(&self) {
        let addresses = self.apis.iter().filter_map(|api| api.address).collect();
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Starts a processor that nobody waits for; says its name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn processor(&mut self, failpoints: &str) -> Result<String> {
        self.started += 1;
        let name = format!("processor-{}", self.started);
        let mut programs = self.programs.clone();
        programs.database_url = format!("{}?options[torture.process]={name}", programs.database_url);
        let (group, session) =
            (format!("--group={}", self.topic), format!("--session-timeout-ms={}", SESSION.as_millis()));
        let plant = self.options.plant.clone().unwrap_or_default();
        // One lane, so that nothing else is under way while it is held.
        let lanes = if failpoints.is_empty() { "2" } else { "1" };
        let environment = [("FAILPOINTS", failpoints), ("TELEX_PLANT", &plant), ("PROCESSOR_LANES", lanes)];
        let processor =
            programs.processor_with(&self.options.directory, &name, &[&group, &session], &environment)?;
        self.processors.insert(name.clone(), processor);
        Ok(name)
    }

    /// A processor that runs.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn running(&mut self, name: &str) -> Result<&mut Running> {
        self.processors.get_mut(name).with_context(|| format!("{name} does not run"))
    }

    /// Sends requests from now on.
    pub fn start_load(&mut self) {
        let commands =
            Commands { cluster: self.cluster.clone(), topic: self.topic.clone(), partitions: PARTITIONS };
        let pace = (self.options.seed, self.options.rate);
        self.load = Some(Load::start(pace, &self.targets, &self.history, &self.next, commands));
    }

    /// Sends no more, and waits until every request has its answer.
    pub fn stop_load(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop();
        }
    }

    /// Starts the load and waits until it flows into the tables as it must.
    ///
    /// # Errors
    /// It does not: the run says nothing.
    pub fn warm_up(&mut self) -> Result<()> {
        self.start_load();
        self.wait("rows", SETUP, |world| Ok(world.applied()? > 0))?;
        let before = self.history.acked();
        interrupt::pause(Duration::from_secs(3))?;
        self.rate = (self.history.acked() - before) / 3;
        // A bug that is found is found, however little was sent.
        if self.rate < RATE_MIN && self.options.plant.is_none() {
            bail!("only {} messages acknowledged a second before the fault", self.rate);
        }
        Ok(())
    }

    /// Waits until something holds; says how long it took.
    ///
    /// # Errors
    /// It does not hold in time.
    pub fn wait(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<Duration> {
        let start = Instant::now();
        // A server that is away for a moment is no answer.
        while !holds(self).unwrap_or(false) {
            if start.elapsed() > within {
                bail!("{what}: not within {} s", within.as_secs());
            }
            interrupt::pause(Duration::from_millis(20))?;
        }
        Ok(start.elapsed())
    }

    /// The same, where the time is a promise: passed, it is a violation.
    ///
    /// # Errors
    /// Interrupted.
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

    /// A connection to the database, past the proxy.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn sql(&self) -> Result<Connection> {
        Connection::open(self.proxy.server(), &self.database)
    }

    /// How many records are applied.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn applied(&self) -> Result<i64> {
        self.sql()?
            .number("select coalesce(sum(next_offset - birth_offset), 0)::bigint from partition_progress")
    }

    /// How far each partition is applied.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn next_offsets(&self) -> Result<BTreeMap<i32, i64>> {
        let rows = self.sql()?.query("select partition, next_offset from partition_progress")?;
        rows.iter()
            .map(|row| match &row[..] {
                [Some(partition), Some(next)] => Ok((partition.parse()?, next.parse()?)),
                _ => bail!("a row of another shape"),
            })
            .collect()
    }

    /// Who has taken each partition last.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn owners(&self) -> Result<BTreeMap<i32, String>> {
        let rows = self.sql()?.query(
            "select distinct on (partition) partition, process from torture_audit
             where to_epoch > from_epoch order by partition, seq desc",
        )?;
        rows.into_iter()
            .map(|row| match &row[..] {
                [Some(partition), Some(process)] => Ok((partition.parse()?, process.clone())),
                _ => bail!("a row of another shape"),
            })
            .collect()
    }

    /// Whether everything that is in the topic now is applied.
    ///
    /// # Errors
    /// Kafka's or PostgreSQL's.
    pub fn is_caught_up(&self) -> Result<bool> {
        let applied = self.next_offsets()?;
        let ends = self.cluster.ends(&self.topic, End::Latest)?;
        Ok(applied.iter().all(|(partition, next)| ends.get(partition).is_none_or(|end| next >= end)))
    }

    /// Waits until everything is applied that is in the topic now; says how long it took.
    ///
    /// # Errors
    /// Interrupted, or Kafka's.
    pub fn catch_up(&mut self) -> Result<(Duration, Option<Violation>)> {
        let ends = self.cluster.ends(&self.topic, End::Latest)?;
        let within = self.options.catch_up;
        self.must("P11", "everything applied that had been kept", within, move |world| {
            let applied = world.next_offsets()?;
            Ok(applied.iter().all(|(partition, next)| ends.get(partition).is_none_or(|end| next >= end)))
        })
    }

    /// Ends the load and waits until everything is applied, every processor ready and no transaction left
    /// open (P11).
    ///
    /// # Errors
    /// Interrupted, or a server that does not answer.
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
        if open > 0 {
            violations.push(Violation::new("P11", format!("{open} transactions idle for more than 10 s")));
        }
        Ok(violations)
    }

    /// Compares what was sent, the topic and the tables.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn check(&mut self) -> Result<Vec<Violation>> {
        let topic = self.cluster.topic(&self.topic)?;
        let partitions = self.cluster.read(&self.topic)?;
        let log = Log { topic_id: topic.id, partitions, keyed_partitions: PARTITIONS };
        let attempts = self.history.attempts();
        let planted = self.history.planted();
        let evidence = Evidence { attempts: &attempts, planted: &planted, log: &log };
        checker::check(&evidence, &mut self.sql()?)
    }

    /// The end of a run whose fault has been healed: everything settles and is compared.
    ///
    /// # Errors
    /// The run says nothing.
    pub fn finish(
        mut self,
        evidence: String,
        recovery: Duration,
        mut violations: Vec<Violation>,
    ) -> Result<Outcome> {
        violations.extend(self.settle(true)?);
        violations.extend(self.check()?);
        Ok(self.outcome(evidence, recovery, violations))
    }

    /// What is to be told of a run.
    pub fn outcome(
        &mut self,
        evidence: String,
        recovery: Duration,
        mut violations: Vec<Violation>,
    ) -> Outcome {
        let (looks, found) = self.sampler.finish();
        violations.extend(found);
        Outcome {
            evidence,
            recovery,
            violations,
            looks,
            rate: self.rate,
            acked: self.history.acked(),
            unknown: self.history.unknown(),
            longest_gap: self.history.longest_gap(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_load();
    }
}
