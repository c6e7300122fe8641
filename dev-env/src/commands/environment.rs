//! Kafka, PostgreSQL and Telex's programs together, as `demo` and `up` run them.

use std::path::Path;

use anyhow::Result;

use super::build::{self, Build, Profile};
use super::steps::step;
use crate::install::{self, Installation};
use crate::kafka::{self, Kafka};
use crate::leftovers;
use crate::ports::Port;
use crate::postgres::{self, DATABASE, Postgres};
use crate::programs::{PARTITIONS, PLACEMENT, Programs, QUARANTINE, Running, TOPIC, create_topics};
use crate::workspace::Workspace;

/// A complete Telex. Dropping it kills all of it.
pub struct Environment {
    pub ingest_api: Running,
    pub processors: [Running; 2],
    pub programs: Programs,
    pub kafka: Kafka,
    pub postgres: Postgres,
}

impl Environment {
    /// Builds what is missing, and starts everything in a directory that is emptied first. It ends with this process.
    pub fn fresh(workspace: &Workspace, profile: Profile, directory: &Path) -> Result<Self> {
        leftovers::sweep(workspace);
        let build = Build::begin(workspace, profile)?;
        let installation = build::servers(workspace)?;
        install::remove(directory)?;
        leftovers::own(directory)?;
        Self::start(&installation, build, directory)
    }

    /// Starts everything in `directory`, on the usual ports if nobody has them: the servers while `build` goes on.
    pub fn start(installation: &Installation, build: Build, directory: &Path) -> Result<Self> {
        let (kafka, postgres) = step("Kafka and PostgreSQL start", || {
            let (port, controller_port) = (Port::Usual(9092), Port::Usual(9093));
            let kafka = kafka::Options { port, controller_port, ..kafka::Options::on_free_ports(directory) };
            let postgres =
                postgres::Options { directory: directory.to_owned(), port: Port::Usual(5432), fsync: true };
            start_servers(installation, kafka, postgres)
        })?;
        let programs = Programs {
            binaries: build.finish()?,
            kafka: kafka.bootstrap(),
            database_url: postgres.database_url(DATABASE),
            topic: TOPIC.to_owned(),
        };
        step(&format!("topics {TOPIC} with {PARTITIONS} partitions, {QUARANTINE}, {PLACEMENT}"), || {
            create_topics(&kafka)
        })?;
        step("tables", || programs.require_processor(&["migrate"]))?;
        let (ingest_api, processors) = step("one ingest-api and two processors", || {
            let mut ingest_api = programs.ingest_api(directory, "ingest-api", Port::Usual(8080), &[])?;
            let mut processors = [
                programs.processor(directory, "processor-1", &[])?,
                programs.processor(directory, "processor-2", &[])?,
            ];
            ingest_api.wait_until_ready()?;
            processors.iter_mut().try_for_each(Running::wait_until_ready)?;
            Ok((ingest_api, processors))
        })?;
        Ok(Self { ingest_api, processors, programs, kafka, postgres })
    }

    /// Stops everything, what depends on others first.
    pub fn stop(mut self) -> Result<()> {
        self.ingest_api.stop()?;
        self.processors.iter_mut().try_for_each(Running::stop)?;
        self.kafka.stop()?;
        self.postgres.stop()
    }

    /// Lets everything live on after this process.
    pub fn detach(self) {
        self.ingest_api.server.detach();
        self.processors.into_iter().for_each(|processor| processor.server.detach());
        self.kafka.detach();
        self.postgres.detach();
    }

    /// Where webhooks are sent to.
    pub fn url(&self) -> String {
        self.ingest_api.address.map_or_else(String::new, |address| format!("http://{address}"))
    }
}

/// Both at once: each takes seconds.
pub fn start_servers(
    installation: &Installation,
    kafka: kafka::Options,
    postgres: postgres::Options,
) -> Result<(Kafka, Postgres)> {
    std::thread::scope(|scope| {
        let kafka = scope.spawn(|| Kafka::start(installation, kafka));
        let postgres = Postgres::start(installation, postgres);
        let kafka = kafka.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((kafka?, postgres?))
    })
}
