//! `processor halts resume`, and what it shares with `processor progress set`: looks, says what a move
//! would do, and does it only when told so by `--yes`.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use schemas::Partition;
use service_kit::confirmation::Confirmation;
use uuid::Uuid;

use crate::{
    commands::{operator::Operator, output::say, rights},
    domain::{
        intervention::{Effect, Move, plan},
        position::{LogRange, NextOffset, Offset, RecordDigest},
        progress::Progress,
    },
    kafka::{
        client::KafkaConfig,
        topic::{Inspector, TopicIdentity},
    },
    store::{
        Database,
        halts::{self, Intervention, StandingHalt},
        progress,
        registry::{self, Registration, Topic},
        reopen,
        rights::{ACCEPT, RESUME, SET_PROGRESS},
    },
};

/// Which partition, and to where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The partition.
    #[arg(long, required_unless_present = "topic_id", requires_all = ["from", "to"], value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Where the partition stands: its next offset.
    #[arg(long, requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// The offset to apply next.
    #[arg(long, requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// The reason for the halt, as `processor halts list` shows it.
    #[arg(long)]
    reason_code: String,
    /// The topic's id. Without --partition, the id of the new topic to accept.
    #[arg(long)]
    topic_id: Option<Uuid>,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    operator: Operator,
}

/// A move of one partition.
#[derive(Debug)]
pub struct Request {
    pub wanted: Move,
    /// Say it or do it.
    pub confirmation: Confirmation,
    pub operator: Operator,
}

/// Resumes.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the numbers are not right.
pub async fn run(args: Args, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let mut site = Site::look(database, kafka).await?;
    let Args { partition, from, to, reason_code, topic_id, confirmation, operator } = args;
    let (Some(partition), Some(from), Some(to)) = (partition, from, to) else {
        let topic_id = topic_id.context("--topic-id is missing")?;
        rights::require(&mut site.connection, ACCEPT).await?;
        return accept_topic(site, topic_id, &reason_code, confirmation, operator).await;
    };
    rights::require(&mut site.connection, RESUME).await?;
    let topic = site.known()?;
    if topic_id.is_some_and(|given| given != topic.topic_id) {
        bail!("--topic-id is not the topic's id, {}", topic.topic_id);
    }
    let wanted = Move { partition: Partition(partition), from: NextOffset(from), to: NextOffset(to) };
    let request = Request { wanted, confirmation, operator };
    resume(site, topic, request, &reason_code).await
}

async fn resume(mut site: Site, topic: Topic, request: Request, reason_code: &str) -> anyhow::Result<()> {
    let partition = request.wanted.partition;
    let Some(halt) = halts::find(&mut site.connection, topic.topic_ref, partition).await? else {
        bail!("partition {partition} is not halted: `processor progress set` moves a partition that is not");
    };
    if halt.reason != reason_code {
        bail!("--reason-code is not the reason for the halt, {}", halt.reason);
    }
    say(&format!("partition {partition} of {}: {}: {}", site.identity.name, halt.reason, halt.detail))?;
    move_partition(site, topic, request, reason_code.to_owned(), Some(halt)).await
}

/// Moves a partition that is not halted: whoever owns it is fenced, and reads on where it then stands.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the numbers are not right.
pub async fn set(request: Request, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let mut site = Site::look(database, kafka).await?;
    rights::require(&mut site.connection, SET_PROGRESS).await?;
    let topic = site.known()?;
    let partition = request.wanted.partition;
    if let Some(halt) = halts::find(&mut site.connection, topic.topic_ref, partition).await? {
        bail!("partition {partition} is halted ({}): `processor halts resume` moves it", halt.reason);
    }
    say(&format!("partition {partition} of {}", site.identity.name))?;
    move_partition(site, topic, request, "progress_set".to_owned(), None).await
}

async fn move_partition(
    mut site: Site,
    topic: Topic,
    request: Request,
    reason: String,
    halt: Option<StandingHalt>,
) -> anyhow::Result<()> {
    let Request { wanted, confirmation, operator } = request;
    let Move { partition, to, .. } = wanted;
    let rows = progress::load(&mut site.connection, topic.topic_ref, &[partition]).await?;
    let Some(row) = rows.first() else {
        bail!(
            "partition {partition} was not there when the topic was registered: it cannot be resumed by itself"
        );
    };
    let log = site.inspector.ask(move |inspector| inspector.log_range(partition)).await?;
    let effect = plan(row, log, wanted)?;
    let last_digest = site.digest_before(partition, to, log).await?;
    let replaced = letters_between(&mut site, topic, wanted).await?;
    tell(row, log, wanted, &effect, replaced)?;
    if confirmation.is_dry_run() {
        return Ok(say("nothing was written: repeat with --yes to do it")?);
    }
    let decision = operator.decision(reason);
    let intervention = Intervention {
        topic_ref: topic.topic_ref,
        seen: row,
        to,
        last_digest,
        effect,
        halt_id: halt.map(|halt| halt.halt_id),
        decision: &decision,
    };
    halts::intervene(&mut site.connection, &intervention).await?;
    Ok(say(&format!("done: partition {partition} goes on at {to}"))?)
}

