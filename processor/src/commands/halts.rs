//! `processor halts`: partitions that stand still, and what a person decides about them. A halted
//! partition is left by [`resume`] only: it says what would be skipped and repeated, and writes down who
//! decided it in the transaction that moves the partition (R25).

pub mod list;
pub mod resume;

use std::process::ExitCode;

use crate::{kafka::client::KafkaConfig, store::Database};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Partitions that stand still: since when, why, and the command that looks at what to do.
    List {
        /// Also those that were resumed.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What people have moved: who, when, from where to where, how much was skipped and repeated.
    History {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// How many, the newest first.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Let a halted partition go on, from a place that you name. Its owner notices within seconds.
    ///
    /// Nothing is guessed: --from must be where the partition stands, --to must lie in its log, and
    /// --reason-code must be the reason that stands. The command first says what is skipped (records that
    /// will never be applied) and what is repeated (what the log holds there is applied again: a message
    /// that is there already is counted as a duplicate, a command acts again).
    ///
    /// A topic that was deleted and created again is accepted as a whole: give --topic-id and no partition.
    Resume(Box<resume::Args>),
}

/// Does it.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the numbers are not right.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { all, json } => list::halts(database, all, json).await?,
        Command::History { json, limit } => list::history(database, limit, json).await?,
        Command::Resume(args) => resume::run(*args, database, kafka).await?,
    }
    Ok(ExitCode::SUCCESS)
}
