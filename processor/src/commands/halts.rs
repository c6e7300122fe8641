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
    /// List halted partitions: since when, why, and the command that shows what resuming would do.
    List {
        /// Also list those that were resumed.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List what people have done to partitions: who, when, what, and for a move from where to where, and how much was
    /// skipped and repeated.
    History {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// How many commands to list, the newest first.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Resume a halted partition from a place that you name. Its owner notices within seconds.
    ///
    /// Nothing is guessed: --from must be where the partition stands, --to must lie in its log, and
    /// --reason-code must be the reason for the halt. The command first says what is skipped (records that
    /// will never be applied) and what is repeated (what the log holds there is applied again: a message that
    /// is already there is counted as a duplicate, and a command acts again).
    ///
    /// To accept a topic that was deleted and created again, as a whole, give --topic-id and no --partition.
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