fn tell(row: &Progress, log: LogRange, wanted: Move, effect: &Effect, replaced: i64) -> std::io::Result<()> {
    let Move { from, to, .. } = wanted;
    let Effect { skipped, skipped_in_log, repeated, unaccounted, left } = effect;
    say(&format!("    stored: next offset {}; the log holds {} to {}", row.next_offset, log.start, log.end))?;
    say(&format!("    from {from} to {to}, then {left} records to apply"))?;
    say(&match skipped {
        0 => "    skips nothing".to_owned(),
        _ => format!(
            "    skips {skipped} offsets, {from} to {}: {skipped_in_log} records are in the log and will never be applied, {} are gone",
            to.0 - 1,
            skipped - skipped_in_log
        ),
    })?;
    say(&match repeated {
        0 => "    repeats nothing".to_owned(),
        _ => format!(
            "    repeats {repeated} offsets, {to} to {}: what the log holds there is applied again; {replaced} dead letters of these places will be replaced",
            from.0 - 1
        ),
    })?;
    match unaccounted {
        0 => Ok(()),
        _ => say(&format!(
            "    counts {unaccounted} offsets that the counters do not account for as skipped or repeated"
        )),
    }
}

/// Dead letters of places that a move goes back over.
async fn letters_between(site: &mut Site, topic: Topic, wanted: Move) -> anyhow::Result<i64> {
    let Move { partition, from, to } = wanted;
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dead_letters
           where topic_ref = $1 and partition = $2 and record_offset >= $3 and record_offset < $4"#,
        topic.topic_ref.0,
        partition.0,
        to.0,
        from.0
    );
    Ok(count.fetch_one(&mut site.connection).await?)
}

/// Accepts a topic that was deleted and created again, or one of another cluster, as a topic of its own, from the
/// start of its log.
async fn accept_topic(
    mut site: Site,
    topic_id: Uuid,
    reason_code: &str,
    confirmation: Confirmation,
    operator: Operator,
) -> anyhow::Result<()> {
    let Registration::Recreated { registered } = site.registration else {
        bail!("the topic is the registered one: name a --partition");
    };
    let cluster = registry::cluster_of(&mut site.connection, registered.topic_ref).await?;
    let moved = cluster != site.identity.cluster_id;
    let (expected, former) = if moved {
        ("other_cluster", format!("{} belongs to cluster {cluster}", registered.topic_id))
    } else {
        ("topic_recreated", format!("{} is gone", registered.topic_id))
    };
    if reason_code != expected {
        bail!("--reason-code must be {expected}: the registered topic {former}");
    }
    if topic_id != site.identity.topic_id {
        bail!("--topic-id is {topic_id}, but the topic's id is {}", site.identity.topic_id);
    }
    let count = site.identity.partition_count.get();
    let ranges = site.inspector.ask(move |inspector| inspector.all_ranges(0..count)).await?;
    say(&format!(
        "{}: the registered topic {former}; what it held beyond the next offsets cannot be applied any more",
        site.identity.name
    ))?;
    let records: i64 = ranges.iter().map(|(_, range)| range.end.0 - range.start.0).sum();
    say(&format!(
        "topic {topic_id} is registered beside it with {count} partitions, each from the start of its log: {records} records to apply; skips nothing, repeats nothing\n\
         clients, dialogs and messages stay: a message that comes again is a duplicate; dialogs follow the rules that they followed last"
    ))?;
    if confirmation.is_dry_run() {
        return Ok(say("nothing was written: repeat with --yes to do it")?);
    }
    let starts: Vec<(Partition, Offset)> = ranges.into_iter().map(|(p, range)| (p, range.start)).collect();
    let decision = operator.decision(reason_code.to_owned());
    reopen::accept_topic(&mut site.connection, &site.identity, &starts, registered, &decision).await?;
    Ok(say("done: processors take the new topic up by themselves")?)
}

/// The topic, in Kafka and in the registry, as it is now.
struct Site {
    inspector: Arc<Inspector>,
    connection: sqlx::PgConnection,
    identity: TopicIdentity,
    registration: Registration,
}

impl Site {
    async fn look(database: &Database, kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let inspector = Arc::new(Inspector::new(kafka)?);
        let identity = inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
        let mut connection = database.writer().await?;
        let registration = registry::find(&mut connection, &identity).await?;
        Ok(Self { inspector, connection, identity, registration })
    }

    fn known(&self) -> anyhow::Result<Topic> {
        match self.registration {
            Registration::Known(topic) => Ok(topic),
            Registration::Unknown => bail!("the topic is not registered: nothing was applied of it"),
            Registration::Recreated { registered } => bail!(
                "the topic's id is {}, the registered one is {}: a partition cannot be resumed by itself. \
                 Accept the new topic as a whole, with --topic-id and no --partition",
                self.identity.topic_id,
                registered.topic_id
            ),
        }
    }

    /// The digest of the record before a place, for the check of the next takeover; none if it is not
    /// in the log.
    async fn digest_before(
        &self,
        partition: Partition,
        to: NextOffset,
        log: LogRange,
    ) -> anyhow::Result<Option<RecordDigest>> {
        let place = (partition, Offset(to.0 - 1));
        if place.1 < log.start {
            return Ok(None);
        }
        let records = self.inspector.ask(move |inspector| inspector.records_at(&[place])).await;
        // In a gap of the log there is no record.
        Ok(records.ok().and_then(|records| records.get(&partition).map(|record| record.digest())))
    }
}
