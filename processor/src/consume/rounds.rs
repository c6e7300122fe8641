//! What the supervisor looks at from time to time, from outside: the ends of the logs, the rows, the topic and
//! its settings, the halts that a person may have resumed, batches that cannot be read. Each look is a task that
//! waits for Kafka or PostgreSQL, so that the supervisor does not; one of a kind at a time.

use std::time::{Duration, Instant};

use schemas::Partition;
use service_kit::Problems;
use sqlx::PgConnection;

use crate::{
    consume::{
        decide::{Takeover, another_topic},
        ownership::{Belief, Difference},
        takeover::{Answer, Taker},
    },
    domain::{
        obstacle::Obstacle,
        position::{NextOffset, Offset},
        progress::Progress,
        seat::AssignmentEpoch,
    },
    kafka::topic::{InspectError, Inspector, TopicProfile},
    store::{StoreError, halts, progress, stuck},
};

/// For this long after the consumer has met a batch that it cannot read, partitions that stand still are asked whether
/// it is theirs.
const SUSPECT_BATCHES: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The ends of what may be read of the owned partitions' logs (their last stable offsets), by a client that
    /// cannot stall with the consumer.
    LogEnds,
    /// The rows of the owned partitions, on a server that can be written to: are they where their owner believes?
    Rows,
    /// The topic: is it the registered one, and do the logs of partitions that stand still, or are in doubt,
    /// continue where their rows stand?
    Topic,
    /// The topic's settings (R13).
    Audit,
    /// Which of the halted partitions are still halted.
    Halts,
    /// Whether partitions stand still because a batch cannot be read.
    Batches,
}

impl Round {
    const ALL: [Self; 6] = [Self::LogEnds, Self::Rows, Self::Topic, Self::Audit, Self::Halts, Self::Batches];
}

/// What a look is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What is believed of the active partitions.
    pub beliefs: Vec<Belief>,
    /// The halted ones for [`Round::Halts`], those to be looked at for [`Round::Topic`] and [`Round::Batches`].
    pub partitions: Vec<Partition>,
}

/// A partition in one stretch of ownership, and how it differs from what is believed.
pub type Differing = (Partition, AssignmentEpoch, Difference);

/// What was seen. Empty where nothing answered.
#[derive(Debug)]
pub enum Seen {
    /// The ends of the logs, of those that were asked for; one that did not answer is absent.
    LogEnds { asked: Vec<Partition>, ends: Vec<(Partition, Offset)> },
    /// The rows, and those that are not where their owner believes.
    Rows { rows: Vec<Progress>, differences: Vec<Differing> },
    /// Partitions whose log does not continue their rows, or whose topic is another one; and those that were
    /// found sound, as they were believed, and where they stood.
    Topic { differences: Vec<Differing>, sound: Vec<(Belief, NextOffset)> },
    /// What is wrong with the topic's settings; `None`: the brokers do not answer.
    Audit(Option<Problems>),
    /// Of the partitions that were asked for, those that are not halted any more.
    Resumed(Vec<Partition>),
    /// Partitions whose next batch cannot be read: where, and what the client says.
    Batches(Vec<(Partition, AssignmentEpoch, Offset, String)>),
}

impl Seen {
    /// The look that saw it.
    pub const fn round(&self) -> Round {
        match self {
            Self::LogEnds { .. } => Round::LogEnds,
            Self::Rows { .. } => Round::Rows,
            Self::Topic { .. } => Round::Topic,
            Self::Audit(_) => Round::Audit,
            Self::Resumed(_) => Round::Halts,
            Self::Batches(_) => Round::Batches,
        }
    }
}

/// How often the topic is audited, and by what rules.
#[derive(Debug, Clone, Copy)]
pub struct AuditConfig {
    /// How safe the topic has to be.
    pub profile: TopicProfile,
    /// How often that is looked at.
    pub every: Duration,
}

/// When which look is due. Pure.
#[derive(Debug)]
pub struct Schedule {
    audit: AuditConfig,
    /// `None`: under way.
    due: [(Round, Option<Instant>); 6],
    batches_suspected_until: Instant,
}

impl Schedule {
    /// Everything is due one interval from `now`.
    pub fn new(audit: AuditConfig, now: Instant) -> Self {
        let mut schedule =
            Self { audit, due: Round::ALL.map(|round| (round, None)), batches_suspected_until: now };
        for round in Round::ALL {
            schedule.done(round, now);
        }
        schedule
    }

    const fn every(&self, round: Round) -> Duration {
        match round {
            Round::LogEnds | Round::Rows => Duration::from_secs(5),
            Round::Topic => Duration::from_secs(3),
            Round::Halts | Round::Batches => Duration::from_secs(2),
            Round::Audit => self.audit.every,
        }
    }

    /// The looks that are due. They count as under way until [`Self::done`].
    pub fn begin(&mut self, now: Instant) -> Vec<Round> {
        let mut begun = Vec::new();
        let suspects_batches = now < self.batches_suspected_until;
        for (round, due) in &mut self.due {
            let is_wanted = *round != Round::Batches || suspects_batches;
            if due.is_some_and(|due| due <= now) && is_wanted {
                *due = None;
                begun.push(*round);
            }
        }
        begun
    }

