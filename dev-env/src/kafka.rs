//! A Kafka broker of one node (KRaft, broker and controller in one process) on loopback ports.

pub mod admin;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::install::{self, Installation};
use crate::ports::Port;
use crate::process::{Server, Spec, run_logged};

/// A broker that was killed comes back only after the session of its former self has ended.
const READY_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(15);

const NAME: &str = "kafka";

/// How a broker is started. The data is in `kafka/` under `directory`, the log in `logs/kafka.log`.
#[derive(Debug, Clone)]
pub struct Options {
    pub directory: PathBuf,
    pub port: Port,
    pub controller_port: Port,
    pub heap_mb: u32,
    /// A second way in, with TLS and a password.
    pub secure: Option<Secure>,
}

impl Options {
    /// A broker for tests: it gets in nobody's way.
    pub fn on_free_ports(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            port: Port::Free,
            controller_port: Port::Free,
            heap_mb: 512,
            secure: None,
        }
    }
}

/// A listener with TLS and SASL/SCRAM-SHA-512, and the users who may come in there. Rights are looked at: who comes in by
/// the other listener has all, these have those of [`admin::allow`].
#[derive(Debug, Clone)]
pub struct Secure {
    /// The broker's private key (PKCS#8) and certificate chain for 127.0.0.1, in PEM.
    pub identity_pem: String,
    /// Names, each with a password.
    pub users: Vec<(String, String)>,
    /// What nobody has a right on is open to all of them; otherwise to none, as Kafka has it and Strimzi leaves it.
    pub is_open: bool,
}

/// A broker, running or (after [`Kafka::stop`] or [`Kafka::kill`]) away. Dropping it kills it.
#[derive(Debug)]
pub struct Kafka {
    installation: Installation,
    directory: PathBuf,
    heap_mb: u32,
    port: u16,
    secure: Option<(u16, Secure)>,
    server: Option<Server>,
}

