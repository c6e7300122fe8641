//! `dev-env test-api`: Schemathesis reads the ingest API's own contract and sends it thousands of requests,
//! over a real Kafka; whatever is answered has to be what the contract says.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::build;
use super::steps::{say, step};
use super::tools;
use super::with_services::{self, Services};
use crate::ports::Port;
use crate::programs::{Programs, TOPIC, create_topics};
use crate::workspace::Workspace;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// One message, several, the command, and providers' webhooks.
const OPERATIONS: usize = 4;
/// The paths of webhooks, with a secret and without: one handler answers them.
const WEBHOOKS: &str = "/v1/hooks/";
const REQUESTS_MIN: u64 = 2_000;

/// Runs it; its exit code is ours.
pub fn run(workspace: &Workspace) -> Result<ExitCode> {
    let schemathesis = step(SCHEMATHESIS, || tools::python(workspace, SCHEMATHESIS, &[SCHEMATHESIS]))?;
    let binaries = build::programs(workspace)?;
    let services = Services::start(workspace)?;
    let programs = Programs {
        binaries,
        kafka: services.kafka.bootstrap(),
        database_url: String::new(),
        topic: TOPIC.to_owned(),
    };
    let mut api = step("one ingest-api", || {
        create_topics(&services.kafka)?;
        let mut api = programs.ingest_api(&services.directory, "ingest-api", Port::Free, &[])?;
        api.wait_until_ready()?;
        Ok(api)
    })?;
    let Some(address) = api.address else { bail!("the ingest API has no address") };
    let here = workspace.root().join("ingest-api/tests/schemathesis");
    let mut run = Command::new(schemathesis.join("bin/schemathesis"));
    // Beside its configuration and its hooks, which it imports by name.
    run.current_dir(&here).env("PYTHONPATH", &here).env("PYTHONDONTWRITEBYTECODE", "1");
    run.arg("run").arg(format!("http://{address}/openapi.json"));
    // One worker: Hypothesis parses its own sources while it generates, and Python 3.11 counts how deep it is in that
    // for all threads together (python/cpython#106905, a SystemError now and then).
    run.args(["--checks", "all", "--mode", "all", "--workers", "1"]);
    // The API runs in its development mode, which takes messages from anybody. (With credentials, the check
    // breaks one of the two schemes, leaves the other as it is, and calls the 202 a fault; and a broken
    // credential is a 401 where it expects the fault of the body.) tests/http/authentication.rs tries both.
    run.args(["--exclude-checks", "ignored_auth"]);
    let status = with_services::wait(run).context("schemathesis cannot be run")?;
    let page = api.metrics();
    let requests = requests_by_operation(&page);
    api.stop()?;
    services.stop();
    say(&format!("requests by operation: {requests:?}"));
    if !status.success() {
        return Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    let few = requests.values().any(|count| *count < REQUESTS_MIN) || requests.len() < OPERATIONS;
    if few {
        bail!("each of {OPERATIONS} operations is to get {REQUESTS_MIN} requests: raise max-examples");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the API itself has counted, for each operation.
fn requests_by_operation(page: &str) -> BTreeMap<&str, u64> {
    let mut requests = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("ingest_requests_total{")) {
        let route = line.split("route=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        if let (Some(route), Some(count)) = (route.filter(|route| route.starts_with("/v1/")), count) {
            let operation = if route.starts_with(WEBHOOKS) { WEBHOOKS } else { route };
            *requests.entry(operation).or_default() += count;
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_added_up_by_operation() {
        let page = "\
# TYPE ingest_requests_total counter
ingest_requests_total{code=\"accepted\",route=\"/v1/messages\",status=\"202\"} 7
ingest_requests_total{code=\"not_json\",route=\"/v1/messages\",status=\"400\"} 5
ingest_requests_total{code=\"not_found\",route=\"other\",status=\"404\"} 3
ingest_requests_total{code=\"ok\",route=\"/docs\",status=\"200\"} 1
ingest_requests_total{code=\"ok\",route=\"/v1/hooks/{name}\",status=\"200\"} 20
ingest_requests_total{code=\"ok\",route=\"/v1/hooks/{name}/{secret}\",status=\"200\"} 2
";
        let expected = BTreeMap::from([("/v1/messages", 12), ("/v1/hooks/", 22)]);
        assert_eq!(requests_by_operation(page), expected);
    }
}
