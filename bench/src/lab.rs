//! Kafka and PostgreSQL for the whole run; each measurement has its own topic or database, so that none finds
//! what another left.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use dev_env::{
    commands::environment::start_servers,
    install::Installation,
    interrupt,
    kafka::{self, Kafka},
    leftovers,
    ports::Port,
    postgres::{self, Postgres},
    process::{Server, Spec},
    programs::{PARTITIONS, Programs, Running, TOPIC_SETTINGS},
    workspace::Workspace,
};
use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Runtime;

use crate::http::Target;

/// The servers, and where everything is. Dropping it kills the servers.
pub struct Lab {
    /// Where the servers keep their data and logs.
    pub directory: PathBuf,
    pub kafka: Kafka,
    pub postgres: Postgres,
    pub runtime: Runtime,
    binaries: PathBuf,
}

impl Lab {
    /// Starts the servers on free ports, with the settings that `make up` has: commits reach the disk.
    pub fn start(workspace: &Workspace) -> Result<Self> {
        leftovers::sweep(workspace);
        let installation = Installation::ensure(workspace, &|_| {})?;
        let directory = workspace.dev().join("bench");
        fs::remove_dir_all(&directory)
            .or_else(|error| if directory.exists() { Err(error) } else { Ok(()) })?;
        leftovers::own(&directory)?;
        let kafka = kafka::Options { heap_mb: 1024, ..kafka::Options::on_free_ports(&directory) };
        let postgres = postgres::Options { directory: directory.clone(), port: Port::Free, fsync: true };
        let (kafka, postgres) = start_servers(&installation, kafka, postgres)?;
        let binaries = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(Self {
            directory,
            kafka,
            postgres,
            runtime,
            binaries: binaries.context("where is this program?")?,
        })
    }

    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    pub fn database_url(&self, name: &str) -> String {
        self.postgres.database_url(name)
    }

    /// Our programs, for a topic and a database.
    pub fn programs(&self, topic: &str, database: &str) -> Programs {
        Programs {
            binaries: self.binaries.clone(),
            kafka: self.kafka.bootstrap(),
            database_url: self.database_url(database),
            topic: topic.to_owned(),
        }
    }

    /// Makes a topic as `make up` makes it.
    pub fn topic(&self, name: &str) -> Result<()> {
        self.topic_of(name, PARTITIONS)
    }

    /// The same with another number of partitions.
    pub fn topic_of(&self, name: &str, partitions: i32) -> Result<()> {
        self.kafka.create_topic(name, partitions, &TOPIC_SETTINGS)
    }

    /// Makes an empty database, without tables.
    pub fn database(&self, name: &str) -> Result<()> {
        self.admin(format!("create database {name}"))
    }

    /// Makes a database with Telex's tables.
    pub fn telex_database(&self, topic: &str, name: &str) -> Result<Programs> {
        self.database(name)?;
        let programs = self.programs(topic, name);
        programs.require_processor(&["migrate"])?;
        Ok(programs)
    }

