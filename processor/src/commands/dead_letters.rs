//! `processor dead-letters`: the records that could not be applied. Their content is anybody's, so it is
//! shown only when asked for.

pub mod export;
pub mod list;
pub mod replay;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use schemas::{ClientId, Partition};
use uuid::Uuid;

use crate::{
    domain::position::Offset,
    kafka::client::KafkaConfig,
    store::{Database, letters::Selection},
};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the newest dead letters: place, reason, rule.
    List {
        #[command(flatten)]
        filter: Filter,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// How many to list.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show one dead letter with all that is known about it.
    Show {
        /// Its place: `partition/offset`.
        #[arg(value_parser = parse_place)]
        place: (i32, i64),
        /// The id of its topic, needed if two topics have a dead letter at this place.
        #[arg(long)]
        topic_id: Option<Uuid>,
        /// Also show key, value and headers. They may hold what a client wrote.
        #[arg(long)]
        content: bool,
    },
    /// Export dead letters with their content: one JSON object per line (NDJSON), in the order of their
    /// places.
    Export {
        #[command(flatten)]
        filter: Filter,
    },
    /// Write dead letters to the topic again, as new records of their clients.
    ///
    /// A record goes to its client's own partition, behind what the client has sent since. It keeps its
    /// headers, and gets x-telex-replay-of and x-telex-replay-attempt. A dead letter is replayed once. A
    /// message that is already there is counted as a duplicate, so a second replay has no effect. What this
    /// program would refuse again is not written. Dead letters that are worth a replay have the reason
    /// rejected_by_database (once the database accepts them) or unknown_type (after an upgrade). Those that
    /// belong to no client (no key, or a key that is not the client's) stay refused.
    ///
    /// Needs the right to write to the topic, which a running processor does not have. Give credentials with this right in `--kafka-config-file`.
    Replay(Box<replay::Args>),
}

/// Which letters. Several filters narrow together.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only dead letters with this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only dead letters whose key is this client's id. Nothing else names the client of a record that cannot
    /// be read.
    #[arg(long)]
    client_id: Option<Uuid>,
    /// Only dead letters of this partition.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only dead letters that were not replayed.
    #[arg(long)]
    not_replayed: bool,
}

impl Filter {
    fn selection(self) -> Selection {
        Selection {
            reason: self.reason,
            client_id: self.client_id.map(ClientId::from_uuid),
            partition: self.partition.map(Partition),
            not_replayed: self.not_replayed,
            ..Selection::default()
        }
    }

    const fn is_empty(&self) -> bool {
        self.reason.is_none() && self.client_id.is_none() && self.partition.is_none()
    }
}

fn parse_place(text: &str) -> Result<(i32, i64), String> {
    let place = text.split_once('/').and_then(|(partition, offset)| {
        Some((partition.parse::<u16>().ok()?.into(), offset.parse().ok().filter(|offset| *offset >= 0)?))
    });
    place.ok_or_else(|| "must be partition/offset, such as 3/120".to_owned())
}

fn at((partition, offset): (i32, i64), topic_id: Option<Uuid>) -> Selection {
    Selection {
        partition: Some(Partition(partition)),
        offset: Some(Offset(offset)),
        topic_id,
        ..Selection::default()
    }
}

/// Does it.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { filter, json, limit } => {
            list::list(database, &filter.selection(), limit, json).await?
        }
        Command::Show { place, topic_id, content } => {
            list::show(database, &at(place, topic_id), content).await?
        }
        Command::Export { filter } => export::run(database, &filter.selection()).await?,
        Command::Replay(args) => return replay::run(*args, database, kafka).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The one letter of a selection by place.
async fn only_letter(
    connection: &mut sqlx::PgConnection,
    selection: &Selection,
) -> anyhow::Result<crate::domain::replay::Letter> {
    use crate::store::letters::{START, page};
    let mut letters = page(connection, selection, START, 2).await?;
    let letter = letters.pop().context("no dead letter at this place")?;
    if !letters.is_empty() {
        bail!("two topics have a dead letter at this place: name one with --topic-id");
    }
    Ok(letter)
}
