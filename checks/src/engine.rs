//! A Docker engine for docker-compose.yml: the one that answers, or one of our own for as long as a command runs, whose images
//! stay in the user's cache.
//!
//! Invariant: an engine of our own is asked to stop before it is given up, because it alone ends its containers. One command
//! at a time has its data, and finds no container there: what a run that was cut off has left goes first.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dev_env::commands::steps::say;
use dev_env::install::lock;
use dev_env::process::{Server, Spec, require};
use dev_env::workspace::Workspace;
use nix::sys::signal::Signal;
use nix::unistd;

use crate::tools;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Containers are asked first, each in its own time.
const STOP_WITHIN: Duration = Duration::from_secs(90);
/// What an engine of our own takes: it, and the tool that makes a Debian of packages.
const NEEDS: [&str; 2] = ["dockerd", "debootstrap"];

const COMPOSE: &str = "github.com/docker/compose/v2";
const COMPOSE_MODULE: &str = include_str!("../containers/compose/go.mod");

/// Dropping it stops what was started.
#[derive(Debug)]
pub struct Engine {
    own: Option<Own>,
    environment: Vec<(&'static str, OsString)>,
}

/// A server, and the lock of its data.
#[derive(Debug)]
struct Own {
    server: Server,
    _data: File,
}

impl Engine {
    /// The engine that answers, or else one that is started here and writes to this directory.
    pub fn find(directory: &Path) -> Result<Self, String> {
        if Self::answers() {
            return Ok(Self { own: None, environment: Vec::new() });
        }
        Self::own(directory).map_err(|why| format!("no Docker engine answers, and {why}"))
    }

    /// Somebody's engine is there: it has the machine's bridge, and images under their real names.
    pub fn answers() -> bool {
        succeeds(Command::new("docker").arg("info"))
    }

    /// One that is started here and writes to this directory, or why there is none.
    pub fn own(directory: &Path) -> Result<Self, String> {
        if !cfg!(target_os = "linux") || !unistd::geteuid().is_root() {
            return Err("only root on Linux can start one".to_owned());
        }
        let lacks = |tool: &&str| !succeeds(Command::new(tool).arg("--version"));
        let missing: Vec<&str> = NEEDS.into_iter().filter(lacks).collect();
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            return Err(format!("this machine lacks {missing}: apt-get install docker.io debootstrap"));
        }
        start(directory).map_err(|error| format!("none can be started: {error:#}"))
    }

    /// It was started here: no image can be pulled for it.
    pub const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Lets a command use it.
    pub fn lend(&self, command: &mut Command) {
        for (name, value) in &self.environment {
            command.env(name, value);
        }
    }

    /// Brings Docker's compose plugin, if the client has none.
    pub fn with_compose(mut self, workspace: &Workspace) -> Result<Self> {
        let mut asked = Command::new("docker");
        self.lend(&mut asked);
        if succeeds(asked.args(["compose", "version"])) {
            return Ok(self);
        }
        let version = tools::required(COMPOSE_MODULE, COMPOSE)?;
        let configuration = Workspace::cache()?.join(format!("docker-compose-{version}"));
        if !configuration.exists() {
            tools::once(&configuration, |directory| build_compose(workspace, directory, version))
                .context("Docker's compose plugin cannot be built")?;
        }
        self.environment.push(("DOCKER_CONFIG", configuration.into()));
        Ok(self)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // One that does not stop is killed with the handle.
        self.server.stop(STOP_WITHIN).ok();
    }
}

fn start(directory: &Path) -> Result<Engine> {
    let data = Workspace::cache()?.join("docker");
    let said = Cell::new(false);
    let lock = lock(&data.with_extension("lock"), &|| {
        if !said.replace(true) {
            say("  another command has the engine's data: waiting for it");
        }
    })?;
    let mut socket = OsString::from("unix://");
    socket.push(directory.join("docker.sock"));
    let mut command = Command::new("dockerd");
    command.arg("--host").arg(&socket).arg("--log-level=warn");
    command.arg("--data-root").arg(data);
    command.arg("--exec-root").arg(directory.join("exec"));
    command.arg("--pidfile").arg(directory.join("docker.pid"));
    let spec = Spec { name: "dockerd", directory, command, stop_signal: Signal::SIGTERM };
    let mut own = Own { server: Server::spawn(spec)?, _data: lock };
    let client = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        docker.args(arguments).env("DOCKER_HOST", &socket);
        docker
    };
    own.server.wait_until_ready(READY_WITHIN, |_| succeeds(&mut client(&["info"])))?;
    let left = require(&mut client(&["ps", "--all", "--quiet"]), "")?;
    if !left.trim().is_empty() {
        require(client(&["rm", "--force", "--volumes"]).args(left.split_whitespace()), "")?;
    }
    // Images that a later build has replaced, networks, and volumes without a name.
    require(&mut client(&["system", "prune", "--force", "--volumes"]), "")?;
    let environment = vec![("DOCKER_HOST", socket)];
    Ok(Engine { own: Some(own), environment })
}

fn build_compose(workspace: &Workspace, directory: &Path, version: &str) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(workspace.root().join("checks/containers/compose")).env("CGO_ENABLED", "0");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags"]);
    go.arg(format!("-s -w -X {COMPOSE}/internal.Version={version}"));
    go.arg("-o").arg(directory.join("cli-plugins/docker-compose")).arg(format!("{COMPOSE}/cmd"));
    require(&mut go, "it takes Go 1.24 or later: https://go.dev/dl").map(drop)
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
