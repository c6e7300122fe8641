//! `processor partitions`: more partitions for a topic whose messages go on, without a client's messages
//! ever being out of order (docs/growing-partitions.md). Two steps, because two numbers change: `grow` makes
//! partitions, which stay empty; `switch` says from where on keys are spread over them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use kafka_ffi::Operation;
use rdkafka::admin::{AdminOptions, NewPartitions};
use schemas::{Partition, PartitionCount, placement::topic_of};
use service_kit::{confirmation::Confirmation, retry::Backoff};

use super::{operator::Operator, output::say, rights, topic};
use crate::{
    domain::position::{LogRange, NextOffset, Offset},
    kafka::{
        client::{self, KafkaConfig, REQUEST_DEADLINE},
        placement::{AnnounceError, Announcer},
        topic::{Inspector, TopicIdentity},
    },
    store::{
        Database, progress,
        registry::{self, Topic},
        rights::{GROW, REGISTER, SWITCH},
        rules::{self, Change},
    },
};

/// How long the logs must stand still before a switch believes that nobody writes any more.
const STILL_FOR: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show over how many partitions keys are spread, and from which offset on in each partition.
    Show,
    /// Create partitions. They stay empty, and every key stays where it is.
    Grow {
        /// How many partitions the topic is to have: a multiple of the number that keys are spread over.
        #[arg(long)]
        to: PartitionCount,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operator: Operator,
    },
    /// Spread keys over the partitions that were created. Stop every ingest API before, and start it with the
    /// new partition count afterwards. Partitions that are halted because they await the switch go on.
    Switch {
        /// Over how many partitions.
        #[arg(long)]
        to: PartitionCount,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operator: Operator,
    },
    /// Register the topic in an empty database with the number of partitions that its first records were spread
    /// over, if that is not the number it has now.
    Register {
        /// Over how many partitions.
        #[arg(long)]
        count: PartitionCount,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        operator: Operator,
    },
}

/// Does it.
pub async fn run(command: Command, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let site = Site { database, kafka, inspector: Arc::new(Inspector::new(kafka)?) };
    match command {
        Command::Show => show(database, kafka).await,
        Command::Grow { to, confirmation, operator } => {
            let (topic, identity) = topic::registered(database, kafka).await?;
            Grow { site: &site, topic, to }.run(&identity, confirmation, operator).await
        }
        Command::Switch { to, confirmation, operator } => {
            let (topic, _) = topic::registered(database, kafka).await?;
            switch(&site, topic, to, confirmation, operator).await
        }
        Command::Register { count, confirmation, operator } => {
            register(&site, count, confirmation, operator).await
        }
    }
}

/// Where a command works.
struct Site<'a> {
    database: &'a Database,
    kafka: &'a KafkaConfig,
    inspector: Arc<Inspector>,
}

async fn show(database: &Database, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let (topic, identity) = topic::registered(database, kafka).await?;
    let mut connection = database.reader().await?;
    let count = rules::count_in_force(&mut connection, topic).await?;
    say(&format!(
        "keys are spread over {count} of {} partitions; {} are registered",
        identity.partition_count, topic.known_partitions
    ))?;
    let switched = sqlx::query!(
        r#"select partition_count, partition, from_offset,
                  to_char(switched_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "switched_at!"
           from placements where topic_ref = $1 order by partition_count, partition"#,
        topic.topic_ref.0
    );
    for row in switched.fetch_all(&mut connection).await? {
        say(&format!(
            "over {} since {} in partition {} from offset {}",
            row.partition_count, row.switched_at, row.partition, row.from_offset
        ))?;
    }
    Ok(())
}

/// A client stays or moves to a higher partition, so the place of its messages stays their order.
fn require_multiple(of: PartitionCount, to: PartitionCount) -> anyhow::Result<()> {
    ensure!(
        to.get() > of.get() && to.get() % of.get() == 0,
        "--to must be a multiple of {of}, the number of partitions that keys are spread over"
    );
    Ok(())
}

struct Grow<'a> {
    site: &'a Site<'a>,
    topic: Topic,
    to: PartitionCount,
}

