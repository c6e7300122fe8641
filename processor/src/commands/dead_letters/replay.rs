//! `processor dead-letters replay`: one letter after the other, in the order of their places. A letter's
//! row is locked, its record written and acknowledged, then the row says where it went. If the process
//! ends in between, the next replay writes a second copy, which counts as a duplicate.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use kafka_ffi::Operation;
use schemas::PartitionCount;
use service_kit::confirmation::Confirmation;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Filter, at, only_letter, parse_place};
use crate::{
    commands::{operator::Operator, output::say, rights, topic::require},
    domain::replay::{Letter, Replay, judge},
    kafka::{
        client::KafkaConfig,
        producer::{Outgoing, Producer},
        topic::Inspector,
    },
    store::{
        Database,
        halts::Decision,
        letters::{self, START, Selection},
        registry::{self, Topic},
        rights::REPLAY,
        rules,
    },
};

/// Letters fetched at a time.
const PAGE: i64 = 100;

/// Which letters, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The dead letter at this place: `partition/offset`. May be given several times.
    #[arg(long = "at", value_parser = parse_place)]
    places: Vec<(i32, i64)>,
    /// The id of the dead letters' topic, needed if two topics have a dead letter at a place.
    #[arg(long)]
    topic_id: Option<Uuid>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    operator: Operator,
    /// How often a record may be replayed in all, counting the dead letters that came back.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    attempts_max: i32,
}

#[derive(Debug, Default)]
struct Counts {
    replayed: u64,
    refused: u64,
}

/// Replays. Exit code 1 if a letter was refused.
pub async fn run(args: Args, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    if args.places.is_empty() && args.filter.is_empty() {
        bail!("name the dead letters with --at, --reason, --client-id or --partition");
    }
    let mut connection = database.writer().await?;
    let inspector = Arc::new(Inspector::new(kafka)?);
    let identity = inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
    let topic = require(&mut connection, &identity).await?;
    let on_topics: &[(&str, &[Operation])] = &[(kafka.topic.as_str(), &[Operation::Write])];
    rights::require_with_topics(&mut connection, kafka, REPLAY, on_topics).await?;
    let is_dry_run = args.confirmation.is_dry_run();
    let producer = if is_dry_run { None } else { Some(Arc::new(Producer::new(kafka, &kafka.topic)?)) };
    let mut replayer = Replayer {
        connection,
        topic,
        producer,
        attempts_max: args.attempts_max,
        decision: args.operator.decision("dead_letter_replayed".to_owned()),
        counts: Counts::default(),
    };
    for place in &args.places {
        let letter = only_letter(&mut replayer.connection, &at(*place, args.topic_id)).await?;
        replayer.replay(&letter).await?;
    }
    if !args.filter.is_empty() {
        replayer.all(&Selection { topic_id: args.topic_id, ..args.filter.selection() }).await?;
    }
    let Counts { replayed, refused } = replayer.counts;
    let did = if is_dry_run { "would be replayed, nothing was written" } else { "replayed" };
    say(&format!("{replayed} {did}; {refused} refused"))?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Replayer {
    connection: PgConnection,
    topic: Topic,
    /// None: a dry run.
    producer: Option<Arc<Producer>>,
    attempts_max: i32,
    decision: Decision,
    counts: Counts,
}

impl Replayer {
    async fn all(&mut self, selection: &Selection) -> anyhow::Result<()> {
        // A letter that comes back meanwhile is not replayed again by the same command.
        let ends = letters::ends(&mut self.connection).await?;
        let was_there =
            |at: &&Letter| ends.get(&(at.topic_ref, at.partition)).is_some_and(|end| at.offset <= *end);
        let mut after = START;
        loop {
            let letters = letters::page(&mut self.connection, selection, after, PAGE).await?;
            let Some(last) = letters.last() else { return Ok(()) };
            after = (last.topic_ref, last.partition, last.offset);
            for letter in letters.iter().filter(was_there) {
                self.replay(letter).await?;
            }
        }
    }

    async fn replay(&mut self, letter: &Letter) -> anyhow::Result<()> {
        let place = format!("partition {} offset {}: {}", letter.partition, letter.offset, letter.reason);
        let count = rules::count_in_force(&mut self.connection, self.topic).await?;
        let replay = match judge(letter, count, self.attempts_max) {
            Ok(replay) => replay,
            Err(refusal) => {
                self.counts.refused += 1;
                return Ok(say(&format!("{place}: refused: {refusal}"))?);
            }
        };
        let Some(producer) = self.producer.clone() else {
            self.counts.replayed += 1;
            let Replay { partition, attempt, .. } = replay;
            return Ok(say(&format!("{place}: would go to partition {partition}, attempt {attempt}"))?);
        };
        match self.write(letter, replay, count, producer).await.with_context(|| place.clone())? {
            Some((to, attempt)) => {
                self.counts.replayed += 1;
                Ok(say(&format!("{place}: replayed to {to}, attempt {attempt}"))?)
            }
            None => {
                self.counts.refused += 1;
                Ok(say(&format!("{place}: refused: somebody else has replayed it meanwhile"))?)
            }
        }
    }

    /// Writes the record, then where it went. `None`: somebody else did.
    #[expect(clippy::disallowed_methods, reason = "not a batch: holds a letter while it is replayed")]
    async fn write(
        &mut self,
        letter: &Letter,
        replay: Replay,
        count: PartitionCount,
        producer: Arc<Producer>,
    ) -> anyhow::Result<Option<(String, i32)>> {
        let mut transaction = self.connection.begin().await?;
        if !letters::lock(&mut transaction, letter).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        // Until the record is written, nobody switches to another count.
        registry::lock(&mut transaction, self.topic.topic_ref).await?;
        ensure!(
            rules::count_in_force(&mut transaction, self.topic).await? == count,
            "keys were spread over other partitions meanwhile: nothing was written, start again"
        );
        let (key, value) = (letter.key.clone().unwrap_or_default(), letter.value.clone().unwrap_or_default());
        let (partition, attempt) = (replay.partition, replay.attempt);
        let written = tokio::task::spawn_blocking(move || {
            producer.write(&Outgoing { partition, key: &key, value: &value, headers: &replay.headers })
        });
        let (new_partition, offset) = written.await?.context(
            "not known whether it was written, stopped here; replay it again: a second copy is a duplicate",
        )?;
        let decision = &self.decision;
        letters::mark_replayed(&mut transaction, letter, new_partition, offset, attempt, decision).await?;
        transaction.commit().await.context("written, but not marked: a second replay is a duplicate")?;
        Ok(Some((format!("partition {new_partition} offset {offset}"), attempt)))
    }
}
