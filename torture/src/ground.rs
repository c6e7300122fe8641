//! What a Telex stands on: a Kafka and a PostgreSQL. Several Telexes may stand on the same.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dev_env::{
    install::Installation,
    kafka::{self, Kafka},
    postgres::{self, Postgres},
    programs::PARTITIONS,
};

use crate::{
    nodes::{Layout, Nodes},
    wire::kafka::Cluster,
    world::{Options, World},
};

/// Where a Telex is to stand.
#[derive(Debug, Clone)]
pub struct Site {
    /// Kafka, for the harness.
    pub cluster: Cluster,
    /// `bootstrap.servers` of the ingest APIs.
    pub for_apis: String,
    /// `bootstrap.servers` of the processors.
    pub for_processors: String,
    /// The brokers that keep each partition.
    pub replicas: Vec<Vec<i32>>,
    /// The topic's settings, besides those of every topic of Telex.
    pub settings: Vec<(&'static str, &'static str)>,
    pub database: SocketAddr,
}

pub enum Brokers {
    One(Box<Kafka>),
    Several(Nodes),
}

pub struct Ground {
    pub installation: Installation,
    pub directory: PathBuf,
    pub brokers: Brokers,
    /// PostgreSQL, the one that can be written to.
    pub postgres: Postgres,
    /// How many PostgreSQLs have taken the place of the first.
    successors: u32,
}

impl Ground {
    pub fn small(installation: &Installation, directory: &Path) -> Result<Self> {
        let kafka = Kafka::start(installation, kafka::Options::on_free_ports(directory))?;
        Self::on(installation, directory, Brokers::One(Box::new(kafka)))
    }

    pub fn of_nodes(installation: &Installation, directory: &Path, layout: Layout) -> Result<Self> {
        let nodes = Nodes::start(installation, directory, layout)?;
        Self::on(installation, directory, Brokers::Several(nodes))
    }

    fn on(installation: &Installation, directory: &Path, brokers: Brokers) -> Result<Self> {
        Ok(Self {
            installation: installation.clone(),
            directory: directory.to_owned(),
            brokers,
            postgres: Postgres::start(installation, postgres::Options::on_free_port(directory))?,
            successors: 0,
        })
    }

    /// Where a Telex stands that has each partition on as many brokers as there are.
    pub fn site(&self) -> Site {
        let (cluster, for_apis, for_processors, mut ids, settings) = match &self.brokers {
            Brokers::One(kafka) => {
                (Cluster::of(kafka.address()), kafka.bootstrap(), kafka.bootstrap(), vec![1], Vec::new())
            }
            Brokers::Several(nodes) => (
                nodes.cluster(),
                nodes.for_apis(),
                nodes.for_processors(),
                nodes.broker_ids(),
                vec![("min.insync.replicas", "2")],
            ),
        };
        let replicas = (0..PARTITIONS).map(|_| {
            ids.rotate_left(1);
            ids.clone()
        });
        let (replicas, database) = (replicas.collect(), self.postgres.address());
        Site { cluster, for_apis, for_processors, replicas, settings, database }
    }

    /// A Telex with all that a fault expects, and requests on their way.
    pub fn telex(&self, name: &str, options: &Options) -> Result<World> {
        let mut world = World::new(name, options, &self.site())?;
        world.complete()?;
        world.warm_up()?;
        Ok(world)
    }

    /// Where the data of PostgreSQL's successor go.
    pub fn next_data(&mut self) -> PathBuf {
        self.successors += 1;
        self.directory.join(format!("successor-{}", self.successors))
    }

    pub fn nodes(&mut self) -> Result<&mut Nodes> {
        match &mut self.brokers {
            Brokers::One(_) => None,
            Brokers::Several(nodes) => Some(nodes),
        }
        .context("this fault needs several brokers")
    }

    /// Stops all brokers where they are.
    pub fn freeze_brokers(&self) {
        match &self.brokers {
            Brokers::One(kafka) => kafka.freeze(),
            Brokers::Several(nodes) => nodes.broker_ids().into_iter().for_each(|id| nodes.freeze(id)),
        }
    }

    pub fn thaw_brokers(&self) {
        match &self.brokers {
            Brokers::One(kafka) => kafka.thaw(),
            Brokers::Several(nodes) => nodes.broker_ids().into_iter().for_each(|id| nodes.thaw(id)),
        }
    }
}
