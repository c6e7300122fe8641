//! The programs of a node, each set built once a version and kept outside of the clone, as [`crate::cluster::binaries`] does
//! with the API server; what else a node takes is the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use dev_env::commands::steps::step;
use dev_env::workspace::Workspace;
use nix::unistd;

use crate::cluster::binaries::{Binaries, go_build, go_build_as, kubernetes};
use crate::cluster::definitions::{NEWEST, keda_module};
use crate::tools;

const KUBERNETES: [&str; 4] = [
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kube-proxy",
    "k8s.io/kubernetes/cmd/kube-scheduler",
    "k8s.io/kubernetes/cmd/kubelet",
];
const ROUTER: &str = "github.com/cloudnativelabs/kube-router/v2";
const ROUTER_MODULE: &str = include_str!("../../cluster/policies/go.mod");
const NAMES: &str = "github.com/coredns/coredns";
const NAMES_MODULE: &str = include_str!("../../cluster/names/go.mod");
/// Without its webhooks: who installs `config/minimal` has none.
const KEDA: [&str; 2] = ["./cmd/adapter", "./cmd/operator"];

/// How long the set took to build is in this file of it.
const SECONDS: &str = "seconds";

/// A program of the machine and the question that it answers with success.
const MACHINE: [(&str, &str); 11] = [
    ("containerd", "--version"),
    ("ctr", "--version"),
    ("runc", "--version"),
    ("go", "version"),
    ("ip", "-V"),
    ("ipset", "--version"),
    ("iptables", "--version"),
    ("jq", "--version"),
    ("nsenter", "--version"),
    ("openssl", "version"),
    ("unshare", "--version"),
];
/// A folder of Debian's packages.
const PLUGINS: &str = "/usr/lib/cni/bridge";
const REMEDY: &str =
    "apt-get install docker.io debootstrap containernetworking-plugins ipset iptables iproute2 jq openssl";

/// Why no node can be here; nothing if one can.
pub fn lacking() -> Option<String> {
    if !cfg!(target_os = "linux") || !unistd::geteuid().is_root() {
        return Some("only root on Linux can start a node".to_owned());
    }
    let mut missing: Vec<&str> =
        MACHINE.into_iter().filter(|(tool, asked)| !answers(tool, asked)).map(|(tool, _)| tool).collect();
    if !Path::new(PLUGINS).exists() {
        missing.push(PLUGINS);
    }
    (!missing.is_empty()).then(|| format!("this machine lacks {}: {REMEDY}", missing.join(", ")))
}

fn answers(tool: &str, question: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg(question).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[derive(Debug, Clone)]
pub struct Programs {
    pub control: Binaries,
    node: PathBuf,
    router: PathBuf,
    /// pause and CoreDNS, for an image.
    pub names: PathBuf,
    /// KEDA's operator and metrics adapter, for another.
    pub keda: PathBuf,
}

impl Programs {
    /// Builds what is not there.
    pub fn ensure(workspace: &Workspace) -> Result<Self> {
        let (version, cache) = (kubernetes()?, Workspace::cache()?);
        let router = tools::required(ROUTER_MODULE, ROUTER)?;
        let names = tools::required(NAMES_MODULE, NAMES)?;
        let programs = Self {
            control: Binaries::locate()?,
            node: cache.join(format!("kubernetes-node-{version}")),
            router: cache.join(format!("kube-router-{router}")),
            names: cache.join(format!("coredns-{names}")),
            keda: cache.join(format!("keda-v{}", NEWEST.keda)),
        };
        if !programs.control.are_built() {
            step("the API server, etcd and kubectl, built once", || programs.control.build(workspace))?;
        }
        let package = format!("{ROUTER}/cmd/kube-router");
        for (what, directory, module, packages) in [
            ("kubelet and its like", &programs.node, "checks/cluster", &KUBERNETES[..]),
            ("kube-router", &programs.router, "checks/cluster/policies", &[package.as_str()]),
            ("CoreDNS", &programs.names, "checks/cluster/names", &[".", "./pause"]),
        ] {
            ensure_one(what, directory, |into| go_build(workspace, module, packages, into))?;
        }
        ensure_one("KEDA", &programs.keda, |into| {
            // In its own module, where its versions of others hold.
            let version = format!("github.com/kedacore/keda/v2/version.Version={}", NEWEST.keda);
            go_build_as(&version, &keda_module(NEWEST.keda)?, &KEDA, into)
        })?;
        Ok(programs)
    }

    /// What they are, and how long each set took to build.
    pub fn versions(&self) -> Result<Vec<(String, String)>> {
        let version = |module, name| tools::required(module, name);
        let rows = [
            ("kubelet, controllers, scheduler, proxy", kubernetes()?, &self.node),
            ("kube-router, which enforces the policies", version(ROUTER_MODULE, ROUTER)?, &self.router),
            ("CoreDNS", version(NAMES_MODULE, NAMES)?, &self.names),
            ("KEDA, operator and metrics adapter", NEWEST.keda, &self.keda),
        ];
        let said = |(what, version, directory): (&str, &str, &PathBuf)| {
            let seconds = fs::read_to_string(directory.join(SECONDS)).unwrap_or_default();
            let built = format!("{version}, built once in {} s", seconds.trim());
            (what.to_owned(), if seconds.is_empty() { version.to_owned() } else { built })
        };
        Ok(rows.into_iter().map(said).collect())
    }

    /// One of Kubernetes that runs on the node.
    pub fn of_node(&self, name: &str) -> PathBuf {
        self.node.join(name)
    }

    pub fn router(&self) -> PathBuf {
        self.router.join("kube-router")
    }
}

fn ensure_one(what: &str, directory: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if directory.exists() {
        return Ok(());
    }
    step(&format!("{what}, built once"), || {
        tools::once(directory, |into| timed(into, make)).with_context(|| format!("{what} cannot be built"))
    })
}

/// Leaves beside what is made how long it took.
fn timed(directory: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let started = Instant::now();
    make(directory)?;
    fs::write(directory.join(SECONDS), started.elapsed().as_secs().to_string())
        .with_context(|| format!("{} cannot be written in", directory.display()))
}
