//! `processor progress show`: each partition, and what keeps it from going on. Every partition that can be looked
//! at is shown, whatever the others are like: this is what is typed while something is broken. It asks rows and
//! brokers and no processor, so it says what a takeover would say now ([`still`]), and nothing that only a process
//! knows.

mod still;

use std::{collections::HashMap, sync::Arc, time::Duration};

use rdkafka::consumer::Consumer as _;
use schemas::Partition;
use serde::Serialize;
use sqlx::PgConnection;

use self::still::{Ends, Looked, Takeable, stands_still};
use super::registered;
use crate::{
    commands::output::{printable, say, say_json},
    consume::takeover::Taker,
    domain::{
        halt::StopReason,
        obstacle::Obstacle,
        position::{LogRange, NextOffset, Offset, OwnerEpoch, TopicRef},
        progress::Progress,
    },
    kafka::{
        client::{self, KafkaConfig, REQUEST_DEADLINE},
        topic::{Inspector, PerPartition},
    },
    store::{
        Database, halts,
        progress::{self, Written},
        registry::RegisteredTopic,
    },
};

/// A row with records to apply that was written so long ago is looked at twice.
const QUIET_SECONDS: i64 = 10;

/// Between the two looks: a record that has only just come to an idle partition is applied meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Row {
    partition: i32,
    /// Absent if the partition has no row.
    #[serde(flatten)]
    applied: Option<Applied>,
    /// The high watermark; `null`: nobody names it.
    log_end: Option<i64>,
    lag: Option<i64>,
    /// Records of the lag that nobody may read yet: a transaction of Kafka before them is neither committed nor aborted.
    held_back: Option<i64>,
    /// Why it stands still: a code, and the reason in words. `halted` with the halt's reason, the name of an obstacle as
    /// in `/readyz`, or what [`still`] adds to these.
    stands_still: Option<String>,
}

#[derive(Debug, Serialize)]
struct Applied {
    next_offset: i64,
    owner_epoch: i64,
    /// Who took it last, and may have ended since.
    owner: Option<String>,
    /// Seconds since its row was written last.
    written_seconds_ago: Option<i64>,
    messages: i64,
    duplicates: i64,
    commands: i64,
    dead_letters: i64,
    control: i64,
    skipped: i64,
    repeated: i64,
}

/// What is known of the partitions beside their rows.
struct Around {
    halts: HashMap<Partition, Option<StopReason>>,
    written: HashMap<Partition, Written>,
    takeable: HashMap<Partition, Takeable>,
    /// What may be read.
    ranges: PerPartition<LogRange>,
    high_watermarks: HashMap<Partition, Offset>,
    /// Those that were where they had been when they were looked at again.
    unmoved: Vec<Partition>,
}

impl Around {
    fn stable_end(&self, partition: Partition) -> Option<Offset> {
        Some(self.ranges.get(&partition)?.as_ref().ok()?.end)
    }

