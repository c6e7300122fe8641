//! A real Prometheus, with the committed configuration but for the addresses and the pace.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::debian::Unpacked;
use crate::ports::Port;
use crate::process::{Server, Spec};
use crate::programs::get;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Where the services of compose are instead.
pub struct Targets<'a> {
    pub ingest_apis: &'a [SocketAddr],
    pub processors: &'a [SocketAddr],
}

/// An alert, as Prometheus has read it or as its file says it.
#[derive(Debug, Deserialize)]
pub struct Rule {
    #[serde(alias = "alert")]
    pub name: String,
    #[serde(alias = "expr")]
    pub query: String,
    pub labels: Labels,
    pub annotations: Annotations,
}

#[derive(Debug, Deserialize)]
pub struct Labels {
    #[serde(default)]
    pub severity: String,
}

#[derive(Debug, Deserialize)]
pub struct Annotations {
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub runbook_url: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

impl Groups {
    fn rules(self) -> Vec<Rule> {
        self.groups.into_iter().flat_map(|group| group.rules).collect()
    }
}

/// The alerts of a file, which no server here may load.
///
/// # Errors
/// The file is not there, or is no file of rules.
pub fn rules_of(path: &Path) -> Result<Vec<Rule>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let groups: Groups = serde_saphyr::from_str(&text)?;
    Ok(groups.rules())
}

pub struct Prometheus {
    server: Server,
    address: SocketAddr,
}

/// What `promtool` finds wrong, if it does.
pub fn promtool(unpacked: &Unpacked, monitoring: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = unpacked.command("usr/bin/promtool");
    let output = command.current_dir(monitoring.join("prometheus")).args(arguments).stdin(Stdio::null());
    let output = output.output().context("promtool cannot be run")?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("promtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&said).trim())
}

impl Prometheus {
    /// Returns when it has read its rules.
    pub fn start(
        unpacked: &Unpacked,
        monitoring: &Path,
        directory: &Path,
        targets: &Targets<'_>,
    ) -> Result<Self> {
        let home = directory.join("prometheus");
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        let source = monitoring.join("prometheus");
        let configuration = fs::read_to_string(source.join("prometheus.yml"))
            .context("prometheus.yml cannot be read")
            .and_then(|text| adapted(&text, targets))?;
        fs::write(home.join("prometheus.yml"), configuration)?;
        fs::copy(source.join("telex.rules.yml"), home.join("telex.rules.yml"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Port::Usual(9090).pick()?));
        let mut command: Command = unpacked.command("usr/bin/prometheus");
        command.current_dir(&home).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}"));
        let spec = Spec { name: "prometheus", directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        server.wait_until_ready(READY_WITHIN, |_| {
            get(address, "/-/ready").is_some_and(|(status, _)| status == 200)
        })?;
        Ok(Self { server, address })
    }

    pub fn rules(&self) -> Result<Vec<Rule>> {
        let groups: Groups = self.ask("/api/v1/rules?type=alert")?;
        Ok(groups.rules())
    }

    /// Whether an expression has a value now; NaN is none.
    pub fn has_value(&self, expression: &str) -> Result<bool> {
        #[derive(Deserialize)]
        struct Answer {
            result: Vec<Sample>,
        }
        #[derive(Deserialize)]
        struct Sample {
            value: (f64, String),
        }
        let answer: Answer = self
            .ask(&format!("/api/v1/query?query={}", escaped(expression)))
            .with_context(|| format!("Prometheus refuses {expression}"))?;
        Ok(answer.result.iter().any(|sample| sample.value.1 != "NaN"))
    }

    pub fn stop(mut self) -> Result<()> {
        self.server.stop(STOP_WITHIN)
    }

    fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (_, body) = get(self.address, path).context("Prometheus does not answer")?;
        let mut answer: Value = serde_json::from_str(&body).context("Prometheus' answer is not JSON")?;
        let data = answer.get_mut("data").map(Value::take).unwrap_or_default();
        serde_json::from_value(data).with_context(|| format!("Prometheus answers {answer}"))
    }
}

/// The configuration for these targets, scraped each second.
fn adapted(configuration: &str, targets: &Targets<'_>) -> Result<String> {
    let list = |addresses: &[SocketAddr]| {
        let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let changes = [
        ("[\"ingest-api:9101\"]", list(targets.ingest_apis)),
        ("[\"processor-1:9102\", \"processor-2:9102\"]", list(targets.processors)),
        ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        ("evaluation_interval: 15s", "evaluation_interval: 1s".to_owned()),
    ];
    let mut adapted = configuration.to_owned();
    for (old, new) in changes {
        ensure!(adapted.matches(old).count() == 1, "prometheus.yml should say `{old}` once");
        adapted = adapted.replace(old, &new);
    }
    Ok(adapted)
}

fn escaped(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_names_other_services_is_an_error() {
        let targets = Targets { ingest_apis: &[], processors: &[] };
        let error = adapted("scrape_interval: 15s", &targets).unwrap_err();
        assert!(error.to_string().contains("ingest-api:9101"), "{error}");
    }

    #[test]
    fn an_expression_survives_the_way_into_an_address() {
        assert_eq!(escaped("a{b=\"c\"} > 0"), "a%7Bb%3D%22c%22%7D%20%3E%200");
    }
}
