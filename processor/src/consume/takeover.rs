//! Taking partitions up: gathers what is known of them from brokers and rows, lets [`decide`] decide, and raises
//! the owner epochs of those that are sound. One try for several partitions, each with an answer of its own: one
//! that cannot be looked at does not keep the others waiting. The supervisor tries again.
//!
//! A partition that the topic has got since it was registered gets its row here, once the brokers say that
//! it is still the same topic. One that must not go on halts with the reason, and its row stays as it was.

mod answer;

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemas::{Partition, PartitionCount};
use sqlx::PgConnection;

pub use self::answer::{Answer, all_wait};
use crate::{
    consume::{
        decide::{Facts, Sound, Standing, Takeover, decide, decide_standing},
        guard::guard,
        tickets::{Live, Ticket},
    },
    domain::{
        halt::StopReason,
        obstacle::Obstacle,
        position::{LogRange, Offset, OwnerEpoch, RecordDigest, TopicRef},
        progress::Progress,
        rules::PartitionRules,
    },
    kafka::topic::{Inspector, PerPartition, RECORD_DEADLINE, TopicIdentity},
    store::{
        Database, StoreError, halts, progress,
        registry::{self, RegisteredTopic},
        rules,
    },
};

/// How long records of several partitions may take together: a partition whose record is late is tried again by
/// itself, and has [`RECORD_DEADLINE`] then.
const RECORDS_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Taker {
    pub database: Database,
    pub inspector: Arc<Inspector>,
    /// The topic as it was registered.
    pub registered: Arc<RegisteredTopic>,
    /// Who takes: a name for people, in `partition_progress.owner`.
    pub owner: String,
}

/// A verdict on each partition, before any epoch is raised.
type Verdicts = Vec<(Partition, Result<Sound, Answer>)>;

/// The rows that exist.
struct Rows {
    found: HashMap<Partition, Progress>,
    /// The first partition that could not be registered, and why: so those behind it could not either.
    unanswered: Option<(Partition, Obstacle)>,
}

impl Rows {
    /// What keeps a new partition from being registered; nothing else is wrong with it.
    fn waits_for(&self, standing: &Standing<'_>, partition: Partition) -> Option<Obstacle> {
        let (first, obstacle) = self.unanswered.as_ref()?;
        let is_new = standing.row.is_none() && standing.halt.is_none() && partition >= *first;
        is_new.then(|| obstacle.clone())
    }
}

impl Taker {
    /// The number of the registered topic.
    pub fn topic_ref(&self) -> TopicRef {
        self.registered.topic.topic_ref
    }

    /// One try. Raises no epoch of a partition whose ticket is not live any more.
    pub async fn take(&self, asked: &[(Partition, Ticket)], live: &Live) -> Vec<(Partition, Answer)> {
        let partitions: Vec<Partition> = asked.iter().map(|(partition, _)| *partition).collect();
        let tried = async {
            let mut connection = self.database.writer().await?;
            let mut verdicts = self.look(&mut connection, &partitions).await?;
            verdicts.retain(|(partition, _)| {
                asked.iter().any(|(asked, ticket)| asked == partition && live.holds(*ticket))
            });
            self.raise_epochs(&mut connection, verdicts).await
        };
        match tried.await {
            Ok(answers) => answers,
            Err(obstacle) => all_wait(&partitions, &obstacle),
        }
    }

