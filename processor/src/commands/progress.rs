//! `processor progress`: how far each partition is applied, and waiting until nothing is left.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rdkafka::{consumer::Consumer as _, error::KafkaResult};
use schemas::Partition;
use serde::Serialize;
use service_kit::retry::Backoff;

use super::{
    halts::resume,
    output::{say, say_json},
};
use crate::{
    kafka::{
        client::{self, KafkaConfig, REQUEST_DEADLINE},
        topic::{InspectError, Inspector},
    },
    position::NextOffset,
    store::{
        Database, StoreError,
        progress::{self, Progress},
        registry::{self, Registration},
    },
};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Each partition: next offset, log end, lag, counters.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Wait until every record that the topic holds now is applied. Exit code 1 if it takes too long.
    Wait {
        /// How long to wait.
        #[arg(long, default_value_t = 60)]
        timeout_seconds: u64,
    },
    /// Move a partition that is not halted. Says what would be skipped and repeated.
    ///
    /// Whoever owns the partition is fenced: it notices with its next record, and reads on from the new place.
    ///
    /// For a halted partition use `processor halts resume`. Skipped records are never applied. Of repeated
    /// records a message that is there already is counted as a duplicate, a command acts again.
    Set {
        /// The partition.
        #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Where it stands: its next offset. A partition that moves meanwhile is left alone.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        from: i64,
        /// The first offset to be applied next.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
        #[command(flatten)]
        mode: resume::Mode,
        #[command(flatten)]
        operator: resume::Operator,
    },
}

#[derive(Debug, Serialize)]
struct PartitionProgress {
    partition: i32,
    next_offset: i64,
    /// The high watermark.
    log_end: i64,
    lag: i64,
    /// Records of the lag that nobody may read yet: a transaction of Kafka before them is neither committed nor aborted.
    held_back: i64,
    owner_epoch: i64,
    messages: i64,
    duplicates: i64,
    commands: i64,
    dead_letters: i64,
    control: i64,
    skipped: i64,
    repeated: i64,
}

