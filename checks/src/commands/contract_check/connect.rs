//! Kafka Connect with `connect.properties` and `connect-s3-sink.json` of `examples/readers/`, over TLS. The connector cannot be
//! had from Maven Central: one of ours stands in for it (`checks/connect/`), which knows none of its settings. So what is
//! Connect's own is tried, with what it hands to the sink; what is the connector's is not.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dev_env::kafka::{LOGGING, java};
use dev_env::ports::Port;
use dev_env::process::{Server, Spec, require};
use dev_env::programs::get;
use dev_env::workspace::Workspace;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::access::Access;
use crate::tools;
use crate::yaml::Look as _;

const ARRIVED_WITHIN: Duration = Duration::from_secs(90);
const STAND_IN: &str = "telex.checks.RecordingSink";
/// What a person has to fill in.
const OPEN: &str = "SET THIS";

/// Kafka Connect and what stands in for the sink.
pub struct Connect {
    class_path: PathBuf,
}

impl Connect {
    /// Fetches it with Maven, once, and compiles the stand-in.
    pub fn install(workspace: &Workspace) -> Result<Self> {
        let source = workspace.root().join("checks/connect");
        let jars = tools::jars(workspace, "connect", &source.join("pom.xml"))?;
        let classes = jars.join("classes");
        fs::create_dir_all(&classes).with_context(|| format!("{} cannot be made", classes.display()))?;
        let mut javac = Command::new("javac");
        javac.arg("-cp").arg(jars.join("*")).arg("-d").arg(&classes);
        javac.arg(source.join("telex/checks/RecordingSink.java"));
        require(&mut javac, "the stand-in takes a JDK, not only a JRE")?;
        Ok(Self { class_path: format!("{}:{}/*", classes.display(), jars.display()).into() })
    }

    /// Starts it and waits until so many records have come to the sink; returns a line for each.
    pub fn receives(
        &self,
        root: &Path,
        directory: &Path,
        access: &Access,
        records: usize,
    ) -> Result<Vec<String>> {
        let home = directory.join("connect");
        let received = home.join("received");
        fs::create_dir_all(&received).with_context(|| format!("{} cannot be made", received.display()))?;
        let rest = SocketAddr::from((Ipv4Addr::LOCALHOST, Port::Free.pick()?));
        let examples = root.join("examples/readers");
        let worker = fs::read_to_string(examples.join("connect.properties")).context("connect.properties")?;
        let sink =
            fs::read_to_string(examples.join("connect-s3-sink.json")).context("connect-s3-sink.json")?;
        fs::write(home.join("worker.properties"), worker_here(&worker, access, &home, rest)?)?;
        fs::write(home.join("sink.json"), sink_here(&sink, &received)?)?;
        fs::write(home.join("log4j2.properties"), LOGGING)?;
        let mut command = java(&home, &self.class_path);
        command.args(["-Xmx512m", "org.apache.kafka.connect.cli.ConnectStandalone"]);
        command.arg(home.join("worker.properties")).arg(home.join("sink.json"));
        let spec = Spec { name: "connect", directory, command, stop_signal: Signal::SIGTERM };
        let mut connect = Server::spawn(spec)?;
        let mut found = Vec::new();
        let arrived = connect.wait_until_ready(ARRIVED_WITHIN, |_| {
            found = lines(&received).unwrap_or_default();
            found.len() >= records || failed(rest).is_some()
        });
        if let Some(trace) = failed(rest) {
            bail!("a part of the sink has failed: {trace}");
        }
        arrived?;
        ensure!(found.len() == records, "{} records came, not {records}", found.len());
        Ok(found)
    }
}

/// What the connector or a task says that has failed, if one has.
fn failed(rest: SocketAddr) -> Option<String> {
    let (_, body) = get(rest, "/connectors/telex-messages-to-s3/status")?;
    let status: Value = serde_json::from_str(&body).ok()?;
    let mut parts = status.list("/tasks").iter().chain([status.at("/connector")]);
    parts.find(|part| part.text("/state") == "FAILED").map(|part| part.text("/trace"))
}

/// What the tasks have written down.
fn lines(received: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(received)? {
        found.extend(fs::read_to_string(entry?.path())?.lines().map(str::to_owned));
    }
    Ok(found)
}

/// The worker of the example with the places and the password of here.
fn worker_here(example: &str, access: &Access, home: &Path, rest: SocketAddr) -> Result<String> {
    let files = access.files.as_ref().context("the worker of the example comes over TLS")?;
    let password = fs::read_to_string(&files.password).context("the password cannot be read")?;
    let ca = files.ca.display().to_string();
    let changes = [
        ("bootstrap.servers", access.brokers.clone()),
        ("ssl.truststore.location", ca.clone()),
        ("consumer.ssl.truststore.location", ca),
        ("offset.storage.file.filename", home.join("offsets").display().to_string()),
        ("listeners", format!("http://{rest}")),
    ];
    let mut here = String::new();
    for line in example.lines() {
        let name = line.split('=').next().unwrap_or_default();
        match changes.iter().find(|(changed, _)| *changed == name) {
            Some((_, value)) => here += &format!("{name}={value}\n"),
            None => here += &format!("{}\n", line.replace(OPEN, password.trim())),
        }
    }
    let unset = changes.iter().filter(|(name, value)| !here.contains(&format!("{name}={value}\n")));
    let unset: Vec<&str> = unset.map(|(name, _)| *name).collect();
    ensure!(unset.is_empty(), "connect.properties does not say {unset:?}");
    Ok(here)
}

/// The sink of the example, with the stand-in.
fn sink_here(example: &str, received: &Path) -> Result<String> {
    let mut sink: Value = serde_json::from_str(example).context("connect-s3-sink.json is no JSON")?;
    let config = sink.pointer_mut("/config").and_then(Value::as_object_mut);
    let config = config.context("connect-s3-sink.json has no config")?;
    let before = config.insert("connector.class".to_owned(), STAND_IN.into());
    ensure!(before.is_some(), "connect-s3-sink.json names no connector");
    config.insert("directory".to_owned(), received.display().to_string().into());
    Ok(sink.to_string())
}
