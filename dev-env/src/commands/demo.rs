//! `dev-env demo`: webhooks become clients, dialogs and messages, and a proof that they did.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::build::{self, Profile};
use super::environment::Environment;
use super::reports::{Proved, Sent, agree};
use super::steps::{say, step};
use super::table::table;
use crate::interrupt;
use crate::process::{Server, Spec, log_tail};
use crate::workspace::Workspace;

/// One of the two clients of the mission that is in every plan.
const EXAMPLE_CLIENT: [&str; 4] =
    ["--external-client-id", "client00000000000000000000000000", "--client-phone", "+70000000000"];

/// Runs it. The exit code is 0 only if the tables are what the topic says, and the topic what was sent.
pub fn run(workspace: &Workspace, messages: u32) -> Result<ExitCode> {
    say("Telex: webhooks → Kafka → PostgreSQL, exactly once\n");
    let directory = workspace.demo();
    let environment = Environment::fresh(workspace, Profile::Demo, &directory)?;

    let started = Instant::now();
    let sent = step(&format!("{messages} webhooks"), || send(&environment, &directory, messages))?;
    step("every record is applied", || {
        environment.programs.require_processor(&["progress", "wait", "--timeout-seconds", "120"])
    })?;
    let elapsed = started.elapsed();
    let proved = step("processor prove", || prove(&environment))?;

    say(&format!("\n{}", table(&sent, &proved, proved.records as f64 / elapsed.as_secs_f64())));
    if build::given().is_none() {
        say(
            "  The demo is built without optimisation: docs/benchmarks.md has the figures of what is shipped.\n",
        );
    }
    for finding in &proved.findings {
        say(&format!("  {finding}"));
    }
    let agreed = agree(&sent, &proved);
    let example = environment
        .programs
        .require_processor(&[["dialogs", "show"].as_slice(), &EXAMPLE_CLIENT, &["--limit", "8"]].concat());
    say(&format!(
        "One dialog, as `processor dialogs show` tells it:\n\n{}",
        example.unwrap_or_else(|error| format!("  {error:#}"))
    ));
    step("everything is stopped", || environment.stop())?;
    say(&format!("\n{}", proved.line));
    Ok(match (proved.is_clean(), agreed) {
        (true, Ok(())) => ExitCode::SUCCESS,
        (_, Err(difference)) => {
            say(&format!("what was sent and what arrived differ: {difference}"));
            ExitCode::FAILURE
        }
        (false, Ok(())) => ExitCode::FAILURE,
    })
}

/// Sends a plan; a reply other than planned is an error.
fn send(environment: &Environment, directory: &Path, messages: u32) -> Result<Sent> {
    let report = directory.join("loadtest.json");
    let mut command = Command::new(environment.programs.binaries.join("loadtest"));
    command.args(["run", "--url", &environment.url(), "--messages", &messages.to_string()]);
    command.args(["--seed", "1", "--mix", "valid=90,duplicate=5,invalid=5", "--report"]).arg(&report);
    let mut sender =
        Server::spawn(Spec { name: "loadtest", directory, command, stop_signal: Signal::SIGINT })?;
    while sender.is_running() {
        interrupt::pause(Duration::from_millis(20))?;
    }
    if !sender.wait()?.success() {
        bail!("loadtest failed; {}", log_tail(sender.log()));
    }
    let text = fs::read_to_string(&report).with_context(|| format!("{} cannot be read", report.display()))?;
    serde_json::from_str(&text).context("loadtest's report is not JSON")
}

fn prove(environment: &Environment) -> Result<Proved> {
    let output = environment.programs.run_processor(&["prove", "--json"])?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("prove has no report: {}", String::from_utf8_lossy(&output.stderr)))
}
