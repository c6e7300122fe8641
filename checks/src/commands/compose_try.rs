//! `checks compose-try`: docker-compose.yml and the Dockerfile's last stages on a real Docker engine, by `.ci/try-compose`.
//! Where no engine answers, one is started, with images that are made of packages.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use dev_env::commands::steps::{say, step};
use dev_env::commands::{build, with_services};
use dev_env::ports::Port;
use dev_env::process::require;
use dev_env::workspace::Workspace;
use dev_env::{interrupt, leftovers};

use crate::engine::Engine;

/// The variables of docker-compose.yml: `make up` may have the usual ports.
const PORTS: [(&str, u16); 5] = [
    ("TELEX_HTTP_PORT", 8080),
    ("TELEX_KAFKA_PORT", 9092),
    ("TELEX_POSTGRES_PORT", 5432),
    ("TELEX_PROMETHEUS_PORT", 9090),
    ("TELEX_GRAFANA_PORT", 3000),
];
/// Beside docker-compose.yml where the images are stand-ins.
const FILES: &str = "docker-compose.yml:checks/containers/stand-ins.yml";

/// Without an engine it says so and is content, unless `REQUIRE_ENGINE=1`.
pub fn run(workspace: &Workspace) -> Result<ExitCode> {
    let started = Instant::now();
    leftovers::sweep(workspace);
    let directory = workspace.tests().join(format!("{}-compose", std::process::id()));
    leftovers::own(&directory)?;
    let engine = match Engine::find(&directory) {
        Ok(engine) => engine,
        Err(why) => return skip(&why),
    };
    let engine = step("Docker with compose", || engine.with_compose(workspace))?;
    let mut script = Command::new(workspace.root().join(".ci/try-compose"));
    engine.lend(&mut script);
    for (name, usual) in PORTS {
        if std::env::var_os(name).is_none() {
            script.env(name, Port::Usual(usual).pick()?.to_string());
        }
    }
    if engine.is_own() {
        stand_ins(workspace, &engine)?;
        script.env("TELEX_STAND_INS", "1").env("COMPOSE_FILE", FILES);
    }
    let status = with_services::wait(script).context(".ci/try-compose cannot be run")?;
    drop(engine);
    std::fs::remove_dir_all(&directory).ok();
    say(&format!("  {:.0} s in all", started.elapsed().as_secs_f64()));
    Ok(with_services::exit_code(status))
}

/// What cannot be tried on this machine is said, and is an error where somebody relies on it.
pub(super) fn skip(why: &str) -> Result<ExitCode> {
    interrupt::check()?;
    if std::env::var_os("REQUIRE_ENGINE").is_some_and(|value| value == "1") {
        bail!("{why}");
    }
    say(&format!("SKIPPED, nothing was tried: {why}"));
    Ok(ExitCode::SUCCESS)
}

fn stand_ins(workspace: &Workspace, engine: &Engine) -> Result<()> {
    build::servers(workspace)?;
    let binaries = build::programs(workspace)?;
    step("images, made of packages", || {
        let mut build = Command::new(workspace.root().join("checks/containers/build"));
        engine.lend(&mut build);
        require(build.arg(workspace.dev()).arg(&binaries), "").map(drop)
    })
}