impl Grow<'_> {
    async fn run(
        &self,
        identity: &TopicIdentity,
        confirmation: Confirmation,
        operator: Operator,
    ) -> anyhow::Result<()> {
        let mut connection = self.site.database.writer().await?;
        let (now, to) = (identity.partition_count, self.to);
        let operations: &[Operation] = if now == to { &[] } else { &[Operation::Alter] };
        let on_topics = &[(self.site.kafka.topic.as_str(), operations)];
        rights::require_with_topics(&mut connection, self.site.kafka, GROW, on_topics).await?;
        require_multiple(rules::count_in_force(&mut connection, self.topic).await?, to)?;
        ensure!(now.get() <= to.get(), "the topic has {now} partitions already: --to {to} would be fewer");
        if now != to {
            self.create(confirmation).await?;
        }
        if confirmation.is_dry_run() {
            let known = self.topic.known_partitions;
            let sentence =
                format!("the topic has {now} partitions, {known} are registered; both would be {to}");
            return Ok(say(&format!("dry run, nothing is changed: {sentence}; no key moves"))?);
        }
        let ranges = self.ranges().await?;
        let starts: Vec<(Partition, Offset)> =
            ranges.into_iter().map(|(partition, range)| (partition, range.start)).collect();
        let decision = operator.decision("partitions_grown".to_owned());
        registry::register_more_by(&mut connection, self.topic, &starts, &decision).await?;
        say(&format!("the topic has {to} partitions; no key has moved"))?;
        Ok(say(&format!("next: stop every ingest API, then `processor partitions switch --to {to} --yes`"))?)
    }

    /// In a dry run the brokers look at the request and refuse it as they would; they make nothing.
    async fn create(&self, confirmation: Confirmation) -> anyhow::Result<()> {
        let count = usize::try_from(self.to.get())?;
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_DEADLINE))
            .operation_timeout(Some(REQUEST_DEADLINE))
            .validate_only(confirmation.is_dry_run());
        let kafka = self.site.kafka;
        let partitions = NewPartitions::new(&kafka.topic, count);
        let answers = client::admin(kafka)?.create_partitions([&partitions], &options).await?;
        for answer in answers {
            if let Err((_, code)) = answer {
                bail!("the brokers did not create the partitions: {code}");
            }
        }
        Ok(())
    }

    /// The new partitions' logs. A partition that was just made has no leader yet.
    async fn ranges(&self) -> anyhow::Result<Vec<(Partition, LogRange)>> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let new = self.topic.partition_count.get()..self.to.get();
        let ask = || {
            let new = new.clone();
            self.site.inspector.ask(move |inspector| inspector.all_ranges(new))
        };
        for _ in 0..30 {
            match ask().await {
                Ok(ranges) => return Ok(ranges),
                Err(error) => tracing::info!(%error, "waiting for the new partitions' leaders"),
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
        ask().await.context("the new partitions cannot be looked at")
    }
}

async fn switch(
    site: &Site<'_>,
    topic: Topic,
    to: PartitionCount,
    confirmation: Confirmation,
    operator: Operator,
) -> anyhow::Result<()> {
    let mut connection = site.database.writer().await?;
    let placements = topic_of(&site.kafka.topic);
    let on_topics: &[(&str, &[Operation])] = &[(placements.as_str(), &[Operation::Write])];
    rights::require_with_topics(&mut connection, site.kafka, SWITCH, on_topics).await?;
    let from = rules::count_in_force(&mut connection, topic).await?;
    require_multiple(from, to)?;
    ensure!(
        topic.known_partitions >= to.get(),
        "{} partitions are registered: run `processor partitions grow --to {to}` first",
        topic.known_partitions
    );
    let count = from.get();
    let look = || site.inspector.ask(move |inspector| inspector.all_ranges(0..count));
    let before: HashMap<Partition, LogRange> = look().await?.into_iter().collect();
    let old: Vec<Partition> = (0..count).map(Partition).collect();
    let rows = progress::load(&mut connection, topic.topic_ref, &old).await?;
    let lag: i64 = rows
        .iter()
        .filter_map(|row| Some((before.get(&row.partition)?.end.0 - row.next_offset.0).max(0)))
        .sum();
    ensure!(lag == 0, "{lag} records are not applied yet: run `processor progress wait`, then try again");
    tokio::time::sleep(STILL_FOR).await;
    if confirmation.is_dry_run() {
        // It looks as the switch does, but holds no rows.
        let rows = progress::load(&mut connection, topic.topic_ref, &old).await?;
        let rows: Vec<_> = rows.iter().map(|row| (row.partition, row.next_offset)).collect();
        require_still(&before, &look().await?, &rows)?;
        return Ok(say(&format!(
            "dry run, nothing is changed: everything is applied, nothing was written for {} s, keys would be spread over {to} \
             partitions instead of {from}",
            STILL_FOR.as_secs()
        ))?);
    }
    let change = Change::begin(&mut connection, topic.topic_ref).await.context("the partitions' rows")?;
    // Nothing is applied from here on. If nothing was written either, the rows stand at the logs' ends.
    require_still(&before, &look().await?, &change.next_offsets)?;
    let decision = operator.decision("partitions_switched".to_owned());
    let resumed = change.place(to, &decision).await.context("the switch")?;
    if resumed > 0 {
        say(&format!("{resumed} partitions that awaited the switch go on"))?;
    }
    say(&format!("keys are spread over {to} partitions from here on"))?;
    // Not before: a switch that is refused after all must not be told.
    tell(site.kafka, move |announcer| announcer.announce(topic.placement(to))).await?;
    Ok(say(&format!("next: start every ingest API with --partition-count={to}"))?)
}