impl Kafka {
    /// Returns when the broker takes requests. The data of an earlier start in the same directory
    /// is used again.
    pub fn start(installation: &Installation, options: Options) -> Result<Self> {
        const ATTEMPTS: u32 = 3;
        let mut attempt = 1;
        loop {
            let port = options.port.pick()?;
            let controller_port = options.controller_port.pick()?;
            let secure = options.secure.clone().map(|secure| anyhow::Ok((Port::Free.pick()?, secure)));
            let mut kafka = Self {
                installation: installation.clone(),
                directory: options.directory.clone(),
                heap_mb: options.heap_mb,
                port,
                secure: secure.transpose()?,
                server: None,
            };
            kafka.prepare(controller_port)?;
            match kafka.start_again() {
                Ok(()) => return Ok(kafka),
                // Somebody was faster between the pick and the bind.
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("already in use") => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// For `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    /// The same for the listener with TLS and a password, if there is one.
    pub fn secure_bootstrap(&self) -> Option<String> {
        let (port, _) = self.secure.as_ref()?;
        Some(format!("127.0.0.1:{port}"))
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// `None` while it is away.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Ends it as a broker is ended for maintenance.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.stop(STOP_WITHIN))
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        drop(self.server.take());
    }

    /// Brings it back on the same ports, with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        let mut command = self.java();
        command
            .args(["-Xms256m", &format!("-Xmx{}m", self.heap_mb), "-XX:+ExitOnOutOfMemoryError"])
            .arg("kafka.Kafka")
            .arg(self.home().join("server.properties"));
        let spec = Spec { name: NAME, directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        // Its own word in its own log: an answer on the port could be another broker's.
        server.wait_until_ready(READY_WITHIN, |server| server.log_text().contains("Kafka Server started"))?;
        self.server = Some(server);
        Ok(())
    }

    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Stops the process where it is; connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.iter().for_each(Server::freeze);
    }

    pub fn thaw(&self) {
        self.server.iter().for_each(Server::thaw);
    }

    /// Returns when the topic is there, with exactly this configuration; an error if it exists
    /// already.
    pub fn create_topic(&self, name: &str, partitions: i32, configuration: &[(&str, &str)]) -> Result<()> {
        admin::create_topic(self.address(), name, partitions, configuration)
    }

    /// Lets it live on after this process.
    pub fn detach(self) {
        self.server.into_iter().for_each(Server::detach);
    }

    fn home(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn prepare(&self, controller_port: u16) -> Result<()> {
        let home = self.home();
        fs::create_dir_all(home.join("data"))
            .and_then(|()| fs::write(home.join("log4j2.properties"), LOGGING))
            .and_then(|()| {
                let identity = self.secure.as_ref().map(|(_, secure)| secure.identity_pem.as_str());
                fs::write(home.join("identity.pem"), identity.unwrap_or_default())
            })
            .and_then(|()| fs::write(home.join("server.properties"), self.properties(controller_port)))
            .with_context(|| format!("{} cannot be prepared", home.display()))?;
        if home.join("data/meta.properties").exists() { Ok(()) } else { self.format() }
    }

    /// Gives the empty data directory an identity. Each one gets a cluster id of its own: a topic
    /// of the same name in a fresh environment is another topic, and the processor must see that.
    fn format(&self) -> Result<()> {
        let cluster_id = format!("telex-{:016x}", RandomState::new().build_hasher().finish());
        let mut tool = self.java();
        tool.args(["-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"]);
        tool.arg(self.home().join("server.properties"));
        for (user, password) in self.secure.iter().flat_map(|(_, secure)| &secure.users) {
            tool.arg("--add-scram").arg(format!("SCRAM-SHA-512=[name={user},password={password}]"));
        }
        run_logged(&self.directory, "kafka-format", tool, "Kafka's data directory could not be formatted")
    }

    fn properties(&self, controller_port: u16) -> String {
        let properties = server_properties(&self.home().join("data"), self.port, controller_port);
        match &self.secure {
            None => properties,
            Some((port, secure)) => {
                let identity = self.home().join("identity.pem");
                with_secure_listener(&properties, *port, &identity, secure.is_open)
            }
        }
    }

    fn java(&self) -> Command {
        java(&self.home(), &self.installation.kafka_class_path())
    }
}

/// One of Kafka's programs, which logs as the configuration in `home` says.
pub fn java(home: &Path, class_path: &Path) -> Command {
    let mut logging = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
    logging.push(home.join("log4j2.properties"));
    let mut command = Command::new(install::java());
    command.arg(logging).arg("-cp").arg(class_path);
    command
}

/// Defaults wherever the product could tell the difference; only what one node on a small machine
/// needs is changed.
fn server_properties(data: &Path, port: u16, controller_port: u16) -> String {
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node: nobody to replicate to.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A consumer group starts at once instead of waiting 3 s for more members, and its 50 offset
# partitions need not be made first.
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=4
# With the group protocol of KIP-848 the brokers set the rhythm: a member hears of a rebalance with its next
# heartbeat (default 5 s), and a silent one is given up after the session timeout (default 45 s).
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.session.timeout.ms=10000
group.consumer.min.session.timeout.ms=10000
# A killed broker may register again after this time (default 9 s).
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
# A quarter of the default heap, for a cleaner that only compacts the offsets topic.
log.cleaner.dedupe.buffer.size=16777216
",
        data = data.display()
    )
}

fn with_secure_listener(properties: &str, port: u16, identity: &Path, is_open: bool) -> String {
    let properties = properties
        .replace(",CONTROLLER://", &format!(",SASL_SSL://127.0.0.1:{port},CONTROLLER://"))
        .replace("map=PLAINTEXT:PLAINTEXT", "map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL");
    format!(
        "{properties}\
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={identity}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found={is_open}
",
        identity = identity.display()
    )
}

/// What a broker logs, and where: everything from `info` on, on its standard output.
pub const LOGGING: &str = "\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";
