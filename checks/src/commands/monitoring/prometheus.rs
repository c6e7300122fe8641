//! A real Prometheus, with the committed configuration but for the addresses and the pace.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dev_env::debian::Unpacked;
use dev_env::ports::Port;
use dev_env::process::{Server, Spec, require};
use dev_env::programs::get;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::yaml::{Look as _, document};

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
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// The alerts of a file, which no server here may load.
pub fn rules_of(path: &Path) -> Result<Vec<Rule>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    rules_in(&document(&text)?)
}

fn rules_in(groups: &Value) -> Result<Vec<Rule>> {
    let rules = groups.list("/groups").iter().flat_map(|group| group.list("/rules"));
    rules.map(|rule| Ok(Rule::deserialize(rule)?)).collect()
}

pub struct Prometheus {
    server: Server,
    address: SocketAddr,
}

/// What `promtool` finds wrong, if it does.
pub fn promtool(unpacked: &Unpacked, monitoring: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = unpacked.command("usr/bin/promtool");
    require(command.current_dir(monitoring.join("prometheus")).args(arguments), "").map(drop)
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
        let mut command = unpacked.command("usr/bin/prometheus");
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
        rules_in(&self.ask("/api/v1/rules?type=alert")?)
    }

    /// Whether an expression has a value now; NaN is none.
    pub fn has_value(&self, expression: &str) -> Result<bool> {
        let answer = self.ask(&question(expression));
        let answer = answer.with_context(|| format!("Prometheus refuses {expression}"))?;
        let value = |sample: &Value| sample.at("/value/1").as_str().is_some_and(|value| value != "NaN");
        Ok(answer.list("/result").iter().any(value))
    }

    pub fn stop(mut self) -> Result<()> {
        self.server.stop(STOP_WITHIN)
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let (_, body) = get(self.address, path).context("Prometheus does not answer")?;
        let answer: Value = serde_json::from_str(&body).context("Prometheus' answer is not JSON")?;
        ensure!(answer.text("/status") == "success", "Prometheus answers {answer}");
        Ok(answer.at("/data").clone())
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

fn question(expression: &str) -> String {
    let expression: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    format!("/api/v1/query?query={expression}")
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
        assert_eq!(question("a{b=\"c\"} > 0"), "/api/v1/query?query=a%7Bb%3D%22c%22%7D+%3E+0");
    }
}
