//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use dev_env::workspace::Workspace;

use crate::{document, http, run, summary::Summary};

/// Measures what Telex costs, beside the database's limit, Debezium's JDBC sink and a Redis lock.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, prints the table, and writes target/bench/summary.json. Exit status: 0 every must is reached, 1 otherwise.
    Run {
        /// Fewer messages and one run of each, in less than six minutes: to have a look, not to quote.
        #[arg(long)]
        quick: bool,
        /// Only these parts.
        #[arg(long, value_delimiter = ',')]
        only: Vec<run::Part>,
    },
    /// Writes docs/benchmarks.md and its plots from target/bench/summary.json.
    Document,
    /// The handler that does nothing, to compare with.
    #[command(hide = true)]
    NoopServer {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Something could not be measured at all.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run { quick, only } => {
                let summary = run::run(&Workspace::find()?, quick, &only)?;
                let all_reached =
                    summary.verdicts().iter().all(|verdict| verdict.reaches_must() != Some(false));
                Ok(if all_reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Command::Document => {
                let workspace = Workspace::find()?;
                let path: PathBuf = run::summary_path(&workspace);
                let text =
                    std::fs::read(&path).with_context(|| format!("{}: run `make bench`", path.display()))?;
                let summary: Summary = serde_json::from_slice(&text).context("the summary cannot be read")?;
                document::write(&summary, &workspace.root().join("docs"))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::NoopServer { listen } => {
                http::serve_noop(listen)?;
                Ok(ExitCode::SUCCESS)
            }
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
