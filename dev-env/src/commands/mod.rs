//! The commands, a file each.

mod build;
mod cluster_check;
mod compose_try;
mod contract_check;
mod demo;
mod deployment;
mod environment;
mod loadtest;
mod monitoring;
mod reports;
pub mod steps;
mod table;
mod test_api;
mod tools;
mod up;
mod with_services;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Kafka, PostgreSQL and Telex on this machine; everything is kept under .dev/.
#[derive(Debug, Parser)]
#[command(name = "dev-env")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job from end to end, with a verdict; stop everything it started.
    Demo {
        /// Webhooks to send.
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
        messages: u32,
    },
    /// Start an environment that stays.
    Up,
    /// Stop it; its data stays.
    Down,
    /// Show what of it runs.
    Status,
    /// Follow its logs.
    Logs,
    /// Show the records of its topic, as `processor tail` does.
    Tail {
        /// For `processor tail`; without any, everything from the beginning.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Open a prompt of its database.
    Psql {
        /// For psql.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Stop everything and remove .dev/.
    Clean,
    /// Run a command with a Kafka and a PostgreSQL of its own.
    WithServices {
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Send webhooks to the environment that is up, or to one of its own, and verify what became of them.
    Loadtest {
        /// For `loadtest run`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
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
    /// Write the alerts into k8s/ in the form that the Prometheus operator takes.
    K8sRules,
    /// Check rules, dashboards and a real Prometheus beside a running Telex: each panel and alert must have
    /// something to show.
    MonitoringCheck,
    /// Check the topic's contract: schemas, AsyncAPI document, and readers of a real topic.
    ContractCheck,
    /// Compare the queries in the code with the migrations, and write what the build needs to know about them.
    SqlxPrepare {
        /// Write nothing; fail if something would change.
        #[arg(long)]
        check: bool,
    },
}

impl Cli {
    pub fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        match self.command {
            Command::Demo { messages } => demo::run(&workspace, messages),
            Command::Up => up::up(&workspace),
            Command::Down => up::down(&workspace),
            Command::Status => up::status(&workspace),
            Command::Logs => up::logs(&workspace),
            Command::Tail { arguments } => up::tail(&workspace, &arguments),
            Command::Psql { arguments } => up::psql(&workspace, &arguments),
            Command::Clean => up::clean(&workspace),
            Command::WithServices { command } => with_services::run(&workspace, &command),
            Command::Loadtest { arguments } => loadtest::run(&workspace, &arguments),
            Command::TestApi => test_api::run(&workspace),
            Command::K8sCheck => deployment::k8s_check(&workspace),
            Command::ClusterCheck => cluster_check::run(&workspace),
            Command::K8sRules => deployment::k8s_rules(&workspace),
            Command::ComposeCheck => deployment::compose_check(&workspace),
            Command::ComposeTry => compose_try::run(&workspace),
            Command::MonitoringCheck => monitoring::run(&workspace),
            Command::ContractCheck => contract_check::run(&workspace),
            Command::SqlxPrepare { check } => with_services::sqlx_prepare(&workspace, check),
        }
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
