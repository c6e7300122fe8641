//! `dev-env loadtest`: the load tester against the environment of `up`, or against one of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use super::build::{self, Profile};
use super::environment::Environment;
use super::steps::{say, step};
use super::{up, with_services};
use crate::programs::Programs;
use crate::workspace::Workspace;

/// Enough for 10,000 requests a second that take 20 ms each.
const CONNECTIONS: &str = "256";

/// Runs it with these arguments of `loadtest run`; its exit code is ours. The report is left under
/// `target/loadtest/`.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    if let Some((url, database_url)) = up::running(workspace) {
        say(&format!("the environment of `make up`, {url}\n"));
        let binaries = build::programs(workspace)?;
        return send(workspace, &binaries, &url, &database_url, arguments);
    }
    say("nothing is up: an environment of its own, gone afterwards\n");
    let directory = workspace.loadtest();
    let environment = Environment::fresh(workspace, Profile::Release, &directory)?;
    let Programs { binaries, database_url, .. } = &environment.programs;
    let code = send(workspace, binaries, &environment.url(), database_url, arguments)?;
    step("everything is stopped", || environment.stop())?;
    fs::remove_dir_all(&directory).ok();
    Ok(code)
}

fn send(
    workspace: &Workspace,
    binaries: &Path,
    url: &str,
    database_url: &str,
    arguments: &[String],
) -> Result<ExitCode> {
    let folder = workspace.target().join("loadtest");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let (json, html) = (folder.join("report.json"), folder.join("report.html"));
    let mut command = Command::new(binaries.join("loadtest"));
    command.env("LOADTEST_DATABASE_URL", database_url).arg("run").arg("--url").arg(url);
    let defaults = [
        ("--connections", CONNECTIONS.into()),
        ("--report", json.clone().into_os_string()),
        ("--html", html.clone().into_os_string()),
    ];
    for (name, value) in defaults {
        if !arguments.iter().any(|argument| argument.split('=').next() == Some(name)) {
            command.arg(name).arg(value);
        }
    }
    command.args(arguments);
    say("");
    let status = with_services::wait(command).context("loadtest cannot be run")?;
    say(&format!("\nreport: {}\n        {}", html.display(), json.display()));
    Ok(with_services::exit_code(status))
}
