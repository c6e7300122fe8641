//! What is needed before anything can run: the tools of the machine, the servers, our programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;

use super::steps::{step, step_showing};
use crate::install::{self, Installation};
use crate::interrupt;
use crate::process::{Server, Spec, from_shell, log_tail};
use crate::workspace::Workspace;

/// A tool, how it is asked whether it is there, and the package that brings it on Debian and macOS.
const TOOLS: [(&str, &str, &str, &str); 6] = [
    ("cargo", "--version", "rustup: https://rustup.rs", "rustup: https://rustup.rs"),
    ("mvn", "--version", "apt-get install maven", "brew install maven"),
    ("cc", "--version", "apt-get install build-essential", "xcode-select --install"),
    ("make", "--version", "apt-get install build-essential", "xcode-select --install"),
    // OpenSSL is built from its sources, which perl configures.
    ("perl", "--version", "apt-get install perl", "xcode-select --install"),
    ("bash", "--version", "apt-get install bash", "xcode-select --install"),
];

const JDK: (&str, &str) = ("apt-get install openjdk-17-jdk-headless", "brew install openjdk@17");

/// Names everything that is missing on this machine, with the command that installs it.
pub fn require_tools() -> Result<()> {
    let java = install::java();
    let tools =
        TOOLS.iter().map(|(tool, asked, debian, mac)| (Path::new(tool), *tool, *asked, *debian, *mac));
    let missing: Vec<String> = tools
        .chain([(java.as_path(), "java 17 or later", "-version", JDK.0, JDK.1)])
        .filter(|(program, _, asked, ..)| !answers(program, asked))
        .map(|(_, tool, _, debian, mac)| {
            format!("  {tool}: {}", if cfg!(target_os = "macos") { mac } else { debian })
        })
        .collect();
    ensure!(missing.is_empty(), "this machine lacks:\n{}", missing.join("\n"));
    Ok(())
}

fn answers(tool: &Path, question: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs Kafka and PostgreSQL, once.
pub fn servers(workspace: &Workspace) -> Result<Installation> {
    require_tools()?;
    step(&install::what(), || Installation::ensure(workspace, &|_| {}))
}

/// How our programs are built: a profile of Cargo.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// In the least time, for a look at what they do.
    Demo,
    /// As they are shipped.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Release => "release",
        }
    }
}

/// A build that goes on while something else is done. Dropping it ends it.
pub struct Build {
    directory: PathBuf,
    cargo: Option<Server>,
}

impl Build {
    /// Begins to build our programs. All of them at once, as the Makefile does: a package by itself asks for fewer
    /// features of the dependencies, and they would be built twice. What only measures, checks and tortures is left
    /// out: it adds no feature, and minutes. Those of `TELEX_BIN_DIR`, if it is set, are taken as they are.
    pub fn begin(workspace: &Workspace, profile: Profile) -> Result<Self> {
        if let Some(directory) = given() {
            return Ok(Self { directory, cargo: None });
        }
        let mut command = from_shell("cargo");
        command.current_dir(workspace.root()).env("SQLX_OFFLINE", "true");
        command.args(["build", "--profile", profile.name(), "--locked", "--workspace", "--bins"]);
        command.args(["--exclude=bench", "--exclude=checks", "--exclude=torture"]);
        let spec = Spec { name: "build", directory: &workspace.dev(), command, stop_signal: Signal::SIGTERM };
        Ok(Self { directory: workspace.target().join(profile.name()), cargo: Some(Server::spawn(spec)?) })
    }

    /// Waits until they are built; returns the directory that holds them.
    pub fn finish(self) -> Result<PathBuf> {
        let Some(mut build) = self.cargo else { return Ok(self.directory) };
        let log = build.log().to_owned();
        step_showing(
            "Telex is built",
            move || last_line(&log),
            || {
                while build.is_running() {
                    interrupt::pause(Duration::from_millis(50))?;
                }
                match build.wait()?.success() {
                    true => Ok(()),
                    false => bail!("the build failed; {}", log_tail(build.log())),
                }
            },
        )?;
        Ok(self.directory)
    }
}

/// Builds our programs as they are shipped; returns the directory that holds them.
pub fn programs(workspace: &Workspace) -> Result<PathBuf> {
    Build::begin(workspace, Profile::Release)?.finish()
}

/// Where the programs are once they are built as they are shipped.
pub fn directory(workspace: &Workspace) -> PathBuf {
    given().unwrap_or_else(|| workspace.target().join(Profile::Release.name()))
}

/// Where programs are that somebody has built, however that was done.
pub(super) fn given() -> Option<PathBuf> {
    std::env::var_os("TELEX_BIN_DIR").map(PathBuf::from)
}

/// What cargo does at the moment.
fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().next_back().unwrap_or_default().trim().to_owned()
}
