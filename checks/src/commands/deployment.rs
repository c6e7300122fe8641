//! `checks compose-check` and `checks k8s-check`: what is deployed, held against the programs.

use std::process::Command;

use anyhow::{Result, ensure};
use dev_env::commands::steps::step;
use dev_env::markdown;
use dev_env::process::require;
use dev_env::workspace::Workspace;

use crate::files::Files;
use crate::planted::{self, Mistake};
use crate::{Finding, compose, dockerfile, k8s, tools};

pub fn compose_check(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    step("hadolint", || {
        require(Command::new(tools::hadolint(workspace)?).current_dir(root).arg("Dockerfile"), "")
    })?;
    step("dclint", || {
        let mut dclint = Command::new(tools::dclint(workspace)?);
        require(dclint.current_dir(root).args(["docker-compose.yml", "--max-warnings", "0"]), "")
    })?;
    let files = Files::read(root, &[&dockerfile::FILES[..], &compose::FILES].concat())?;
    own("Dockerfile against the programs", &files, dockerfile::MISTAKES, |files, _| {
        Ok(dockerfile::check(files)?.into_vec())
    })?;
    own("docker-compose.yml against the programs", &files, compose::MISTAKES, |files, _| {
        Ok(compose::check(files)?.into_vec())
    })
}

/// Builds every overlay and checks what comes out: what no API server knows. `cluster-check` asks one about the rest.
pub fn k8s_check(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let documents = markdown::documents(root)?;
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let mut files = Files::read(root, &[&k8s::FILES[..], documents.as_slice()].concat())?;
    step("kustomize builds every overlay", || {
        let kustomize = tools::kustomize(workspace)?;
        for directory in k8s::BUILDS {
            let mut build = Command::new(&kustomize);
            files.insert(directory, require(build.current_dir(root).args(["build", directory]), "")?);
        }
        Ok(())
    })?;
    own("the manifests against the programs", &files, k8s::MISTAKES, |files, broken| {
        Ok(k8s::check(files, broken)?.into_vec())
    })
}

/// Writes what k8s/ holds of other directories, which kustomize does not reach: the alerts as the Prometheus operator
/// takes them, and the roles of PostgreSQL.
pub fn k8s_rules(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    for (name, file, target) in k8s::RULES {
        let rules = std::fs::read_to_string(root.join(file))?;
        std::fs::write(root.join(target), k8s::prometheus_rule(name, file, &rules))?;
    }
    std::fs::copy(root.join(k8s::ROLES.0), root.join(k8s::ROLES.1))?;
    Ok(())
}

/// A check of ours: finds nothing in what is there, and everything in what is broken on purpose. It is told which file is
/// broken.
pub(super) fn own(
    what: &str,
    files: &Files,
    mistakes: &[Mistake],
    check: impl Fn(&Files, Option<&str>) -> Result<Vec<Finding>>,
) -> Result<()> {
    step(what, || nothing(&check(files, None)?))?;
    step(&format!("{} mistakes planted there", mistakes.len()), || {
        planted::all_are_found(mistakes, files, check)
    })
}

/// An error with every finding.
pub(super) fn nothing(findings: &[Finding]) -> Result<()> {
    let lines: Vec<String> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    ensure!(lines.is_empty(), "{}", lines.concat());
    Ok(())
}