    /// Gathers what is known of the partitions, and decides. Nothing is raised.
    ///
    /// # Errors
    /// Nothing could be decided about any of them.
    pub async fn look(
        &self,
        connection: &mut PgConnection,
        partitions: &[Partition],
    ) -> Result<Verdicts, Obstacle> {
        let found = self.inspector.ask(Inspector::identity).await?;
        let halts: HashMap<Partition, Option<StopReason>> =
            halts::standing(connection, self.topic_ref(), partitions).await?.into_iter().collect();
        let rows = self.rows(connection, partitions, &found).await?;
        let (mut verdicts, mut open) = (Verdicts::with_capacity(partitions.len()), Vec::new());
        for partition in partitions {
            let halt = halts.get(partition);
            if matches!(halt, Some(None)) {
                verdicts.push((*partition, Err(Answer::Waits(Obstacle::UnknownHalt))));
                continue;
            }
            let standing = Standing {
                registered: &self.registered,
                found: &found,
                halt: halt.and_then(Option::as_ref),
                row: rows.found.get(partition),
            };
            match (decide_standing(&standing), rows.waits_for(&standing, *partition)) {
                (Ok(row), _) => open.push((standing, row)),
                (Err(_), Some(obstacle)) => verdicts.push((*partition, Err(Answer::Waits(obstacle)))),
                (Err(takeover), None) => verdicts.push((*partition, Err(Answer::Taken(takeover)))),
            }
        }
        let rules = self.rules(connection, open.iter().map(|(_, row)| row.partition).collect()).await?;
        let logs = self.logs(&open).await?;
        for (standing, row) in open {
            let verdict = match logs.get(&row.partition) {
                Some(Ok((log, last))) => {
                    let Some(own) = rules.in_force.get(&row.partition) else {
                        continue;
                    };
                    let awaited = &rules.awaited;
                    decide(&Facts { standing, log: *log, last: *last, rules: own, awaited })
                        .map_err(Answer::Taken)
                }
                Some(Err(obstacle)) => Err(Answer::Waits(obstacle.clone())),
                None => Err(Answer::Waits(Obstacle::LogRange("no answer".to_owned()))),
            };
            verdicts.push((row.partition, verdict));
        }
        Ok(verdicts)
    }

    /// The rows of the partitions. Those that the topic got since it was registered have none yet: they are registered
    /// in their order, since the registry knows how many there are and not which, up to the first whose log does not
    /// answer.
    async fn rows(
        &self,
        connection: &mut PgConnection,
        partitions: &[Partition],
        found: &TopicIdentity,
    ) -> Result<Rows, Obstacle> {
        let (topic, topic_ref) = (self.registered.topic, self.topic_ref());
        let (mut rows, mut unanswered) = (progress::load(connection, topic_ref, partitions).await?, None);
        let (first, count) = (topic.partition_count.get(), found.partition_count.get());
        if rows.len() < partitions.len() && first < count && found.topic_id == topic.topic_id {
            let more: Vec<Partition> = (first..count).map(Partition).collect();
            let ranges = self.inspector.ask(move |inspector| inspector.log_ranges(&more)).await?;
            let mut starts = Vec::new();
            for partition in (first..count).map(Partition) {
                match ranges.get(&partition) {
                    Some(Ok(range)) => starts.push((partition, range.start)),
                    other => {
                        let code = other.and_then(|range| range.as_ref().err());
                        let why = code.map_or_else(|| "no answer".to_owned(), |code| format!("{code:?}"));
                        let why = format!("partition {partition} is not registered: {why}");
                        unanswered = Some((partition, Obstacle::LogRange(why)));
                        break;
                    }
                }
            }
            if !starts.is_empty() {
                registry::register_more(connection, topic_ref, &starts).await?;
                rows = progress::load(connection, topic_ref, partitions).await?;
            }
        }
        Ok(Rows { found: rows.into_iter().map(|row| (row.partition, row)).collect(), unanswered })
    }

    /// What the records of the partitions mean. Read between the rows and the compare-and-set on them: a change of
    /// the rules raises the epochs.
    async fn rules(
        &self,
        connection: &mut PgConnection,
        partitions: Vec<Partition>,
    ) -> Result<Rules, Obstacle> {
        let in_force = rules::load(connection, self.registered.topic, &partitions).await?;
        let moved = in_force.values().any(|rules| rules.came_with().is_some());
        let awaited =
            if moved { rules::counts_awaited(connection, self.topic_ref()).await? } else { Vec::new() };
        let in_force = in_force.into_iter().map(|(partition, rules)| (partition, Arc::new(rules)));
        Ok(Rules { in_force: in_force.collect(), awaited })
    }