/// Refuses the switch if somebody has written between two looks, or if a row does not stand at its log's end.
fn require_still(
    before: &HashMap<Partition, LogRange>,
    now: &[(Partition, LogRange)],
    rows: &[(Partition, NextOffset)],
) -> anyhow::Result<()> {
    for (partition, range) in now {
        let row = rows.iter().find(|(row, _)| row == partition);
        let next_offset = row.map(|(_, next_offset)| next_offset.offset());
        ensure!(
            before.get(partition) == Some(range) && next_offset == Some(range.end),
            "partition {partition} is still written to: stop every ingest API before the switch"
        );
    }
    Ok(())
}

/// Has the ingest APIs told, which have no tables to ask. What could not be said now is no error: the tables hold it.
async fn tell(
    kafka: &KafkaConfig,
    say_it: impl FnOnce(&Announcer) -> Result<(), AnnounceError> + Send + 'static,
) -> anyhow::Result<()> {
    let announcer = Announcer::new(kafka);
    let told = tokio::task::spawn_blocking(move || say_it(&announcer)).await;
    if let Err(error) = told.unwrap_or(Err(AnnounceError::Panicked)) {
        say(&format!("the ingest APIs cannot be told: {error}"))?;
        say("the processors that run go on trying; until then an ingest API may be told another count")?;
    }
    Ok(())
}

async fn register(
    site: &Site<'_>,
    count: PartitionCount,
    confirmation: Confirmation,
    operator: Operator,
) -> anyhow::Result<()> {
    let identity = site.inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
    ensure!(
        count.get() <= identity.partition_count.get() && identity.partition_count.get() % count.get() == 0,
        "--count must divide {}, the number of partitions that the topic has",
        identity.partition_count
    );
    let mut connection = site.database.writer().await?;
    rights::require(&mut connection, REGISTER).await?;
    ensure!(
        registry::find(&mut connection, &identity).await? == registry::Registration::Unknown,
        "the topic is registered already"
    );
    if confirmation.is_dry_run() {
        return Ok(say(&format!(
            "dry run, nothing is changed: the topic would be registered with {count} partitions"
        ))?);
    }
    let ranges = site.inspector.ask(move |inspector| inspector.all_ranges(0..count.get())).await?;
    let starts: Vec<(Partition, Offset)> =
        ranges.into_iter().map(|(partition, range)| (partition, range.start)).collect();
    let first = TopicIdentity { partition_count: count, ..identity };
    let decision = operator.decision("topic_registered".to_owned());
    ensure!(
        registry::register_by(&mut connection, &first, &starts, &decision).await?,
        "somebody has registered the topic meanwhile: look with `processor partitions show`"
    );
    say(&format!("the topic is registered; its first records are spread over {count} partitions"))?;
    // Where the tables are built again, a later count may be in use, and may have been told.
    let topic = topic::require(&mut connection, &first).await?;
    tell(site.kafka, move |announcer| announcer.uphold(topic.placement(count), false).map(|_is_news| ()))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_over_a_multiple_so_that_no_client_moves_down() {
        let count = |count| PartitionCount::new(count).unwrap();
        assert!(require_multiple(count(12), count(24)).is_ok());
        for to in [6, 12, 18] {
            assert!(require_multiple(count(12), count(to)).is_err(), "{to}");
        }
        for key in 0..1_000_u32 {
            let key = key.to_string();
            let [before, after] = [12, 36].map(|n| Partition::of_key(key.as_bytes(), count(n)));
            assert!(after >= before && after.0 % 12 == before.0, "{key}");
        }
    }
}
