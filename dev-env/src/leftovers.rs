//! What a command that was killed left running.
//!
//! An environment that ends with its command (`demo`, `loadtest`, `with-services`) carries the identity of
//! that command. When the command is gone and the environment is not, the next command ends the
//! servers it finds by their pid files. The environment of `up` has no owner: only `down` ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::process::{Identity, Record};
use crate::workspace::Workspace;

const GRACE: Duration = Duration::from_secs(3);

/// Marks the environment as one that ends with this process.
pub fn own(directory: &Path) -> Result<()> {
    let identity = Identity::of(std::process::id()).context("this process is not in the process table")?;
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(owner_file(directory), serde_json::to_vec(&identity)?))
        .with_context(|| format!("{} cannot be written", directory.display()))
}

/// Ends the servers of ownerless environments, and removes the data of ownerless test runs.
pub fn sweep(workspace: &Workspace) {
    for directory in environments(workspace) {
        if !is_abandoned(&directory) {
            continue;
        }
        end_all(&directory);
        if directory.parent() == Some(&workspace.tests()) {
            fs::remove_dir_all(&directory).ok();
        }
    }
}

/// Ends every server that has a pid file under `directory`; returns the names of those that ran.
pub fn end_all(directory: &Path) -> Vec<String> {
    let mut ended = Vec::new();
    for record in Record::all(directory) {
        if record.identity.is_running() {
            record.identity.end(Signal::SIGTERM, GRACE);
            ended.push(record.name.clone());
        }
        record.remove(directory);
    }
    ended
}

fn environments(workspace: &Workspace) -> Vec<PathBuf> {
    let tests = fs::read_dir(workspace.tests()).into_iter().flatten();
    let mut environments: Vec<PathBuf> = tests.filter_map(|entry| Some(entry.ok()?.path())).collect();
    environments.extend([workspace.demo(), workspace.loadtest()]);
    environments
}

/// Without a readable owner it may just be coming into being.
fn is_abandoned(directory: &Path) -> bool {
    let owner = fs::read(owner_file(directory)).ok();
    let owner: Option<Identity> = owner.and_then(|text| serde_json::from_slice(&text).ok());
    owner.is_some_and(|owner| !owner.is_running())
}

fn owner_file(directory: &Path) -> PathBuf {
    directory.join("owner.json")
}
