//! `checks test-api`: Schemathesis reads the ingest API's own contract and sends it thousands of requests,
//! over a real Kafka; whatever is answered has to be what the contract says.
//!
//! There are two ingest APIs: one takes messages from anybody, the other has a producers file with hooks, so that
//! webhooks are read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use dev_env::commands::steps::{say, step};
use dev_env::commands::with_services::{self, Services};
use dev_env::ports::Port;
use dev_env::programs::Running;
use dev_env::workspace::Workspace;

use crate::tools;

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// One message, several, the command, and providers' webhooks.
const OPERATIONS: usize = 4;
/// The paths of webhooks, with a secret and without: one handler answers them.
const WEBHOOKS: &str = "/v1/hooks/";
const REQUESTS_MIN: u64 = 2_000;
/// Messages that hooks have to keep. Nothing that is made from the contract alone is one: hooks.py makes them, of half
/// of the webhooks that are right, which are half of all.
const KEPT_MIN: u64 = 300;

/// The operations that ask for no hook, and the others. What a webhook leads to is no resource of another operation.
const WITHOUT_HOOKS: &[&str] = &["--exclude-path-regex", "^/v1/hooks/"];
const HOOKS_ALONE: &[&str] =
    &["--include-path-regex", "^/v1/hooks/", "--phases", "examples,coverage,fuzzing"];

/// Runs it; its exit code is ours.
pub fn run(workspace: &Workspace) -> Result<ExitCode> {
    let schemathesis = step(SCHEMATHESIS, || tools::python(workspace, SCHEMATHESIS, &[SCHEMATHESIS]))?;
    let services = Services::start(workspace)?;
    let programs = services.programs(workspace)?;
    let here = workspace.root().join("ingest-api/tests/schemathesis");
    let [mut open, mut hooked] = step("two ingest APIs", || {
        let producers = format!("--producers-file={}", here.join("producers.toml").display());
        let start = |name: &str, more: &[&str]| {
            let mut api = programs.ingest_api(&services.directory, name, Port::Free, more)?;
            api.wait_until_ready()?;
            anyhow::Ok(api)
        };
        Ok([start("ingest-api", &[])?, start("ingest-api-with-hooks", &[producers.as_str()])?])
    })?;
    let schemathesis = schemathesis.join("schemathesis");
    let mut failed = None;
    for (api, which) in [(&open, WITHOUT_HOOKS), (&hooked, HOOKS_ALONE)] {
        let run = schemathesis_run(&schemathesis, &here, api, which)?;
        let status = with_services::wait(run).context("schemathesis cannot be run")?;
        failed = failed.or(Some(status).filter(|status| !status.success()));
    }
    let page = format!("{}{}", open.metrics(), hooked.metrics());
    let (requests, kept) = (requests_by_operation(&page), kept_by_hooks(&page));
    open.stop()?;
    hooked.stop()?;
    services.stop();
    say(&format!("requests by operation: {requests:?}; messages that hooks have kept: {kept}"));
    if let Some(status) = failed {
        return Ok(with_services::exit_code(status));
    }
    let few = requests.values().any(|count| *count < REQUESTS_MIN) || requests.len() < OPERATIONS;
    if few {
        bail!("each of {OPERATIONS} operations is to get {REQUESTS_MIN} requests: raise max-examples");
    }
    if kept < KEPT_MIN {
        bail!("hooks are to keep {KEPT_MIN} messages, and kept {kept}: look at send_to_a_hook in hooks.py");
    }
    Ok(ExitCode::SUCCESS)
}

/// Requests to some of the operations of an API.
fn schemathesis_run(program: &Path, here: &Path, api: &Running, which: &[&str]) -> Result<Command> {
    let Some(address) = api.address else { bail!("the ingest API has no address") };
    let mut run = Command::new(program);
    // Beside its configuration and its hooks, which it imports by name.
    run.current_dir(here).env("PYTHONPATH", here).env("PYTHONDONTWRITEBYTECODE", "1");
    run.arg("run").arg(format!("http://{address}/openapi.json")).args(which);
    // One worker: Hypothesis parses its own sources while it generates, and Python 3.11 counts how deep it is in that
    // for all threads together (python/cpython#106905, a SystemError now and then).
    run.args(["--checks", "all", "--mode", "all", "--workers", "1"]);
    // Messages are taken from anybody. (With credentials, the check breaks one of the two schemes, leaves the other as
    // it is, and calls the 202 a fault; and a broken credential is a 401 where it expects the fault of the body.)
    // tests/http/authentication.rs tries both.
    run.args(["--exclude-checks", "ignored_auth"]);
    Ok(run)
}

/// What the APIs themselves have counted, for each operation.
fn requests_by_operation(page: &str) -> BTreeMap<&str, u64> {
    let mut requests = BTreeMap::new();
    let routes = counted(page, "ingest_requests_total", "route");
    for (route, count) in routes.filter(|(route, _)| route.starts_with("/v1/")) {
        let operation = if route.starts_with(WEBHOOKS) { WEBHOOKS } else { route };
        *requests.entry(operation).or_default() += count;
    }
    requests
}

/// Items of webhooks that are messages and kept. What is answered with success may also be a challenge, an event, or
/// what only lies in the quarantine.
fn kept_by_hooks(page: &str) -> u64 {
    let results = counted(page, "ingest_hook_items_total", "result");
    results.filter(|(result, _)| *result == "kept").map(|(_, count)| count).sum()
}

/// What a label says and the count, of each series of a counter.
fn counted<'a>(page: &'a str, counter: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    page.lines().filter_map(move |line| {
        let (labels, count) = line.strip_prefix(counter)?.strip_prefix('{')?.rsplit_once("} ")?;
        let says = |pair: &'a str| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"');
        Some((labels.split(',').find_map(says)?, count.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_added_up_by_operation_and_messages_by_what_became_of_them() {
        let page = "\
# TYPE ingest_requests_total counter
ingest_requests_total{code=\"accepted\",route=\"/v1/messages\",status=\"202\"} 7
ingest_requests_total{code=\"not_json\",route=\"/v1/messages\",status=\"400\"} 5
ingest_requests_total{code=\"not_found\",route=\"other\",status=\"404\"} 3
ingest_requests_total{code=\"ok\",route=\"/docs\",status=\"200\"} 1
ingest_requests_total{code=\"ok\",route=\"/v1/hooks/{name}\",status=\"200\"} 20
ingest_requests_total{code=\"ok\",route=\"/v1/hooks/{name}/{secret}\",status=\"204\"} 2
ingest_requests_total{code=\"not_found\",route=\"/v1/hooks/{name}\",status=\"404\"} 4
# TYPE ingest_hook_items_total counter
ingest_hook_items_total{hook=\"bot\",result=\"kept\"} 6
ingest_hook_items_total{hook=\"bot\",result=\"skipped\"} 50
ingest_hook_items_total{hook=\"open\",result=\"kept\"} 9
ingest_hook_items_total{hook=\"open\",result=\"quarantined\"} 70
";
        let expected = BTreeMap::from([("/v1/messages", 12), ("/v1/hooks/", 26)]);
        assert_eq!(requests_by_operation(page), expected);
        assert_eq!(kept_by_hooks(page), 15);
    }
}