/// Shows or waits.
///
/// # Errors
/// Kafka or PostgreSQL did not answer.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    let inspector = Arc::new(Inspector::new(kafka)?);
    match command {
        Command::Show { json } => {
            let rows = table(database, kafka, &inspector).await?;
            if json {
                say_json(&rows)?
            } else {
                show(&rows)?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Wait { timeout_seconds } => {
            let deadline = Instant::now() + Duration::from_secs(timeout_seconds);
            let target = log_ends_by(&inspector, deadline).await?;
            wait(database, &inspector, &target, deadline).await
        }
        Command::Set { partition, from, to, mode, operator } => {
            let (partition, from, to) = (Partition(partition), NextOffset(from), NextOffset(to));
            let request = resume::Request { partition, from, to, mode, operator };
            resume::set(request, database, kafka).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(rows: &[PartitionProgress]) -> std::io::Result<()> {
    say(
        "partition  next_offset      log_end        lag  held_back   messages  duplicates  commands  dead_letters  control  skipped  repeated",
    )?;
    rows.iter().try_for_each(|row| {
        say(&format!(
            "{:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>11} {:>9} {:>13} {:>8} {:>8} {:>9}",
            row.partition,
            row.next_offset,
            row.log_end,
            row.lag,
            row.held_back,
            row.messages,
            row.duplicates,
            row.commands,
            row.dead_letters,
            row.control,
            row.skipped,
            row.repeated
        ))
    })
}

async fn wait(
    database: &Database,
    inspector: &Arc<Inspector>,
    target: &[(Partition, i64)],
    deadline: Instant,
) -> anyhow::Result<ExitCode> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        let rows = match load(database, inspector).await {
            Err(error) if passes(&error) && Instant::now() < deadline => {
                tracing::warn!(%error, "progress is not known, trying again");
                tokio::time::sleep(backoff.next_delay()).await;
                continue;
            }
            rows => rows?,
        };
        let next =
            |partition| rows.iter().find(|row| row.partition == partition).map_or(0, |row| row.next_offset.0);
        let left: i64 = target.iter().map(|(partition, end)| (end - next(*partition)).max(0)).sum();
        if left == 0 {
            say("every record is applied")?;
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline {
            say(&format!("{left} records are not applied yet"))?;
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A server that starts, stops or does not answer: whoever waits waits for it, too.
fn passes(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(StoreError::Retry(_) | StoreError::Deadline | StoreError::NotWritable)
    )
}

async fn table(
    database: &Database,
    kafka: &KafkaConfig,
    inspector: &Arc<Inspector>,
) -> anyhow::Result<Vec<PartitionProgress>> {
    let rows = load(database, inspector).await?;
    let ends = log_ends(inspector).await?;
    let high = high_watermarks(kafka, ends.iter().map(|(partition, _)| *partition).collect()).await?;
    let rows = rows.into_iter().map(|row| {
        let of = |ends: &[(Partition, i64)]| {
            let end = ends.iter().find(|(partition, _)| *partition == row.partition);
            end.map_or(row.next_offset.0, |(_, end)| *end)
        };
        let (log_end, stable_end) = (of(&high), of(&ends));
        PartitionProgress {
            partition: row.partition.0,
            next_offset: row.next_offset.0,
            log_end,
            lag: log_end - row.next_offset.0,
            held_back: (log_end - stable_end).max(0),
            owner_epoch: row.owner_epoch.0,
            messages: row.counters.messages,
            duplicates: row.counters.duplicates,
            commands: row.counters.commands,
            dead_letters: row.counters.dead_letters,
            control: row.counters.control,
            skipped: row.skipped,
            repeated: row.repeated,
        }
    });
    Ok(rows.collect())
}

/// The rows of the topic; none before the first processor has registered it.
async fn load(database: &Database, inspector: &Arc<Inspector>) -> anyhow::Result<Vec<Progress>> {
    let asked = Arc::clone(inspector);
    let identity = tokio::task::spawn_blocking(move || asked.identity()).await?.context("the topic")?;
    let mut connection = database.reader().await?;
    match registry::find(&mut connection, &identity).await? {
        Registration::Unknown => Ok(Vec::new()),
        Registration::Known(topic) => {
            Ok(progress::load(&mut connection, topic.topic_ref, &topic.partitions()).await?)
        }
        Registration::Recreated { registered } => {
            bail!("the topic's id is {}, registered is {}", identity.topic_id, registered.topic_id)
        }
    }
}

/// The same, asked again until `deadline`: while a partition changes its leader there is no answer.
async fn log_ends_by(inspector: &Arc<Inspector>, deadline: Instant) -> anyhow::Result<Vec<(Partition, i64)>> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        match log_ends(inspector).await {
            Err(error) if Instant::now() < deadline => {
                tracing::warn!(%error, "the log's ends are not known, trying again");
            }
            answer => return answer,
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// The ends of what may be read of the partitions' logs: their last stable offsets.
async fn log_ends(inspector: &Arc<Inspector>) -> anyhow::Result<Vec<(Partition, i64)>> {
    let asked = Arc::clone(inspector);
    let ends = tokio::task::spawn_blocking(move || -> Result<Vec<(Partition, i64)>, InspectError> {
        let count = asked.identity()?.partition_count.get();
        (0..count)
            .map(Partition)
            .map(|partition| Ok((partition, asked.log_range(partition)?.end.0)))
            .collect()
    });
    Ok(ends.await??)
}

/// The ends of the partitions' logs, open transactions or not.
async fn high_watermarks(
    kafka: &KafkaConfig,
    partitions: Vec<Partition>,
) -> anyhow::Result<Vec<(Partition, i64)>> {
    let (observer, topic) = (client::observer(kafka)?, kafka.topic.clone());
    let ends = tokio::task::spawn_blocking(move || -> KafkaResult<Vec<(Partition, i64)>> {
        let end = |partition: Partition| {
            Ok((partition, observer.fetch_watermarks(&topic, partition.0, REQUEST_DEADLINE)?.1))
        };
        partitions.into_iter().map(end).collect()
    });
    Ok(ends.await??)
}
