//! `processor quarantine`: what providers sent as messages and what can never be one, as their hooks are described.
//! Reads the topic alone, outside of any group and without a word to the brokers about how far it is: neither
//! PostgreSQL nor a running processor is asked.

mod export;
mod list;
mod reading;
mod show;

use std::process::ExitCode;

use anyhow::Context as _;
use schemas::Timestamp;

use self::reading::Selection;
use crate::kafka::{client::KafkaConfig, window::Window};

/// Which topic, and what to do with it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic of items that hooks could not make into messages.
    #[arg(long, env = "PROCESSOR_QUARANTINE_TOPIC", default_value = "telex.quarantine", global = true)]
    quarantine_topic: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the newest items: place, hook, reason; and how many there are of each. Never prints what a client
    /// wrote.
    List {
        #[command(flatten)]
        filter: Filter,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// How many to list. The counts are of all that were selected.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
    },
    /// Show one item as it came: headers and document. Prints personal data to standard output.
    ///
    /// The document holds what the provider sent: phones, names, texts. On a terminal its control characters
    /// are replaced; to a file or a pipe it goes byte for byte.
    Show {
        /// Its partition.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Its offset.
        #[arg(value_parser = clap::value_parser!(i64).range(0..))]
        offset: i64,
        /// Only the document, for a file: a sample to try a hook with.
        #[arg(long)]
        document: bool,
    },
    /// Export items with their documents: one JSON object per line (NDJSON), in the order of their places.
    /// Prints personal data to standard output.
    ///
    /// A document is text under `document`, or Base64 under `document_base64` if it is not UTF-8.
    Export {
        #[command(flatten)]
        filter: Filter,
    },
}

/// Which items. Several filters narrow together.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Only items that this hook read.
    #[arg(long)]
    hook: Option<String>,
    /// Only items with this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only what was appended at this time (RFC 3339) or later.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only what was appended before this time (RFC 3339).
    #[arg(long)]
    until: Option<Timestamp>,
}

impl Filter {
    fn selection(self) -> Selection {
        let Self { hook, reason, since, until } = self;
        Selection { hook, reason, window: Window { since, until } }
    }
}

/// Does it.
///
/// # Errors
/// There is no such topic, or the brokers did not answer.
pub async fn run(args: Args, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    let kafka = KafkaConfig { topic: args.quarantine_topic, ..kafka.clone() };
    let command = args.command;
    let work = move || match command {
        Command::List { filter, json, limit } => list::list(&kafka, &filter.selection(), limit.into(), json),
        Command::Show { partition, offset, document } => show::show(&kafka, partition, offset, document),
        Command::Export { filter } => export::export(&kafka, &filter.selection()),
    };
    tokio::task::spawn_blocking(work).await.context("the command panicked")??;
    Ok(ExitCode::SUCCESS)
}
