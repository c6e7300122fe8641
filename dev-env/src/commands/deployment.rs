//! `dev-env compose-check` and `dev-env k8s-check`: what is deployed, held against the programs.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use super::build;
use super::steps::step;
use crate::checks::compose;
use crate::checks::dockerfile;
use crate::checks::files::Files;
use crate::checks::k8s;
use crate::checks::planted::{self, Mistake};
use crate::checks::programs::Programs;
use crate::checks::{Finding, tools};
use crate::workspace::Workspace;

pub fn compose_check(workspace: &Workspace) -> Result<ExitCode> {
    let root = workspace.root();
    let programs = programs(workspace)?;
    step("hadolint", || {
        tools::run(Command::new(tools::hadolint(workspace)?).current_dir(root).arg("Dockerfile"), "")
    })?;
    step("dclint", || {
        let mut dclint = Command::new(tools::dclint(workspace)?);
        tools::run(dclint.current_dir(root).args(["docker-compose.yml", "--max-warnings", "0"]), "")
    })?;
    let files = Files::read(root, &[&dockerfile::FILES[..], &compose::FILES].concat())?;
    own("Dockerfile against the programs", &files, dockerfile::MISTAKES, |files| {
        Ok(dockerfile::check(files, &programs)?.into_vec())
    })?;
    own("docker-compose.yml against the programs", &files, compose::MISTAKES, |files| {
        Ok(compose::check(files, &programs)?.into_vec())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What is not Kubernetes' own: kubernetes-validate has no schema for it and says so.
const OPERATORS_GROUPS: [&str; 4] =
    ["kafka.strimzi.io/", "keda.sh/", "monitoring.coreos.com/", "postgresql.cnpg.io/"];

/// Builds every overlay and checks what comes out.
pub fn k8s_check(workspace: &Workspace) -> Result<ExitCode> {
    let root = workspace.root();
    let programs = programs(workspace)?;
    let mut files = Files::read(root, &k8s::files())?;
    step("kustomize builds every overlay", || {
        let kustomize = tools::kustomize(workspace)?;
        for directory in k8s::BUILDS {
            let built =
                tools::run(Command::new(&kustomize).current_dir(root).args(["build", directory]), "")?;
            files.insert(directory, built);
        }
        Ok(())
    })?;
    step("kubernetes-validate --strict", || {
        validate(workspace, &files, &workspace.target().join("tmp/checks"))
    })?;
    own("the manifests against the programs", &files, k8s::MISTAKES, |files| {
        Ok(k8s::check(files, &programs)?.into_vec())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn validate(workspace: &Workspace, files: &Files, directory: &Path) -> Result<()> {
    let validate = tools::kubernetes_validate(workspace)?;
    std::fs::create_dir_all(directory)?;
    for build in k8s::BUILDS {
        let path = directory.join(build.replace('/', "-"));
        std::fs::write(&path, files.get(build))?;
        let said =
            tools::run(Command::new(&validate).args(["--strict", "-k", "1.37.0", "--quiet"]).arg(&path), "")?;
        let unknown = said.lines().find(|line| !OPERATORS_GROUPS.iter().any(|group| line.contains(group)));
        if let Some(line) = unknown {
            bail!("{line}");
        }
    }
    Ok(())
}

/// Writes what k8s/ holds of other directories, which kustomize does not reach: the alerts as the Prometheus operator
/// takes them, and the roles of PostgreSQL.
pub fn k8s_rules(workspace: &Workspace) -> Result<ExitCode> {
    let root = workspace.root();
    for (name, file, target) in k8s::RULES {
        let rules = std::fs::read_to_string(root.join(file))?;
        std::fs::write(root.join(target), k8s::prometheus_rule(name, file, &rules))?;
    }
    std::fs::copy(root.join(k8s::ROLES.0), root.join(k8s::ROLES.1))?;
    Ok(ExitCode::SUCCESS)
}

/// Those that the tests use, too, or what is built now.
fn programs(workspace: &Workspace) -> Result<Programs> {
    let binaries = match std::env::var_os("TELEX_BIN_DIR") {
        Some(directory) => directory.into(),
        None => build::programs(workspace)?,
    };
    Ok(Programs::new(binaries, workspace.target().join("tmp/checks")))
}

/// A check of ours: finds nothing in what is there, and everything in what is broken on purpose.
fn own(
    what: &str,
    files: &Files,
    mistakes: &[Mistake],
    check: impl Fn(&Files) -> Result<Vec<Finding>>,
) -> Result<()> {
    step(what, || {
        let findings = check(files)?;
        if findings.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
        bail!("{}", lines.concat())
    })?;
    step(&format!("{} mistakes planted there", mistakes.len()), || {
        planted::all_are_found(mistakes, files, check)
    })
}