    pub fn done(&mut self, ended: Round, now: Instant) {
        let next = now + self.every(ended);
        for (_, due) in self.due.iter_mut().filter(|(round, _)| *round == ended) {
            *due = Some(next);
        }
    }

    /// The consumer has met something that the topic, or one of the logs, must explain: look at once.
    pub fn look_now(&mut self, now: Instant) {
        for (_, due) in self.due.iter_mut().filter(|(round, _)| *round == Round::Topic) {
            // One that is under way began before.
            *due = due.map(|_| now);
        }
    }

    /// The consumer has met a batch that it cannot read, in a partition that it does not name.
    pub fn suspect_batches(&mut self, now: Instant) {
        self.batches_suspected_until = now + SUSPECT_BATCHES;
    }
}

pub async fn look(taker: Taker, profile: TopicProfile, round: Round, subject: Subject) -> Seen {
    let Subject { beliefs, partitions } = subject;
    match round {
        Round::LogEnds => {
            let asked: Vec<Partition> = beliefs.iter().map(|belief| belief.partition).collect();
            let question = asked.clone();
            let ends = taker.inspector.ask(move |inspector| inspector.log_ends(&question)).await;
            Seen::LogEnds { asked, ends: answered("the ends of the logs", ends).unwrap_or_default() }
        }
        Round::Rows => {
            let (rows, differences) = answered("the rows", rows(&taker, &beliefs).await).unwrap_or_default();
            Seen::Rows { rows, differences }
        }
        Round::Topic => {
            let (differences, sound) =
                answered("the topic", topic(&taker, &beliefs, &partitions).await).unwrap_or_default();
            Seen::Topic { differences, sound }
        }
        Round::Halts => {
            let standing = answered("the halts", standing(&taker, &partitions).await);
            let is_resumed = |partition: &Partition| {
                standing.as_ref().is_some_and(|standing| !standing.contains(partition))
            };
            Seen::Resumed(partitions.into_iter().filter(is_resumed).collect())
        }
        Round::Audit => Seen::Audit(match taker.inspector.audit(profile).await {
            Ok(()) => Some(Problems::default()),
            Err(InspectError::Unsafe(problems)) => Some(problems),
            Err(error) => answered("the topic's settings", Err(error)),
        }),
        Round::Batches => Seen::Batches(batches(&taker, beliefs, &partitions).await),
    }
}

async fn rows(taker: &Taker, beliefs: &[Belief]) -> Result<(Vec<Progress>, Vec<Differing>), StoreError> {
    if beliefs.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let partitions: Vec<Partition> = beliefs.iter().map(|belief| belief.partition).collect();
    // Nothing is concluded from a server in recovery.
    let mut connection = taker.database.writer().await?;
    let rows = progress::load(&mut connection, taker.topic_ref(), &partitions).await?;
    let halted = halted(&mut connection, taker, &partitions).await?;
    let differences = differences(beliefs, &rows, &halted);
    // Whatever process they belong to: they may hold up partitions of this one.
    let ended = answered("the sessions", stuck::end(&mut connection).await).unwrap_or_default();
    if ended > 0 {
        tracing::warn!(ended, "ended sessions whose process does not send the rows that it has announced");
    }
    Ok((rows, differences))
}

/// Which rows are not reachable from what their owners believe. A row may be ahead: a commit is under way, or has
/// not been reported yet.
pub fn differences(beliefs: &[Belief], rows: &[Progress], halted: &[Partition]) -> Vec<Differing> {
    let differing = beliefs.iter().filter_map(|belief| {
        let difference = match rows.iter().find(|row| row.partition == belief.partition) {
            None => Difference::MissingRow,
            Some(row) if row.owner_epoch > belief.owner_epoch => Difference::OwnerEpoch,
            Some(row) if row.owner_epoch < belief.owner_epoch => Difference::OlderEpoch,
            Some(row) if row.next_offset < belief.next_offset => Difference::NextOffset,
            Some(_) if halted.contains(&belief.partition) => Difference::Halt,
            Some(_) => return None,
        };
        Some((belief.partition, belief.epoch, difference))
    });
    differing.collect()
}

/// Compares the topic with the registered one, and the logs of some partitions with their rows.
async fn topic(
    taker: &Taker,
    beliefs: &[Belief],
    partitions: &[Partition],
) -> Result<(Vec<Differing>, Vec<(Belief, NextOffset)>), Obstacle> {
    let found = taker.inspector.ask(Inspector::identity).await?;
    if another_topic(&taker.registered, &found).is_some() {
        let all = beliefs.iter().map(|belief| (belief.partition, belief.epoch, Difference::Topic));
        return Ok((all.collect(), Vec::new()));
    }
    let (mut differences, mut sound) = (Vec::new(), Vec::new());
    if partitions.is_empty() {
        return Ok((differences, sound));
    }
    let mut connection = taker.database.writer().await?;
    for (partition, verdict) in taker.look(&mut connection, partitions).await? {
        let Some(belief) = beliefs.iter().find(|belief| belief.partition == partition) else {
            continue;
        };
        match verdict {
            Ok(row) => sound.push((*belief, row.row().next_offset)),
            Err(Answer::Taken(Takeover::Halted(..) | Takeover::StillHalted(_))) => {
                differences.push((partition, belief.epoch, Difference::Log));
            }
            // Its turn comes again.
            Err(Answer::Waits(_) | Answer::Taken(Takeover::Owned { .. })) => {}
        }
    }
    Ok((differences, sound))
}

