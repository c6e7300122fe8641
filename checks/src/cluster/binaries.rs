//! kube-apiserver, etcd and kubectl, built as one pinned Go module (checks/cluster/go.mod). The build takes minutes, so it is
//! done once a version, and kept outside of the clone: CI clones afresh.
//!
//! Invariant: the directory of a version is complete. Everything is made beside it and moved into place.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use dev_env::process::require;
use dev_env::workspace::Workspace;

use crate::tools;

/// Compiled in, so that the directory's name says what *this* build of the package expects.
const MODULE: &str = include_str!("../../cluster/go.mod");
const PACKAGES: [&str; 3] =
    ["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl", "go.etcd.io/etcd/server/v3"];

#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
}

impl Binaries {
    /// Where they are, or would be.
    pub fn locate() -> Result<Self> {
        let name = format!(
            "kubernetes-{}-etcd-{}",
            kubernetes()?,
            tools::required(MODULE, "go.etcd.io/etcd/server/v3")?
        );
        Ok(Self { directory: Workspace::cache()?.join(name) })
    }

    pub fn are_built(&self) -> bool {
        self.directory.exists()
    }

    /// Builds them.
    pub fn build(&self, workspace: &Workspace) -> Result<()> {
        tools::once(&self.directory, |directory| build_into(directory, workspace))
            .context("the Kubernetes API server cannot be built")
    }

    pub fn api_server(&self) -> PathBuf {
        self.directory.join("kube-apiserver")
    }

    pub fn kubectl(&self) -> PathBuf {
        self.directory.join("kubectl")
    }

    /// Go names a program after the last folder of its package.
    pub fn etcd(&self) -> PathBuf {
        self.directory.join("server")
    }
}

fn build_into(directory: &Path, workspace: &Workspace) -> Result<()> {
    go_build(workspace, "checks/cluster", &PACKAGES, directory)
}

/// Builds programs of a Go module of this repository into a directory.
pub fn go_build(workspace: &Workspace, module: &str, packages: &[&str], directory: &Path) -> Result<()> {
    // Without it a program of Kubernetes calls itself v0.0.0, and kubectl warns of that.
    let version = format!("k8s.io/component-base/version.gitVersion={}", kubernetes()?);
    go_build_as(&version, &workspace.root().join(module), packages, directory)
}

/// The same of the module in a directory; a variable of it is given a value.
pub fn go_build_as(variable: &str, module: &Path, packages: &[&str], directory: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(module).env("CGO_ENABLED", "0");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &format!("-s -w -X {variable}"), "-o"]);
    go.arg(directory).args(packages);
    require(&mut go, "it takes Go 1.25 or later: https://go.dev/dl").map(drop)
}

/// The version of Kubernetes, as Go writes it.
pub fn kubernetes() -> Result<&'static str> {
    tools::required(MODULE, "k8s.io/kubernetes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_staged_modules_are_of_the_minor_version_that_is_built() {
        // Not every patch of each was released: the last digits may differ.
        let built = kubernetes().unwrap().replacen("v1.", "v0.", 1);
        let minor = built.rsplit_once('.').unwrap().0;
        let replaced: Vec<&str> =
            MODULE.lines().filter_map(|line| line.split_once(" => ")).map(|(_, to)| to).collect();
        assert!(replaced.len() > 20, "{replaced:?}");
        for module in replaced {
            assert_eq!(module.split_once(' ').unwrap().1.rsplit_once('.').unwrap().0, minor, "{module}");
        }
    }
}