    /// Removes a database; and writes what is still to be written, so that the next measurement does not pay for it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        self.admin(format!("drop database {name} with (force)"))?;
        self.admin("checkpoint".to_owned())
    }

    fn admin(&self, sql: String) -> Result<()> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.database_url("postgres")).await?;
            connection.execute(AssertSqlSafe(sql)).await?;
            anyhow::Ok(connection.close().await?)
        })
    }

    /// An ingest API in development mode, ready.
    pub fn ingest_api(&self, topic: &str) -> Result<Running> {
        self.ingest_api_with(topic, &[])
    }

    /// An ingest API with further arguments, ready; with a producers file among them not in development mode.
    pub fn ingest_api_with(&self, topic: &str, arguments: &[&str]) -> Result<Running> {
        let programs = self.programs(topic, "postgres");
        let mut api = programs.ingest_api(&self.directory, "ingest-api", Port::Free, arguments)?;
        api.wait_until_ready()?;
        Ok(api)
    }

    /// A running ingest API under load, beside Kafka and PostgreSQL.
    pub fn target(&self, api: &Running) -> Result<Target> {
        let address = api.address.context("the ingest API has no address")?;
        Ok(Target {
            address,
            pids: [Some(api.server.pid()), None, self.kafka.pid(), self.postgres.pid(), None],
        })
    }

    /// The mean size of a topic's records in its log, where a database has all of them applied.
    pub fn record_bytes(&self, topic: &str, database: &str) -> Result<f64> {
        let mut bytes = 0;
        for partition in 0..PARTITIONS {
            let log = self.directory.join(format!("kafka/data/{topic}-{partition}"));
            for entry in fs::read_dir(&log).with_context(|| format!("{} cannot be read", log.display()))? {
                let entry = entry?;
                if entry.path().extension().is_some_and(|extension| extension == "log") {
                    bytes += entry.metadata()?.len();
                }
            }
        }
        let records = self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.database_url(database)).await?;
            let records = sqlx::query_scalar::<_, i64>(APPLIED).fetch_one(&mut connection).await?;
            connection.close().await?;
            anyhow::Ok(records)
        })?;
        ensure!(records > 0, "{topic} holds no record");
        Ok(bytes as f64 / records as f64)
    }

    /// Looks at how much is applied until `to` is, for five minutes at most and as long as it `goes_on`.
    pub fn looks(
        &self,
        connection: &mut PgConnection,
        (from, to): (u64, u64),
        goes_on: impl Fn() -> bool,
        complaint: &str,
    ) -> Result<Looks> {
        let (mut looks, end) = (Looks::default(), Instant::now() + DEADLINE);
        loop {
            interrupt::check()?;
            let at = Instant::now();
            let applied = sqlx::query_scalar::<_, i64>(APPLIED).fetch_one(&mut *connection);
            let applied = u64::try_from(self.runtime.block_on(applied)?)?;
            looks.add(at, applied.saturating_sub(from));
            if applied >= to {
                return Ok(looks);
            }
            if at >= end || !goes_on() {
                bail!("{complaint}: {applied} of {to}");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The bench itself, started again with these arguments as a server, once it listens.
    pub fn serve(&self, name: &str, arguments: &[&str]) -> Result<Serving> {
        let address = SocketAddr::from(([127, 0, 0, 1], Port::Free.pick()?));
        let mut command = Command::new(self.binaries.join("bench"));
        command.args(arguments).arg("--listen").arg(address.to_string());
        let spec = Spec { name, directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        server.wait_until_ready(Duration::from_secs(10), |_| TcpStream::connect(address).is_ok())?;
        Ok(Serving { server, address })
    }
}

/// A server in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Serving {
    server: Server,
    pub address: SocketAddr,
}

impl Serving {
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// How much was done by when: the rate between two looks needs neither the start nor the end to be seen.
#[derive(Debug, Default)]
pub struct Looks(Vec<(Instant, u64)>);

impl Looks {
    /// Adds a look that was made at that time.
    pub fn add(&mut self, at: Instant, done: u64) {
        self.0.push((at, done));
    }

    /// A second's work between the first look that saw at least `from` and the first that saw the end.
    pub fn rate(&self, from: u64) -> Option<f64> {
        let end = self.0.iter().position(|(_, done)| Some(*done) == self.0.last().map(|last| last.1))?;
        self.rate_up_to(from, end)
    }

    /// The same up to the look before: for looks so far apart that the end lies well before the last of them.
    pub fn rate_before_last(&self, from: u64) -> Option<f64> {
        self.rate_up_to(from, self.0.len().checked_sub(2)?)
    }

    fn rate_up_to(&self, from: u64, end: usize) -> Option<f64> {
        let (start, before) = self.0.iter().find(|(_, done)| *done >= from)?;
        let (end, after) = self.0.get(end)?;
        let seconds = end.duration_since(*start).as_secs_f64();
        (after > before && seconds > 0.0).then(|| (after - before) as f64 / seconds)
    }
}

const APPLIED: &str = "select coalesce(sum(next_offset), 0)::bigint from partition_progress";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is not applied by then never is.
const DEADLINE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_taken_between_the_first_look_at_work_and_the_first_look_at_its_end() {
        let (start, mut looks) = (Instant::now(), Looks::default());
        for (millis, done) in [(0, 0), (900, 100), (1_000, 200), (1_900, 1_100), (2_500, 1_100)] {
            looks.add(start + Duration::from_millis(millis), done);
        }
        assert_eq!(looks.rate(1).map(f64::round), Some(1_000.0));
        assert_eq!(looks.rate(200).map(f64::round), Some(1_000.0));
        assert_eq!(looks.rate_before_last(100).map(f64::round), Some(1_000.0));
        assert_eq!(Looks::default().rate(0), None);
        assert_eq!(Looks::default().rate_before_last(0), None);
    }
}