    /// Whether an owner would have records to apply, and has not done so for a while.
    fn is_quiet(&self, row: &Progress) -> bool {
        let is_sound = matches!(self.takeable.get(&row.partition), Some(Takeable::Yes));
        let has_records = self.stable_end(row.partition).is_some_and(|end| end > row.next_offset.offset());
        let is_old =
            self.written.get(&row.partition).is_some_and(|written| written.seconds_ago >= QUIET_SECONDS);
        is_sound && has_records && is_old && !self.halts.contains_key(&row.partition)
    }
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
        let of = |number: fn(&Applied) -> i64| known(row.applied.as_ref().map(number));
        say(&format!(
            "{:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>11} {:>9} {:>13} {:>8} {:>8} {:>9}  {}",
            row.partition,
            of(|applied| applied.next_offset),
            known(row.log_end),
            known(row.lag),
            known(row.held_back),
            of(|applied| applied.messages),
            of(|applied| applied.duplicates),
            of(|applied| applied.commands),
            of(|applied| applied.dead_letters),
            of(|applied| applied.control),
            of(|applied| applied.skipped),
            of(|applied| applied.repeated),
            printable(row.stands_still.as_deref().unwrap_or("-")),
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
    let Some((topic, found)) = registered(&mut connection, inspector).await? else { return Ok(Vec::new()) };
    let known = topic.partitions();
    let rows = progress::load(&mut connection, topic.topic_ref, &known).await?;
    let written = progress::written(&mut connection, topic.topic_ref, &known).await?;
    let halts = halts::standing(&mut connection, topic.topic_ref, &known).await?.into_iter().collect();
    let registered = Arc::new(RegisteredTopic { topic, cluster_id: found.cluster_id });
    // It only looks: it has no ticket, and its name is written nowhere.
    let taker = Taker {
        database: database.clone(),
        inspector: Arc::clone(inspector),
        registered,
        owner: "progress show".to_owned(),
    };
    let takeable = takeable(&taker, connection, rows.iter().map(|row| row.partition).collect()).await;
    let everything: Vec<Partition> =
        (0..found.partition_count.get().max(topic.known_partitions)).map(Partition).collect();
    let question = everything.clone();
    let ranges = inspector.ask(move |inspector| inspector.log_ranges(&question)).await?;
    let answering = everything.iter().filter(|partition| matches!(ranges.get(*partition), Some(Ok(_))));
    let high_watermarks = high_watermarks(kafka, answering.copied().collect()).await?;
    let mut around = Around { halts, written, takeable, ranges, high_watermarks, unmoved: Vec::new() };
    let quiet: Vec<&Progress> = rows.iter().filter(|row| around.is_quiet(row)).collect();
    around.unmoved = unmoved(database, topic.topic_ref, &quiet).await?;
    let shown = everything.into_iter().map(|partition| {
        let row = rows.iter().find(|row| row.partition == partition);
        of(partition, row, partition.0 < topic.known_partitions, &around)
    });
    Ok(shown.collect())
}

/// What a takeover would say of partitions that have rows. A record that has not come is asked for once more, since the
/// client had only just connected.
async fn takeable(
    taker: &Taker,
    mut connection: PgConnection,
    partitions: Vec<Partition>,
) -> HashMap<Partition, Takeable> {
    let (mut takeable, mut asked) = (HashMap::new(), partitions);
    for _ in 0..2 {
        match taker.look(&mut connection, &asked).await {
            Ok(verdicts) => {
                takeable.extend(
                    verdicts.into_iter().map(|(partition, verdict)| (partition, Takeable::from(verdict))),
                );
            }
            Err(obstacle) => {
                takeable
                    .extend(asked.iter().map(|partition| (*partition, Takeable::Waits(obstacle.clone()))));
                break;
            }
        }
        asked.retain(|partition| {
            matches!(takeable.get(partition), Some(Takeable::Waits(Obstacle::NoRecord(_))))
        });
        if asked.is_empty() {
            break;
        }
    }
    takeable
}

/// Which of the rows are where they were, a little later.
async fn unmoved(
    database: &Database,
    topic_ref: TopicRef,
    rows: &[&Progress],
) -> anyhow::Result<Vec<Partition>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let partitions: Vec<Partition> = rows.iter().map(|row| row.partition).collect();
    let place = |row: &Progress| -> (Partition, NextOffset, OwnerEpoch) {
        (row.partition, row.next_offset, row.owner_epoch)
    };
    let mut connection = database.reader().await?;
    let later: Vec<_> =
        progress::load(&mut connection, topic_ref, &partitions).await?.iter().map(place).collect();
    Ok(rows.iter().filter(|row| later.contains(&place(row))).map(|row| row.partition).collect())
}

fn of(partition: Partition, row: Option<&Progress>, is_registered: bool, around: &Around) -> Row {
    let log_end = around.high_watermarks.get(&partition).copied();
    let stable_end = around.stable_end(partition);
    let written = around.written.get(&partition);
    let looked = Looked {
        row,
        is_registered,
        halt: around.halts.get(&partition),
        takeable: around.takeable.get(&partition),
        written,
        ends: log_end.zip(stable_end).map(|(high, stable)| Ends { high, stable }),
        is_unmoved: around.unmoved.contains(&partition),
    };
    Row {
        partition: partition.0,
        applied: row.map(|row| Applied {
            next_offset: row.next_offset.0,
            owner_epoch: row.owner_epoch.0,
            owner: written.and_then(|written| written.owner.clone()),
            written_seconds_ago: written.map(|written| written.seconds_ago),
            messages: row.counters.messages,
            duplicates: row.counters.duplicates,
            commands: row.counters.commands,
            dead_letters: row.counters.dead_letters,
            control: row.counters.control,
            skipped: row.skipped,
            repeated: row.repeated,
        }),
        log_end: log_end.map(|end| end.0),
        lag: log_end.zip(row).map(|(end, row)| end.0 - row.next_offset.0),
        held_back: log_end.zip(stable_end).map(|(end, stable)| (end.0 - stable.0).max(0)),
        stands_still: stands_still(&looked),
    }
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
