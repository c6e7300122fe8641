//! The command line.

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use dev_env::workspace::Workspace;
use serde::de::DeserializeOwned;

use crate::{busy, document, http, postgres_alone, run, summary::Summary};

/// Measures what Telex costs, beside the database's limit, Debezium's JDBC sink, a Redis lock and PostgreSQL alone.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, in less than 25 minutes, prints the table, and writes target/bench/summary.json. Exit status: 0 every
    /// part was measured on a quiet machine and every must is reached, 1 otherwise.
    Run {
        /// Fewer messages and one run of each, in less than eight minutes: to have a look, not to quote.
        #[arg(long)]
        quick: bool,
        /// Only these parts.
        #[arg(long, value_delimiter = ',')]
        only: Vec<run::Part>,
        /// What an earlier version sustained, in requests a second, by this bench on this machine: 1.7 times as much is
        /// then the must [default: the must is 10,000].
        #[arg(long)]
        sustained_before: Option<f64>,
    },
    /// Writes docs/benchmarks.md and its plots from target/bench/summary.json, and from target/bench/growth.json if it
    /// is there.
    Document,
    /// The handler that does nothing, to compare with.
    #[command(hide = true)]
    NoopServer {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// PostgreSQL alone, to compare with.
    #[command(hide = true)]
    PostgresAlone(postgres_alone::ServerArgs),
    /// Somebody else's work, beside which something is measured: half a core, for an hour at most.
    #[command(hide = true)]
    BusyLoop,
}

impl Cli {
    /// Does what was asked.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run { quick, only, sustained_before } => {
                let asked = run::Asked { quick, only: &only, sustained_before };
                let is_well = run::run(&Workspace::find()?, &asked)?;
                return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Command::Document => {
                let workspace = Workspace::find()?;
                let summary: Summary = read(&run::summary_path(&workspace))?;
                let growth = run::growth_path(&workspace);
                let growth = growth.exists().then(|| read(&growth)).transpose()?;
                document::write(&summary, growth.as_ref(), &workspace.root().join("docs"))?;
            }
            Command::NoopServer { listen } => http::serve_noop(listen)?,
            Command::PostgresAlone(args) => postgres_alone::serve(&args)?,
            Command::BusyLoop => busy::turn(Duration::from_secs(3_600)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| format!("{}: run `make bench`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} cannot be read", path.display()))
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
