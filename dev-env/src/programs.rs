//! Telex's own programs, as the demo and the tests run them: the only place that knows their settings
//! and what they print.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::kafka::Kafka;
use crate::ports::Port;
use crate::process::{Server, Spec};

/// The topic of every environment here.
pub const TOPIC: &str = "telex.messages";
pub const PARTITIONS: i32 = 12;
/// Its settings: the order of append is the order of time, and a week is kept.
pub const TOPIC_SETTINGS: [(&str, &str); 3] = [
    ("cleanup.policy", "delete"),
    ("message.timestamp.type", "LogAppendTime"),
    ("retention.ms", "604800000"),
];

/// The topic of items that hooks could not make into messages.
pub const QUARANTINE: &str = "telex.quarantine";
/// Nobody shares its work by partition, and what arrives there is rare: a few, so that no broker alone holds it.
pub const QUARANTINE_PARTITIONS: i32 = 3;
/// Its settings: thirty days to mend a hook in, and room for a request of the size limit (1 MiB) with its headers.
pub const QUARANTINE_SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("message.timestamp.type", "LogAppendTime"),
    ("retention.ms", "2592000000"),
    ("max.message.bytes", "2097152"),
];

/// The topic in which processors tell ingest APIs over how many partitions keys are spread.
pub const PLACEMENT: &str = "telex.messages.placement";
/// One word is above all others, so one partition holds them all.
pub const PLACEMENT_PARTITIONS: i32 = 1;
/// Its settings: no word is ever removed, and one that was said before is not kept twice for longer than a day.
pub const PLACEMENT_SETTINGS: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("segment.ms", "86400000")];

/// Makes the topics.
pub fn create_topics(kafka: &Kafka) -> Result<()> {
    kafka.create_topic(TOPIC, PARTITIONS, &TOPIC_SETTINGS)?;
    kafka.create_topic(QUARANTINE, QUARANTINE_PARTITIONS, &QUARANTINE_SETTINGS)?;
    kafka.create_topic(PLACEMENT, PLACEMENT_PARTITIONS, &PLACEMENT_SETTINGS)
}

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Where the programs are, and where Kafka and PostgreSQL are.
#[derive(Debug, Clone)]
pub struct Programs {
    pub binaries: PathBuf,
    pub kafka: String,
    pub database_url: String,
    pub topic: String,
}

/// A running program of ours with an admin port. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    pub server: Server,
    pub admin: SocketAddr,
    /// Where producers send to; of an ingest API only.
    pub address: Option<SocketAddr>,
}

impl Programs {
    /// Starts an ingest API and returns at once.
    pub fn ingest_api(&self, directory: &Path, name: &str, port: Port, more: &[&str]) -> Result<Running> {
        let (address, admin) = (loopback(port.pick()?), loopback(Port::Free.pick()?));
        let mut command = Command::new(self.binaries.join("ingest-api"));
        if !more.iter().any(|setting| setting.starts_with("--producers-file=")) {
            command.arg("--insecure-development-mode");
        }
        command.arg(format!("--listen={address}"));
        command.arg(format!("--admin-listen={admin}")).arg(format!("--kafka-brokers={}", self.kafka));
        command.arg(format!("--topic={}", self.topic)).args(more);
        if !more.iter().any(|argument| argument.starts_with("--partition-count=")) {
            command.arg(format!("--partition-count={PARTITIONS}"));
        }
        let spec = Spec { name, directory, command, stop_signal: Signal::SIGTERM };
        Ok(Running { server: Server::spawn(spec)?, admin, address: Some(address) })
    }

    /// Starts a processor and returns at once.
    pub fn processor(&self, directory: &Path, name: &str, more: &[&str]) -> Result<Running> {
        self.processor_with(directory, name, more, &[])
    }

    /// The same with further environment variables.
    pub fn processor_with(
        &self,
        directory: &Path,
        name: &str,
        more: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Running> {
        let admin = loopback(Port::Free.pick()?);
        let mut command = self.processor_command();
        command.arg("run").arg(format!("--admin-listen={admin}")).args(more);
        command.envs(environment.iter().copied());
        let spec = Spec { name, directory, command, stop_signal: Signal::SIGTERM };
        Ok(Running { server: Server::spawn(spec)?, admin, address: None })
    }

    /// Runs one of the processor's commands to its end.
    pub fn run_processor(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.processor_command();
        // Ctrl-C at the terminal reaches the owner alone, which decides in which order things end.
        command.args(arguments).stdin(Stdio::null()).process_group(0);
        command.output().with_context(|| format!("processor {} cannot be run", arguments.join(" ")))
    }

    /// The same; an exit status other than 0 is an error with what the command said.
    pub fn require_processor(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run_processor(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("processor {} failed ({}): {}", arguments.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn processor_command(&self) -> Command {
        let mut command = Command::new(self.binaries.join("processor"));
        command
            .env("PROCESSOR_DATABASE_URL", &self.database_url)
            .env("PROCESSOR_KAFKA_BROKERS", &self.kafka)
            .env("PROCESSOR_TOPIC", &self.topic)
            .env("PROCESSOR_TOPIC_PROFILE", "development");
        command
    }
}

impl Running {
    /// Waits until the program says that it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let admin = self.admin;
        self.server.wait_until_ready(READY_WITHIN, |_| {
            get(admin, "/readyz").is_some_and(|(status, _)| status == 200)
        })
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop(STOP_WITHIN)
    }

    /// The metrics page; empty if it does not answer.
    pub fn metrics(&self) -> String {
        get(self.admin, "/metrics").map(|(_, body)| body).unwrap_or_default()
    }
}

/// One HTTP request; `None` without an answer.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    exchange(address, &format!("GET {path}"), "", b"", Duration::from_secs(5))
}

/// The same with a body, and header lines that each end in `\r\n`.
pub fn post(address: SocketAddr, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Option<(u16, String)> {
    let headers = format!("{headers}content-length: {}\r\n", body.as_ref().len());
    exchange(address, &format!("POST {path}"), &headers, body.as_ref(), Duration::from_secs(20))
}

/// HTTP 1.0, so that no body comes in chunks.
fn exchange(
    address: SocketAddr,
    request: &str,
    headers: &str,
    body: &[u8],
    patience: Duration,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write!(stream, "{request} HTTP/1.0\r\nhost: telex\r\n{headers}\r\n").ok()?;
    // An answer before the end of the body ends the connection.
    let _refused_early = stream.write_all(body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
