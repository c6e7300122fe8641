//! `processor progress show`: each partition, and what keeps it from going on. Every partition that can be looked
//! at is shown, whatever the others are like: this is what is typed while something is broken.

use std::{collections::HashMap, sync::Arc};

use rdkafka::consumer::Consumer as _;
use schemas::Partition;
use serde::Serialize;

use super::registered;
use crate::{
    commands::output::{say, say_json},
    domain::{
        halt::StopReason,
        obstacle::Obstacle,
        position::{LogRange, Offset},
        progress::Progress,
    },
    kafka::{
        client::{self, KafkaConfig, REQUEST_DEADLINE},
        topic::{Inspector, PerPartition},
    },
    store::{Database, halts, progress},
};

#[derive(Debug, Serialize)]
struct Row {
    partition: i32,
    next_offset: i64,
    /// The high watermark; `null`: nobody names it.
    log_end: Option<i64>,
    lag: Option<i64>,
    /// Records of the lag that nobody may read yet: a transaction of Kafka before them is neither committed nor aborted.
    held_back: Option<i64>,
    owner_epoch: i64,
    messages: i64,
    duplicates: i64,
    commands: i64,
    dead_letters: i64,
    control: i64,
    skipped: i64,
    repeated: i64,
    /// Why it stands still: `halted: ` with the halt's reason, or the name of the obstacle, as in `/readyz`.
    stands_still: Option<String>,
}

/// What is known of the partitions beside their rows.
struct Around {
    halts: HashMap<Partition, Option<StopReason>>,
    /// What may be read.
    ranges: PerPartition<LogRange>,
    high_watermarks: HashMap<Partition, Offset>,
}

/// Shows the partitions.
///
/// # Errors
/// PostgreSQL did not answer, or no broker did.
pub async fn show(
    database: &Database,
    kafka: &KafkaConfig,
    inspector: &Arc<Inspector>,
    json: bool,
) -> anyhow::Result<()> {
    let rows = rows(database, kafka, inspector).await?;
    if json {
        return say_json(&rows);
    }
    say(
        "partition  next_offset      log_end        lag  held_back   messages  duplicates  commands  dead_letters  control  skipped  repeated  stands_still",
    )?;
    for row in &rows {
        let known = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        say(&format!(
            "{:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>11} {:>9} {:>13} {:>8} {:>8} {:>9}  {}",
            row.partition,
            row.next_offset,
            known(row.log_end),
            known(row.lag),
            known(row.held_back),
            row.messages,
            row.duplicates,
            row.commands,
            row.dead_letters,
            row.control,
            row.skipped,
            row.repeated,
            row.stands_still.as_deref().unwrap_or("-"),
        ))?;
    }
    Ok(())
}

async fn rows(
    database: &Database,
    kafka: &KafkaConfig,
    inspector: &Arc<Inspector>,
) -> anyhow::Result<Vec<Row>> {
    let mut connection = database.reader().await?;
    let Some(topic) = registered(&mut connection, inspector).await? else { return Ok(Vec::new()) };
    let partitions = topic.partitions();
    let rows = progress::load(&mut connection, topic.topic_ref, &partitions).await?;
    let halts = halts::standing(&mut connection, topic.topic_ref, &partitions).await?.into_iter().collect();
    let question = partitions.clone();
    let ranges = inspector.ask(move |inspector| inspector.log_ranges(&question)).await?;
    let answering = partitions.into_iter().filter(|partition| matches!(ranges.get(partition), Some(Ok(_))));
    let high_watermarks = high_watermarks(kafka, answering.collect()).await?;
    let around = Around { halts, ranges, high_watermarks };
    Ok(rows.iter().map(|row| of(row, &around)).collect())
}

fn of(row: &Progress, around: &Around) -> Row {
    let partition = row.partition;
    let range = around.ranges.get(&partition);
    let log_end = around.high_watermarks.get(&partition).map(|end| end.0);
    let stable_end = range.and_then(|range| range.ok()).map(|range| range.end.0);
    Row {
        partition: partition.0,
        next_offset: row.next_offset.0,
        log_end,
        lag: log_end.map(|end| end - row.next_offset.0),
        held_back: log_end.zip(stable_end).map(|(end, stable)| (end - stable).max(0)),
        owner_epoch: row.owner_epoch.0,
        messages: row.counters.messages,
        duplicates: row.counters.duplicates,
        commands: row.counters.commands,
        dead_letters: row.counters.dead_letters,
        control: row.counters.control,
        skipped: row.skipped,
        repeated: row.repeated,
        stands_still: stands_still(around.halts.get(&partition), range),
    }
}

fn stands_still(
    halt: Option<&Option<StopReason>>,
    range: Option<&Result<LogRange, rdkafka::types::RDKafkaErrorCode>>,
) -> Option<String> {
    let obstacle = match (halt, range) {
        (Some(Some(reason)), _) => return Some(format!("halted: {}", reason.as_str())),
        (Some(None), _) => Obstacle::UnknownHalt,
        (None, Some(Err(code))) => Obstacle::LogRange(format!("{code:?}")),
        (None, Some(Ok(_)) | None) => return None,
    };
    Some(format!("{}: {obstacle}", obstacle.as_str()))
}

/// The ends of the logs, open transactions or not. A partition without an answer is absent.
async fn high_watermarks(
    kafka: &KafkaConfig,
    partitions: Vec<Partition>,
) -> anyhow::Result<HashMap<Partition, Offset>> {
    let (observer, topic) = (client::observer(kafka)?, kafka.topic.clone());
    let end = move |partition: Partition| {
        let (_, end) = observer.fetch_watermarks(&topic, partition.0, REQUEST_DEADLINE).ok()?;
        Some((partition, Offset(end)))
    };
    Ok(tokio::task::spawn_blocking(move || partitions.into_iter().filter_map(end).collect()).await?)
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn what_keeps_a_partition_from_going_on_has_the_name_that_readiness_gives_it() {
        let range = Ok(LogRange { start: Offset(0), end: Offset(7) });
        assert_eq!(stands_still(None, Some(&range)), None);
        assert_eq!(
            stands_still(None, Some(&Err(RDKafkaErrorCode::LeaderNotAvailable))).unwrap(),
            "log_range: its leader does not name the range of its log: LeaderNotAvailable"
        );
        let halt = Some(StopReason::UnregisteredPartition);
        assert_eq!(stands_still(Some(&halt), Some(&range)).unwrap(), "halted: unregistered_partition");
        assert!(stands_still(Some(&None), Some(&range)).unwrap().starts_with("unknown_halt: "));
    }
}
