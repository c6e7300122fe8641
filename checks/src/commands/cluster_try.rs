//! `checks cluster-try`: a real node of Kubernetes on this machine ([`crate::node`]), and on it the overlay `dev`, tried as the
//! platform team uses it by `.ci/try-cluster`, with KEDA, then `prod` with stand-ins for its operators. `checks cluster-page`
//! writes docs/deployment-report.md from what came out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use dev_env::commands::steps::{say, step};
use dev_env::commands::{build, with_services};
use dev_env::leftovers;
use dev_env::process::require;
use dev_env::workspace::Workspace;

use super::compose_try::skip;
use crate::cluster::definitions::{NEWEST, keda_module};
use crate::engine::Engine;
use crate::node::page::page;
use crate::node::programs::{self, Programs};
use crate::node::{Node, images};

/// Where no node can be, it says so and is content, unless `REQUIRE_ENGINE=1`. A command in the place of `.ci/try-cluster` gets
/// the node for as long as it runs.
pub fn run(workspace: &Workspace, instead: &[String]) -> Result<ExitCode> {
    let started = Instant::now();
    leftovers::sweep(workspace);
    if let Some(why) = programs::lacking().or_else(occupied) {
        return skip(&why);
    }
    let directory = workspace.tests().join(format!("{}-cluster", std::process::id()));
    leftovers::own(&directory)?;
    build::servers(workspace)?;
    let binaries = build::programs(workspace)?;
    let programs = Programs::ensure(workspace)?;
    // What the operators define, for the overlay `prod`: no operator is there to bring it.
    let definitions = std::env::join_paths(NEWEST.files(workspace)?)?;
    let archive = directory.join("images.tar");
    step("images, made of packages", || {
        let engine = Engine::own(&directory).map_err(|why| anyhow!(why))?;
        images::save(workspace, &programs, &engine, &binaries, &archive)
    })?;
    let mut node = step("an API server in a network of its own", || {
        Node::start(workspace, programs.clone(), &directory)
    })?;
    step("a node that takes pods", || node.join(&archive))?;
    fs::remove_file(&archive).ok();
    let facts = facts(workspace, &programs, started)?;
    let mut script = match instead {
        [] => node.command(&workspace.root().join(".ci/try-cluster")),
        [program, arguments @ ..] => {
            let mut command = node.command(Path::new(program));
            command.args(arguments);
            command
        }
    };
    script.env("TELEX_DEFINITIONS", definitions).env("TELEX_KEDA", keda_module(NEWEST.keda)?);
    if instead.is_empty() {
        let result = result(workspace);
        fs::create_dir_all(result.parent().unwrap_or(workspace.root()))
            .and_then(|()| fs::write(&result, facts))
            .with_context(|| format!("{} cannot be written", result.display()))?;
        script.env("TELEX_RESULT", result);
    }
    let status = with_services::wait(script).context(".ci/try-cluster cannot be run")?;
    drop(node);
    fs::remove_dir_all(&directory).ok();
    say(&format!("  {:.0} s in all", started.elapsed().as_secs_f64()));
    Ok(with_services::exit_code(status))
}

/// Writes the page from the last result.
pub fn write_page(workspace: &Workspace) -> Result<()> {
    let result = fs::read_to_string(result(workspace)).context("no `make cluster-try` has run here yet")?;
    let path = workspace.root().join("docs/deployment-report.md");
    fs::write(&path, page(&result)).with_context(|| format!("{} cannot be written", path.display()))?;
    say(&format!("{} written", path.display()));
    Ok(())
}

fn result(workspace: &Workspace) -> PathBuf {
    workspace.root().join(".reports/cluster/result.tsv")
}

/// A second engine would take the first one's bridge.
fn occupied() -> Option<String> {
    Engine::answers().then(|| "a Docker engine answers here: .ci/try-kind makes a cluster on it".to_owned())
}

/// What a reader has to know of the machine, a line each.
fn facts(workspace: &Workspace, programs: &Programs, started: Instant) -> Result<String> {
    let root = workspace.root();
    let said = |command: &mut Command| -> Result<String> { Ok(require(command, "")?.trim().to_owned()) };
    let commit = said(Command::new("git").current_dir(root).args(["rev-parse", "--short=12", "HEAD"]))?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = memory.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    let mut facts = vec![
        ("commit".to_owned(), format!("`{commit}`")),
        ("day".to_owned(), said(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?),
        (
            "machine".to_owned(),
            format!(
                "{cores} processors, {} GiB, Linux {}",
                kibibytes.unwrap_or_default() / (1 << 20),
                said(Command::new("uname").arg("--kernel-release"))?
            ),
        ),
    ];
    facts.extend(programs.versions()?);
    for program in ["containerd", "runc"] {
        let version = said(Command::new(program).arg("--version"))?;
        facts.push((program.to_owned(), version.lines().next().unwrap_or_default().to_owned()));
    }
    let seconds = started.elapsed().as_secs().to_string();
    facts.push(("seconds from the command to a node that takes pods".to_owned(), seconds));
    Ok(facts.into_iter().map(|(what, value)| format!("fact\t{what}\t{value}\n")).collect())
}