/// Asks for the next batch of one partition after the other: otherwise nobody knows which one cannot be read.
async fn batches(
    taker: &Taker,
    beliefs: Vec<Belief>,
    partitions: &[Partition],
) -> Vec<(Partition, AssignmentEpoch, Offset, String)> {
    let mut unreadable = Vec::new();
    for belief in beliefs.into_iter().filter(|belief| partitions.contains(&belief.partition)) {
        let (partition, offset) = (belief.partition, belief.next_offset.offset());
        let answer = taker.inspector.ask(move |inspector| inspector.unreadable_at(partition, offset)).await;
        if let Some(Some(code)) = answered("a batch", answer) {
            unreadable.push((partition, belief.epoch, offset, format!("{code:?}")));
        }
    }
    unreadable
}

async fn standing(taker: &Taker, partitions: &[Partition]) -> Result<Vec<Partition>, StoreError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = taker.database.writer().await?;
    halted(&mut connection, taker, partitions).await
}

async fn halted(
    connection: &mut PgConnection,
    taker: &Taker,
    partitions: &[Partition],
) -> Result<Vec<Partition>, StoreError> {
    let standing = halts::standing(connection, taker.topic_ref(), partitions).await?;
    Ok(standing.into_iter().map(|(partition, _)| partition).collect())
}

/// Nothing depends on a look that fails: the next comes soon.
fn answered<T, E: std::fmt::Display>(what: &'static str, answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!(what, %error, "could not be looked at")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::OwnerEpoch;

    #[test]
    fn a_look_is_begun_when_it_is_due_and_not_again_before_it_has_ended() {
        let start = Instant::now();
        let audit = AuditConfig { profile: TopicProfile::Development, every: Duration::from_secs(60) };
        let mut schedule = Schedule::new(audit, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(schedule.begin(at(1)), []);
        assert_eq!(schedule.begin(at(5)), [Round::LogEnds, Round::Rows, Round::Topic, Round::Halts]);
        assert_eq!(schedule.begin(at(59)), []);
        schedule.done(Round::Halts, at(59));
        assert_eq!(schedule.begin(at(61)), [Round::Audit, Round::Halts]);
    }

    #[test]
    fn batches_are_asked_for_only_while_one_is_suspected_and_the_topic_at_once() {
        let start = Instant::now();
        let audit = AuditConfig { profile: TopicProfile::Development, every: Duration::from_secs(600) };
        let mut schedule = Schedule::new(audit, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!schedule.begin(at(2)).contains(&Round::Batches));
        schedule.suspect_batches(at(2));
        schedule.look_now(at(2));
        assert_eq!(schedule.begin(at(2)), [Round::Topic, Round::Batches]);
        schedule.done(Round::Batches, at(4));
        assert!(!schedule.begin(at(70)).contains(&Round::Batches));
    }

    #[test]
    fn a_row_may_be_ahead_of_its_owner_but_not_behind_and_not_anothers() {
        let belief = Belief {
            partition: Partition(1),
            epoch: AssignmentEpoch(7),
            owner_epoch: OwnerEpoch(3),
            next_offset: NextOffset(10),
            log_end: Offset(10),
            lane: 0,
            doubts: 0,
        };
        let row = |next_offset: i64, owner_epoch: i64| Progress {
            next_offset: NextOffset(next_offset),
            owner_epoch: OwnerEpoch(owner_epoch),
            ..Progress::born(Partition(1), Offset(0))
        };
        let found = |rows: &[Progress], halted: &[Partition]| {
            differences(&[belief], rows, halted).first().map(|(_, _, difference)| *difference)
        };
        assert_eq!(found(&[row(10, 3)], &[]), None);
        assert_eq!(found(&[row(12, 3)], &[]), None, "a commit is under way");
        assert_eq!(found(&[row(9, 3)], &[]), Some(Difference::NextOffset));
        assert_eq!(found(&[row(10, 2)], &[]), Some(Difference::OlderEpoch), "the database has moved back");
        assert_eq!(found(&[row(12, 4)], &[]), Some(Difference::OwnerEpoch), "another owner");
        assert_eq!(found(&[], &[]), Some(Difference::MissingRow));
        assert_eq!(found(&[row(10, 3)], &[Partition(1)]), Some(Difference::Halt));
        assert_eq!(found(&[row(10, 3)], &[Partition(2)]), None);
    }
}
