//! Child processes that never outlive their owner by accident.
//!
//! Every child leads a process group of its own, so that a Ctrl-C at the terminal reaches the
//! owner alone and the owner decides in which order things end. Three layers see to it that
//! nothing is left behind:
//! 1. the handles ([`Group`], [`Server`]) end their child when they are dropped;
//! 2. the guardian, one small shell a process, ends what the owner guards when the owner is gone,
//!    however that happened (`kill -9`, a test binary that exits without running destructors);
//! 3. a server's pid file lets the next command find it ([`crate::leftovers`]), should the
//!    guardian have been killed as well.
//!
//! A process is always named by its pid *and* its start time ([`Identity`]), so that a pid that
//! was given to somebody else is never signalled.

mod group;
mod guardian;
mod identity;
mod record;
mod server;
mod table;

pub use group::Group;
pub use identity::Identity;
pub use record::Record;
pub(crate) use server::run_logged;
pub use server::{Server, Spec};

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// A program as a shell would start it. `cargo run` tells us, and through us whatever we start, which package
/// we are; to a nested cargo that is a change on which ring's build script insists, and with it half of the
/// dependencies would be compiled again each time.
pub fn from_shell(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a tool that must succeed; returns what it printed. `remedy` helps where it is not there.
pub fn require(command: &mut Command, remedy: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be run: {remedy}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed ({}):\n{}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The end of a log file, for an error message: what a person would look at first.
pub fn log_tail(log: &std::path::Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(LINES));
    let mut message = format!("the end of {}:", log.display());
    for line in tail {
        message.push_str("\n    ");
        message.push_str(line);
    }
    message
}
