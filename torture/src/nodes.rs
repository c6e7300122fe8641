//! A Kafka of several nodes, each of which can be ended, frozen or cut off from the programs.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use dev_env::{
    install::Installation,
    kafka::{LOGGING, java},
    ports::Port,
    process::{Server, Spec, require},
};
use nix::sys::signal::Signal;

use crate::{gate::Gate, wire::kafka::Cluster};

const STARTS_WITHIN: Duration = Duration::from_secs(90);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Node 1 only votes; 2 and 3 keep the topics, and may lead without having everything. Two deaths leave a
    /// cluster that still elects.
    Pair,
    /// Three nodes, each a broker that votes as well: what production looks like.
    Three,
}

pub struct Nodes {
    class_path: PathBuf,
    directory: PathBuf,
    layout: Layout,
    nodes: BTreeMap<i32, Node>,
    running: BTreeMap<i32, Server>,
}

/// A node, whether it runs or not.
struct Node {
    is_broker: bool,
    votes: bool,
    controller: u16,
    /// For the brokers among themselves and for the harness.
    own: u16,
    /// Behind the gates.
    for_apis: u16,
    for_processors: u16,
    /// Between it and the ingest APIs.
    apis: Gate,
    /// Between it and the processors.
    processors: Gate,
}

impl Node {
    fn new(is_broker: bool, votes: bool) -> Result<Self> {
        let pick = || Port::Free.pick();
        let (for_apis, for_processors) = (pick()?, pick()?);
        Ok(Self {
            is_broker,
            votes,
            controller: pick()?,
            own: pick()?,
            for_apis,
            for_processors,
            apis: Gate::start(loopback(for_apis))?,
            processors: Gate::start(loopback(for_processors))?,
        })
    }
}

impl Nodes {
    /// Starts the nodes with empty logs; returns when all take requests.
    pub fn start(installation: &Installation, directory: &Path, layout: Layout) -> Result<Self> {
        let nodes = (1..=3)
            .map(|id| {
                Ok((id, Node::new(layout == Layout::Three || id > 1, layout == Layout::Three || id == 1)?))
            })
            .collect::<Result<_>>()?;
        let mut cluster = Self {
            class_path: installation.kafka_class_path(),
            directory: directory.to_owned(),
            layout,
            nodes,
            running: BTreeMap::new(),
        };
        for id in 1..=3 {
            cluster.prepare(id)?;
        }
        // They wait for each other: a quorum is needed before the first is ready.
        for id in 1..=3 {
            cluster.spawn(id)?;
        }
        for id in 1..=3 {
            cluster.await_ready(id)?;
        }
        Ok(cluster)
    }

    /// For the harness, past the gates.
    pub fn cluster(&self) -> Cluster {
        Cluster { bootstrap: self.brokers().map(|(_, node)| loopback(node.own)).collect() }
    }

    /// `bootstrap.servers` of the ingest APIs, through their gates.
    pub fn for_apis(&self) -> String {
        self.bootstrap(|node| &node.apis)
    }

    /// `bootstrap.servers` of the processors, through their gates.
    pub fn for_processors(&self) -> String {
        self.bootstrap(|node| &node.processors)
    }

    fn bootstrap(&self, gate: impl Fn(&Node) -> &Gate) -> String {
        let gates = self.brokers().map(|(_, node)| loopback(gate(node).port()).to_string());
        gates.collect::<Vec<_>>().join(",")
    }

    /// The gates between the brokers and the ingest APIs, by broker.
    pub fn api_gates(&self) -> BTreeMap<i32, Gate> {
        self.brokers().map(|(id, node)| (id, node.apis.clone())).collect()
    }

    /// The gates between the brokers and the processors, by broker.
    pub fn processor_gates(&self) -> BTreeMap<i32, Gate> {
        self.brokers().map(|(id, node)| (id, node.processors.clone())).collect()
    }

    pub fn broker_ids(&self) -> Vec<i32> {
        self.brokers().map(|(id, _)| id).collect()
    }

    /// Ends a node as a power cut does.
    pub fn kill(&mut self, id: i32) {
        drop(self.running.remove(&id));
    }

    /// Ends a node as for maintenance.
    pub fn stop(&mut self, id: i32) -> Result<()> {
        self.running.remove(&id).map_or(Ok(()), |mut server| server.stop(STOPS_WITHIN))
    }

