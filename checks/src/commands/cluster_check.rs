//! `checks cluster-check`: a real API server judges every overlay, with the definitions of the oldest version of each operator
//! that the guide names, and with those of the newest.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use dev_env::commands::steps::{say, step};
use dev_env::process::require;
use dev_env::workspace::Workspace;
use dev_env::{interrupt, leftovers};

use super::deployment::{nothing, own};
use crate::Finding;
use crate::cluster::binaries::{self, Binaries};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::definitions::{self, KEDA_TOO_OLD, NEWEST, OLDEST, Operators};
use crate::cluster::{MISTAKES, PLAIN, check};
use crate::files::Files;
use crate::k8s::{BUILDS, PROD};

/// Says at the end how long it took: the first time it builds the server.
pub fn run(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    leftovers::sweep(workspace);
    let programs = Binaries::locate()?;
    if !programs.are_built() {
        let what = format!("kube-apiserver {}, etcd and kubectl, built once", binaries::kubernetes()?);
        step(&what, || programs.build(workspace))?;
    }
    let files = step("kubectl builds every overlay", || built(workspace, &programs))?;
    for (name, operators) in [("oldest", &OLDEST), ("newest", &NEWEST)] {
        let directory = workspace.tests().join(format!("{}-{name}", std::process::id()));
        leftovers::own(&directory)?;
        let plane = start(workspace, &programs, operators, &directory)?;
        let what = format!("every overlay, with the {name} operators");
        let asked = |files: &Files, broken: Option<&str>| -> Result<Vec<Finding>> {
            Ok(check(files, &plane, broken)?.into_vec())
        };
        if name == "newest" {
            own(&what, &files, MISTAKES, asked)?;
            too_old(&files, &plane)?;
        } else {
            step(&what, || nothing(&asked(&files, None)?))?;
        }
        // It held nothing.
        drop(plane);
        fs::remove_dir_all(&directory).ok();
    }
    say(&format!("  {:.0} s in all", started.elapsed().as_secs_f64()));
    Ok(())
}

fn built(workspace: &Workspace, programs: &Binaries) -> Result<Files> {
    let mut files = Files::read(workspace.root(), &PLAIN)?;
    for directory in BUILDS {
        let mut kubectl = Command::new(programs.kubectl());
        kubectl.current_dir(workspace.root()).args(["kustomize", directory]);
        files.insert(directory, require(&mut kubectl, "it was built just now")?);
    }
    Ok(files)
}

fn start(
    workspace: &Workspace,
    programs: &Binaries,
    operators: &Operators,
    directory: &Path,
) -> Result<ControlPlane> {
    let files = step(&operators.to_string(), || operators.files(workspace))?;
    step("an API server that knows them", || {
        let plane = ControlPlane::start(programs, directory)?;
        plane.define(&files)?;
        Ok(plane)
    })
}

/// A version that the guide forbids is refused.
fn too_old(files: &Files, plane: &ControlPlane) -> Result<()> {
    step(&format!("KEDA {KEDA_TOO_OLD} is too old"), || {
        plane.define(&[definitions::keda(KEDA_TOO_OLD)?])?;
        // A server goes on for a moment by a definition that it has just been given another one for.
        for _ in 0..20 {
            let findings = check(files, plane, Some(PROD))?.into_vec();
            let is_refused = |finding: &Finding| {
                ["fallback", "behavior"].map(|name| finding.problem.contains(name)) == [true; 2]
            };
            if findings.iter().any(is_refused) {
                return Ok(());
            }
            interrupt::pause(Duration::from_millis(500))?;
        }
        bail!("it takes the ScaledObject of prod")
    })
}
