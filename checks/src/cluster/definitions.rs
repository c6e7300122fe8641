//! What the operators define: the resources of the oldest version of each that the guide names, and of the newest. They
//! come from the operators' Go modules, by their versions; Strimzi has none, so its files lie in checks/cluster/crd/.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use dev_env::process::require;
use dev_env::workspace::Workspace;
use serde_json::Value;

use crate::yaml::Look as _;

/// A version of each operator. Two versions of one definition do not share a server.
#[derive(Debug, Clone, Copy)]
pub struct Operators {
    pub strimzi: &'static str,
    pub cloud_native_pg: &'static str,
    pub keda: &'static str,
    pub prometheus: &'static str,
}

/// docs/kubernetes.md, "What you need".
pub const OLDEST: Operators =
    Operators { strimzi: "0.51.0", cloud_native_pg: "1.28.0", keda: "2.17.0", prometheus: "0.85.0" };
pub const NEWEST: Operators =
    Operators { strimzi: "1.2.0", cloud_native_pg: "1.30.0", keda: "2.20.2", prometheus: "0.93.0" };
/// The last of those that refuse `fallback.behavior`, which prod relies on.
pub const KEDA_TOO_OLD: &str = "2.16.1";

const STRIMZI: [&str; 4] =
    ["040-Crd-kafka", "043-Crd-kafkatopic", "044-Crd-kafkauser", "045-Crd-kafkanodepool"];

impl std::fmt::Display for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { strimzi, cloud_native_pg, keda, prometheus } = self;
        write!(f, "Strimzi {strimzi}, CNPG {cloud_native_pg}, KEDA {keda}, Prometheus {prometheus}")
    }
}

impl Operators {
    /// The files with what the overlays use of each.
    pub fn files(&self, workspace: &Workspace) -> Result<Vec<PathBuf>> {
        let here = workspace.root().join("checks/cluster/crd");
        let mut files: Vec<PathBuf> =
            STRIMZI.iter().map(|name| here.join(format!("strimzi-{}-{name}.yaml", self.strimzi))).collect();
        let postgres = module("github.com/cloudnative-pg/cloudnative-pg", self.cloud_native_pg)?;
        files.push(postgres.join("config/crd/bases/postgresql.cnpg.io_clusters.yaml"));
        files.push(keda(self.keda)?);
        let prometheus = module("github.com/prometheus-operator/prometheus-operator", self.prometheus)?;
        for kind in ["podmonitors", "prometheusrules", "servicemonitors"] {
            let name = format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml");
            files.push(prometheus.join(name));
        }
        Ok(files)
    }
}

/// KEDA's definition of a ScaledObject.
pub fn keda(version: &str) -> Result<PathBuf> {
    Ok(keda_module(version)?.join("config/crd/bases/keda.sh_scaledobjects.yaml"))
}

/// KEDA itself: its sources, and in `config/` what it is installed by.
pub fn keda_module(version: &str) -> Result<PathBuf> {
    module("github.com/kedacore/keda/v2", version)
}

/// Where Go keeps a module, which it fetches once a version.
fn module(path: &str, version: &str) -> Result<PathBuf> {
    let mut go = Command::new("go");
    // Outside of any module: a go.mod would say which version it is.
    go.current_dir(Path::new("/")).args(["mod", "download", "-json"]).arg(format!("{path}@v{version}"));
    let said = require(&mut go, "https://go.dev/dl")?;
    let found: Value = serde_json::from_str(&said).with_context(|| format!("{path} {version}: {said}"))?;
    Ok(PathBuf::from(found.text("/Dir")))
}

#[cfg(test)]
mod tests {
    use super::super::binaries;
    use super::*;

    #[test]
    fn the_versions_that_are_tried_are_those_that_the_guide_promises() {
        let guide = include_str!("../../../docs/kubernetes.md");
        for (what, oldest, newest) in [
            ("Strimzi", OLDEST.strimzi, NEWEST.strimzi),
            ("CloudNativePG", OLDEST.cloud_native_pg, NEWEST.cloud_native_pg),
            ("KEDA", OLDEST.keda, NEWEST.keda),
            ("Prometheus operator", OLDEST.prometheus, NEWEST.prometheus),
        ] {
            let promised = format!("{newest} (≥ {})", oldest.strip_suffix(".0").unwrap());
            let mut rows = guide.lines().filter(|line| line.starts_with(&format!("| {what}")));
            let row = rows.find(|row| row.contains('≥')).unwrap();
            assert!(row.contains(&promised), "{row} does not say {promised}");
        }
        let minor = binaries::kubernetes().unwrap().strip_prefix('v').unwrap().rsplit_once('.').unwrap().0;
        assert!(guide.contains(&format!("| Kubernetes | ≥ {minor} |")), "{minor}");
    }
}