    /// Stops a node where it is; its connections stay open.
    pub fn freeze(&self, id: i32) {
        self.running.get(&id).into_iter().for_each(Server::freeze);
    }

    pub fn thaw(&self, id: i32) {
        self.running.get(&id).into_iter().for_each(Server::thaw);
    }

    /// Starts the nodes that do not run, on their ports and with their data.
    pub fn mend(&mut self) -> Result<()> {
        let away: Vec<i32> = self.nodes.keys().copied().filter(|id| !self.running.contains_key(id)).collect();
        for id in &away {
            self.spawn(*id)?;
        }
        away.into_iter().try_for_each(|id| self.await_ready(id))
    }

    /// Starts one node that does not run.
    pub fn run(&mut self, id: i32) -> Result<()> {
        self.spawn(id)?;
        self.await_ready(id)
    }

    fn brokers(&self) -> impl Iterator<Item = (i32, &Node)> {
        self.nodes.iter().filter(|(_, node)| node.is_broker).map(|(id, node)| (*id, node))
    }

    fn prepare(&self, id: i32) -> Result<()> {
        let home = self.home(id);
        fs::create_dir_all(home.join("data"))?;
        fs::write(home.join("server.properties"), self.properties(id)?)?;
        fs::write(home.join("log4j2.properties"), LOGGING)?;
        let mut format = self.java(id);
        let cluster_id = format!("torture-{}-{:?}", std::process::id(), self.layout);
        format.args(["kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"]);
        format.arg(home.join("server.properties"));
        require(&mut format, "").with_context(|| format!("node {id} is not formatted")).map(drop)
    }

    fn spawn(&mut self, id: i32) -> Result<()> {
        let mut command = self.java(id);
        command.args(["-Xms128m", "-Xmx384m", "kafka.Kafka"]).arg(self.home(id).join("server.properties"));
        let name = format!("kafka-{id}");
        let spec = Spec { name: &name, directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        self.running.insert(id, Server::spawn(spec)?);
        Ok(())
    }

    fn await_ready(&mut self, id: i32) -> Result<()> {
        let server = self.running.get_mut(&id).context("the node does not run")?;
        let is_started = |server: &Server| server.log_text().contains("Kafka Server started");
        server.wait_until_ready(STARTS_WITHIN, is_started).with_context(|| format!("node {id}"))
    }

    fn home(&self, id: i32) -> PathBuf {
        self.directory.join(format!("kafka-{id}"))
    }

    fn java(&self, id: i32) -> Command {
        let mut command = java(&self.home(id), &self.class_path);
        command.arg("-XX:TieredStopAtLevel=1");
        command
    }

    fn properties(&self, id: i32) -> Result<String> {
        let node = self.nodes.get(&id).context("no such node")?;
        let voters = self.nodes.iter().filter(|(_, node)| node.votes);
        let voters: Vec<String> =
            voters.map(|(id, node)| format!("{id}@127.0.0.1:{}", node.controller)).collect();
        let (replicas, replicas_min) = if self.layout == Layout::Three { (3, 2) } else { (2, 1) };
        Ok(format!(
            "node.id={id}
{roles}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,APIS:PLAINTEXT,PROCESSORS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# The groups must survive the brokers' deaths, whichever are left.
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={replicas_min}
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
unclean.leader.election.enable={unclean}
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=5000
log.cleaner.dedupe.buffer.size=16777216
",
            roles = roles(node),
            voters = voters.join(","),
            data = self.home(id).join("data").display(),
            unclean = self.layout == Layout::Pair,
        ))
    }
}

fn roles(node: &Node) -> String {
    let controller = format!("CONTROLLER://127.0.0.1:{}", node.controller);
    let own = format!("PLAINTEXT://127.0.0.1:{}", node.own);
    let at = |apis, processors| format!("{own},APIS://127.0.0.1:{apis},PROCESSORS://127.0.0.1:{processors}");
    let brokers = at(node.for_apis, node.for_processors);
    let advertised = at(node.apis.port(), node.processors.port());
    let (roles, listeners) = match (node.is_broker, node.votes) {
        (true, true) => ("broker,controller", format!("{brokers},{controller}")),
        (true, false) => ("broker", brokers),
        (false, _) => return format!("process.roles=controller\nlisteners={controller}"),
    };
    format!(
        "process.roles={roles}\nlisteners={listeners}\nadvertised.listeners={advertised}\ninter.broker.listener.name=PLAINTEXT"
    )
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
