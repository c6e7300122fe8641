//! What the node runs: the images that the overlay `dev` and the load test name, made of packages by a Docker engine of our own
//! (checks/containers/build), KEDA and a Prometheus for it, put into one archive.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use dev_env::process::require;
use dev_env::workspace::Workspace;

use super::programs::Programs;
use super::settings::{KEDA_IMAGE, NODE_IMAGE, PROMETHEUS_IMAGE};
use crate::engine::Engine;
use crate::k8s::{DEV, LOAD_DEV};

const OVERLAYS: [&str; 2] = [DEV, LOAD_DEV];
/// Images of a checkout, which checks/containers/build calls `telex/PROGRAM:dev`.
const OURS: &str = "localhost/telex/";
const PROMETHEUS: &str = "prom/prometheus:";

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
    for (image, name, context) in
        [(NODE_IMAGE, "node", &programs.names), (KEDA_IMAGE, "keda", &programs.keda)]
    {
        let dockerfile = workspace.root().join("checks/containers").join(name).join("Dockerfile");
        let mut build = docker(engine);
        build.args(["build", "--quiet", "--tag", image, "--file"]).arg(dockerfile).arg(context);
        require(&mut build, "")?;
    }
    require(docker(engine).arg("tag").arg(prometheus(workspace)?).arg(PROMETHEUS_IMAGE), "")?;
    let names = named(workspace, programs)?;
    for name in &names {
        if let Some(program) = name.strip_prefix(OURS).and_then(|rest| rest.split(':').next()) {
            require(docker(engine).arg("tag").arg(format!("telex/{program}:dev")).arg(name), "")?;
        }
    }
    let mut save = docker(engine);
    save.arg("save").arg("--output").arg(archive).args(&names);
    save.args([NODE_IMAGE, KEDA_IMAGE, PROMETHEUS_IMAGE]);
    require(&mut save, "the stand-ins have other names than the manifests").map(drop)
}

fn docker(engine: &Engine) -> Command {
    let mut docker = Command::new("docker");
    engine.lend(&mut docker);
    docker.env("DOCKER_BUILDKIT", "0"); // the classic builder is in every engine
    docker
}

/// The name that docker-compose.yml gives it, and checks/containers/build with it.
fn prometheus(workspace: &Workspace) -> Result<String> {
    let file = workspace.root().join("docker-compose.yml");
    let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
    let found = images.find(|image| image.starts_with(PROMETHEUS)).map(str::to_owned);
    found.with_context(|| format!("{} has no {PROMETHEUS}", file.display()))
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
