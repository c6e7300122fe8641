//! `processor progress`: how far each partition is applied, and waiting until nothing is left.

mod show;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use schemas::Partition;
use service_kit::{confirmation::Confirmation, retry::Backoff, settings::seconds};
use sqlx::PgConnection;

use super::{halts::resume, operator::Operator, output::say};
use crate::{
    domain::{intervention::Move, position::NextOffset, progress::Progress},
    kafka::{
        client::KafkaConfig,
        topic::{Inspector, TopicIdentity},
    },
    store::{
        Database, StoreError, progress,
        registry::{self, Registration, Topic},
    },
};

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show each partition's next offset, log end, lag and counters, and why it stands still if it does.
    ///
    /// Rows and brokers tell it, no processor is asked: /readyz has what a processor itself says.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Wait until every record that the topic holds now is applied. Exit code 1 if it takes too long.
    Wait {
        /// How long to wait, in seconds.
        #[arg(long = "timeout-seconds", default_value = "60", value_parser = seconds)]
        timeout: Duration,
    },
    /// Move a partition that is not halted. Says what would be skipped and repeated.
    ///
    /// The partition's owner is fenced. It notices within seconds, also when no record comes, and reads on from the new
    /// place.
    ///
    /// For a halted partition use `processor halts resume`. Skipped records are never applied. Repeated
    /// records are applied again: a message that is already there is counted as a duplicate, and a command
    /// acts again.
    Set {
        /// The partition.
        #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Where the partition stands: its next offset. If the partition moves meanwhile, it is left alone.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        from: i64,
        /// The offset to apply next.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        to: i64,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operator: Operator,
    },
}

/// Shows or waits.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    let inspector = Arc::new(Inspector::new(kafka)?);
    match command {
        Command::Show { json } => {
            show::show(database, kafka, &inspector, json).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Wait { timeout } => {
            let deadline = Instant::now() + timeout;
            let target = log_ends_by(&inspector, deadline).await?;
            wait(database, &inspector, &target, deadline).await
        }
        Command::Set { partition, from, to, confirmation, operator } => {
            let wanted = Move { partition: Partition(partition), from: NextOffset(from), to: NextOffset(to) };
            let request = resume::Request { wanted, confirmation, operator };
            resume::set(request, database, kafka).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
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

/// The rows of the topic; none before the first processor has registered it.
async fn load(database: &Database, inspector: &Arc<Inspector>) -> anyhow::Result<Vec<Progress>> {
    let mut connection = database.reader().await?;
    match registered(&mut connection, inspector).await? {
        None => Ok(Vec::new()),
        Some((topic, _)) => Ok(progress::load(&mut connection, topic.topic_ref, &topic.partitions()).await?),
    }
}

/// The topic as it was registered, and as the brokers have it now; `None` before the first processor has registered it.
async fn registered(
    connection: &mut PgConnection,
    inspector: &Arc<Inspector>,
) -> anyhow::Result<Option<(Topic, TopicIdentity)>> {
    let identity = inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
    match registry::find(connection, &identity).await? {
        Registration::Unknown => Ok(None),
        Registration::Known(topic) => Ok(Some((topic, identity))),
        Registration::Recreated { registered } => {
            bail!("the topic's id is {}, the registered one is {}", identity.topic_id, registered.topic_id)
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
    let ranges =
        inspector.ask(|inspector| inspector.all_ranges(0..inspector.identity()?.partition_count.get()));
    Ok(ranges.await?.into_iter().map(|(partition, range)| (partition, range.end.0)).collect())
}
