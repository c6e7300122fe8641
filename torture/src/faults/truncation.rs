//! A log that loses its end: an unclean election makes a replica the leader that had not received everything.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    install::{self, Installation},
    interrupt,
    kafka::LOGGING,
    ports::Port,
    process::{Server, Spec},
};
use nix::sys::signal::Signal;

use super::{Stage, topic::must_stop};
use crate::{
    verdict::Outcome,
    wire::kafka::{Cluster, End},
    world::World,
};

/// The node that only votes; the two that keep the topic.
const CONTROLLER: i32 = 1;
const LEADER: i32 = 2;
const FOLLOWER: i32 = 3;

/// F27: the follower is away while records are written and applied; then the leader goes, and the follower
/// comes back alone.
pub fn unclean_election(stage: &mut Stage) -> Result<Outcome> {
    let directory = stage.options.directory.join(format!("f27-servers-{:x}", stage.options.seed));
    let mut nodes = Nodes::start(&stage.installation, &directory)?;
    let replicas = vec![vec![LEADER, FOLLOWER]; 12];
    let mut world =
        World::new("f27", &stage.options, nodes.cluster.clone(), &replicas, stage.postgres.address())?;
    world.processor("")?;
    world.warm_up()?;
    nodes.kill(FOLLOWER);
    world.wait("the follower to leave the replicas in sync", Duration::from_secs(40), |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.in_sync.values().all(|in_sync| *in_sync == [LEADER]))
    })?;
    interrupt::pause(Duration::from_secs(2))?;
    let mut violations = world.settle(true)?;
    violations.extend(world.check()?);
    for (_, mut processor) in std::mem::take(&mut world.processors) {
        processor.stop()?;
    }
    world.apis.clear();
    world.retarget();
    let applied = world.next_offsets()?;
    nodes.kill(LEADER);
    nodes.run(FOLLOWER)?;
    world.wait("the follower to lead", Duration::from_secs(60), |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.leaders.values().all(|leader| leader.is_some_and(|(id, _)| id == FOLLOWER)))
    })?;
    let mut ends = BTreeMap::new();
    world.wait("the new leader to answer", Duration::from_secs(30), |world| {
        ends = world.cluster.ends(&world.topic, End::Latest)?;
        Ok(true)
    })?;
    let lost: BTreeMap<i32, i64> = applied
        .iter()
        .filter_map(|(partition, next)| Some((*partition, next - ends.get(partition)?)))
        .filter(|(_, lost)| *lost > 0)
        .collect();
    if lost.is_empty() {
        bail!("no log ends before its next offset");
    }
    let (stopped, took) = must_stop(&mut world, &["beyond_log_end", "digest_mismatch"], lost.len())?;
    violations.extend(stopped);
    let records: i64 = lost.values().sum();
    let evidence = format!("{records} applied records gone from {} logs", lost.len());
    Ok(world.outcome(evidence, took, violations))
}

/// One controller and two brokers.
struct Nodes {
    class_path: PathBuf,
    directory: PathBuf,
    cluster: Cluster,
    running: BTreeMap<i32, Server>,
}

impl Nodes {
    fn start(installation: &Installation, directory: &Path) -> Result<Self> {
        let ports: BTreeMap<i32, u16> = [CONTROLLER, LEADER, FOLLOWER]
            .into_iter()
            .map(|id| Ok((id, Port::Free.pick()?)))
            .collect::<Result<_>>()?;
        let address = |id| {
            let port = ports.get(&id).copied().unwrap_or_default();
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        let mut nodes = Self {
            class_path: installation.kafka_class_path(),
            directory: directory.to_owned(),
            cluster: Cluster { bootstrap: vec![address(LEADER), address(FOLLOWER)] },
            running: BTreeMap::new(),
        };
        for id in [CONTROLLER, LEADER, FOLLOWER] {
            let home = nodes.home(id);
            fs::create_dir_all(home.join("data"))?;
            fs::write(
                home.join("server.properties"),
                properties(id, address(id), address(CONTROLLER), &home),
            )?;
            fs::write(home.join("log4j2.properties"), LOGGING)?;
            let mut format = nodes.java(id);
            format.args(["kafka.tools.StorageTool", "format", "-t", "torture-truncation-0", "-c"]);
            let output = format.arg(home.join("server.properties")).output()?;
            if !output.status.success() {
                bail!("node {id} is not formatted: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        for id in [CONTROLLER, LEADER, FOLLOWER] {
            nodes.run(id)?;
        }
        Ok(nodes)
    }

    fn run(&mut self, id: i32) -> Result<()> {
        let mut command = self.java(id);
        command.args(["-Xms128m", "-Xmx384m", "kafka.Kafka"]).arg(self.home(id).join("server.properties"));
        let name = format!("kafka-{id}");
        let spec = Spec { name: &name, directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        server
            .wait_until_ready(Duration::from_secs(60), |server| {
                server.log_text().contains("Kafka Server started")
            })
            .with_context(|| format!("node {id}"))?;
        self.running.insert(id, server);
        Ok(())
    }

    fn kill(&mut self, id: i32) {
        drop(self.running.remove(&id));
    }

    fn home(&self, id: i32) -> PathBuf {
        self.directory.join(format!("kafka-{id}"))
    }

    fn java(&self, id: i32) -> Command {
        let mut logging = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        logging.push(self.home(id).join("log4j2.properties"));
        let mut command = Command::new(install::java());
        command.arg(logging).arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(&self.class_path);
        command
    }
}

fn properties(id: i32, own: SocketAddr, controller: SocketAddr, home: &Path) -> String {
    let role = if id == CONTROLLER {
        format!("process.roles=controller\nlisteners=CONTROLLER://{controller}\n")
    } else {
        format!("process.roles=broker\nlisteners=PLAINTEXT://{own}\n")
    };
    format!(
        "{role}node.id={id}
controller.quorum.voters={CONTROLLER}@{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
auto.create.topics.enable=false
# The groups must survive the brokers' deaths, whichever is left.
offsets.topic.replication.factor=2
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
unclean.leader.election.enable=true
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
replica.lag.time.max.ms=5000
log.cleaner.dedupe.buffer.size=16777216
",
        home.join("data").display()
    )
}
