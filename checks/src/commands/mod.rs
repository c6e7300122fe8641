//! The commands, a file each.

mod backup_check;
mod cluster_check;
mod cluster_try;
mod compose_try;
mod contract_check;
mod deployment;
mod monitoring;
mod test_api;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use dev_env::workspace::Workspace;

/// Holds what lies around the programs against them.
#[derive(Debug, Parser)]
#[command(name = "checks")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send the ingest API thousands of requests made from its own contract.
    TestApi,
    /// Check Dockerfile and docker-compose.yml against the programs.
    ComposeCheck,
    /// Start docker-compose.yml on a real Docker engine and try it; without one, say so (REQUIRE_ENGINE=1: fail).
    ComposeTry,
    /// Build the manifests of k8s/ and check them against the programs.
    K8sCheck,
    /// Ask a real API server about every overlay; it is built the first time.
    ClusterCheck,
    /// Start a node of Kubernetes here and try the overlay dev on it; without what it takes, say so (REQUIRE_ENGINE=1: fail).
    ClusterTry {
        /// A command that gets the node in the place of .ci/try-cluster.
        #[arg(last = true)]
        instead: Vec<String>,
    },
    /// Write docs/deployment-report.md from what came out of the last cluster-try.
    ClusterPage,
    /// Write the alerts into k8s/ in the form that the Prometheus operator takes.
    K8sRules,
    /// Check rules, dashboards and a real Prometheus beside a running Telex: each panel and alert must have
    /// something to show.
    MonitoringCheck,
    /// Type what the guide says of a dump and its restore, on a Telex under load, and prove what comes back.
    BackupCheck,
    /// Check the topic's contract: schemas, AsyncAPI document, and readers of a real topic.
    ContractCheck,
}

impl Cli {
    pub fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        match self.command {
            Command::TestApi => return test_api::run(&workspace),
            Command::ComposeTry => return compose_try::run(&workspace),
            Command::ClusterTry { instead } => return cluster_try::run(&workspace, &instead),
            Command::ClusterPage => cluster_try::write_page(&workspace),
            Command::ComposeCheck => deployment::compose_check(&workspace),
            Command::K8sCheck => deployment::k8s_check(&workspace),
            Command::ClusterCheck => cluster_check::run(&workspace),
            Command::K8sRules => deployment::k8s_rules(&workspace),
            Command::MonitoringCheck => monitoring::run(&workspace),
            Command::BackupCheck => backup_check::run(&workspace),
            Command::ContractCheck => contract_check::run(&workspace),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