    /// The range of each log, and the digest of the record that the row is held against.
    async fn logs(&self, open: &[(Standing<'_>, &Progress)]) -> Result<Logs, Obstacle> {
        let partitions: Vec<Partition> = open.iter().map(|(_, row)| row.partition).collect();
        let ranges: PerPartition<LogRange> =
            self.inspector.ask(move |inspector| inspector.log_ranges(&partitions)).await?;
        let places: Vec<(Partition, Offset)> = open
            .iter()
            .filter_map(|(_, row)| {
                let range = ranges.get(&row.partition)?.as_ref().ok()?;
                let (offset, _) = guard(row, *range).ok()??;
                Some((row.partition, offset))
            })
            .collect();
        let (asked, within) =
            (places.clone(), if open.len() > 1 { RECORDS_DEADLINE } else { RECORD_DEADLINE });
        let records = self.inspector.ask(move |inspector| inspector.records_within(&asked, within)).await?;
        let of = |(partition, range): (Partition, Result<LogRange, _>)| {
            let place = places.iter().find(|(asked, _)| *asked == partition);
            let last = records.get(&partition).map(|record| record.digest());
            let log = match (range, place) {
                (Err(code), _) => Err(Obstacle::LogRange(format!("{code:?}"))),
                (Ok(_), Some((_, offset))) if last.is_none() => Err(Obstacle::NoRecord(*offset)),
                (Ok(range), _) => Ok((range, last)),
            };
            (partition, log)
        };
        Ok(ranges.into_iter().map(of).collect())
    }

    /// Raises the epochs of the rows that are sound and as they were read. A halt that was written in between is
    /// respected: by the statement that raises, and by the look after it, since none can be written for the former
    /// epoch from then on.
    async fn raise_epochs(
        &self,
        connection: &mut PgConnection,
        verdicts: Verdicts,
    ) -> Result<Vec<(Partition, Answer)>, Obstacle> {
        let (mut sound, mut answers) = (Vec::new(), Vec::new());
        for (partition, verdict) in verdicts {
            match verdict {
                Ok(row) => sound.push(row),
                Err(answer) => answers.push((partition, answer)),
            }
        }
        let raised = raise_epochs(connection, self.topic_ref(), &sound, &self.owner).await?;
        let partitions: Vec<Partition> = raised.keys().copied().collect();
        let halted: HashMap<Partition, Option<StopReason>> =
            halts::standing(connection, self.topic_ref(), &partitions).await?.into_iter().collect();
        answers.extend(sound.into_iter().map(|sound| {
            let partition = sound.partition();
            let answer = match (raised.get(&partition), halted.get(&partition)) {
                (None, _) => Answer::Waits(Obstacle::RowMoves),
                (Some(_), Some(None)) => Answer::Waits(Obstacle::UnknownHalt),
                (Some(_), Some(Some(reason))) => Answer::Taken(Takeover::StillHalted(reason.clone())),
                (Some(owner_epoch), None) => Answer::Taken(Takeover::Owned {
                    next_offset: sound.row().next_offset,
                    owner_epoch: *owner_epoch,
                    log_end: sound.log().end,
                    rules: Arc::clone(sound.rules()),
                }),
            };
            (partition, answer)
        }));
        Ok(answers)
    }
}

/// What records mean, by partition, and what is not in force everywhere yet.
struct Rules {
    in_force: HashMap<Partition, Arc<PartitionRules>>,
    awaited: Vec<PartitionCount>,
}

/// The range of a log, with the digest of the record that stands where the last applied one should.
type Logs = HashMap<Partition, Result<(LogRange, Option<RecordDigest>), Obstacle>>;

/// Raises the owner epochs of rows that were decided to be sound.
async fn raise_epochs(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    sound: &[Sound],
    owner: &str,
) -> Result<HashMap<Partition, OwnerEpoch>, StoreError> {
    if sound.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Progress> = sound.iter().map(|sound| sound.row().clone()).collect();
    Ok(progress::raise_epochs(connection, topic_ref, &rows, owner).await?.into_iter().collect())
}
