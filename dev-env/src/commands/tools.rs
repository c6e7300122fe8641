//! Tools of other languages that only some checks need, each in a place of its own under `target/tools/`, once a
//! version.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A Python environment with these packages; its `bin/` has their programs.
pub fn python(workspace: &Workspace, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let environment = workspace.target().join("tools").join(name);
    let complete = environment.join("complete");
    if !complete.exists() {
        require(
            Command::new("python3").args(["-m", "venv"]).arg(&environment),
            "apt-get install python3-venv",
        )?;
        let pip = environment.join("bin/pip");
        require(Command::new(pip).args(["install", "--quiet"]).args(packages), "pip could not install it")?;
        std::fs::write(&complete, "").context("the environment cannot be marked as complete")?;
    }
    Ok(environment)
}

/// A directory whose `node_modules/` has this package.
pub fn node(workspace: &Workspace, name: &str, package: &str) -> Result<PathBuf> {
    let directory = workspace.target().join("tools").join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        require(npm.arg(&directory).arg(package), "apt-get install nodejs npm")?;
        std::fs::write(&complete, "").context("the package cannot be marked as complete")?;
    }
    Ok(directory)
}

/// Runs a command that must succeed; returns its standard output.
pub fn require(command: &mut Command, remedy: &str) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be run: {remedy}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed: {remedy}\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
