//! The commands, a file each.

pub mod build;
mod demo;
pub mod environment;
mod loadtest;
mod reports;
pub mod steps;
mod table;
mod up;
pub mod with_services;

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
