//! What the node runs: the images that the overlay `dev` and the load test name, made of packages by a Docker engine of our own
//! (checks/containers/build), and put into one archive.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use dev_env::process::require;
use dev_env::workspace::Workspace;

use super::programs::Programs;
use super::settings::NODE_IMAGE;
use crate::engine::Engine;
use crate::k8s::{DEV, LOAD_DEV};

const OVERLAYS: [&str; 2] = [DEV, LOAD_DEV];
/// Images of a checkout, which checks/containers/build calls `telex/PROGRAM:dev`.
const OURS: &str = "localhost/telex/";

/// Builds them of these binaries, and writes the archive.
pub fn save(
    workspace: &Workspace,
    programs: &Programs,
    engine: &Engine,
    binaries: &Path,
    archive: &Path,
) -> Result<()> {
    let mut build = Command::new(workspace.root().join("checks/containers/build"));
    engine.lend(&mut build);
    require(build.arg(workspace.dev()).arg(binaries), "")?;
    let mut node = docker(engine);
    node.args(["build", "--quiet", "--tag", NODE_IMAGE, "--file"]);
    node.arg(workspace.root().join("checks/containers/node/Dockerfile")).arg(&programs.names);
    require(&mut node, "")?;
    let names = named(workspace, programs)?;
    for name in &names {
        if let Some(program) = name.strip_prefix(OURS).and_then(|rest| rest.split(':').next()) {
            require(docker(engine).arg("tag").arg(format!("telex/{program}:dev")).arg(name), "")?;
        }
    }
    let mut save = docker(engine);
    save.arg("save").arg("--output").arg(archive).args(&names).arg(NODE_IMAGE);
    require(&mut save, "the stand-ins have other names than the manifests").map(drop)
}

fn docker(engine: &Engine) -> Command {
    let mut docker = Command::new("docker");
    engine.lend(&mut docker);
    docker.env("DOCKER_BUILDKIT", "0"); // the classic builder is in every engine
    docker
}

fn named(workspace: &Workspace, programs: &Programs) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for overlay in OVERLAYS {
        let mut kubectl = Command::new(programs.control.kubectl());
        let built = require(kubectl.current_dir(workspace.root()).args(["kustomize", overlay]), "")
            .with_context(|| format!("{overlay} cannot be built"))?;
        let image =
            |line: &str| Some(line.trim_start_matches([' ', '-']).strip_prefix("image: ")?.to_owned());
        names.extend(built.lines().filter_map(image));
    }
    ensure!(names.len() > 4, "the overlays name only {names:?}");
    Ok(names)
}
