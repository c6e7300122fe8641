//! What the supervisor looks at from time to time, from outside: the ends of the logs, the rows, the
//! topic's settings, the halts that a person may have resumed. Each look is a task that waits for Kafka
//! or PostgreSQL, so that the supervisor does not; one of a kind at a time.

use std::time::{Duration, Instant};

use schemas::Partition;

use crate::{
    consume::takeover::Taker,
    kafka::topic::{InspectError, TopicProfile},
    position::Offset,
    store::{
        StoreError, halts,
        progress::{self, Progress},
    },
};

/// A kind of look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The ends of what may be read of the owned partitions' logs (their last stable offsets), by a client that
    /// cannot stall with the consumer.
    LogEnds,
    /// The rows of the owned partitions.
    Rows,
    /// The topic's settings (R13).
    Audit,
    /// Which of the halted partitions still stand still.
    Halts,
}

impl Round {
    const ALL: [Self; 4] = [Self::LogEnds, Self::Rows, Self::Audit, Self::Halts];
}

/// What was seen.
#[derive(Debug)]
pub enum Seen {
    /// The ends of the logs; `None`: the brokers do not answer.
    LogEnds(Option<Vec<(Partition, Offset)>>),
    /// The rows; none: PostgreSQL does not answer.
    Rows(Vec<Progress>),
    /// What is wrong with the topic's settings; `None`: the brokers do not answer.
    Audit(Option<Vec<String>>),
    /// Of the partitions that were asked for, those that are not halted any more.
    Resumed(Vec<Partition>),
}

impl Seen {
    /// The look that saw it.
    #[must_use]
    pub const fn round(&self) -> Round {
        match self {
            Self::LogEnds(_) => Round::LogEnds,
            Self::Rows(_) => Round::Rows,
            Self::Audit(_) => Round::Audit,
            Self::Resumed(_) => Round::Halts,
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
    due: [(Round, Option<Instant>); 4],
}

impl Schedule {
    /// Everything is due one interval from `now`.
    #[must_use]
    pub fn new(audit: AuditConfig, now: Instant) -> Self {
        let mut schedule = Self { audit, due: Round::ALL.map(|round| (round, None)) };
        for round in Round::ALL {
            schedule.done(round, now);
        }
        schedule
    }

    const fn every(&self, round: Round) -> Duration {
        match round {
            Round::LogEnds => Duration::from_secs(5),
            Round::Rows => Duration::from_secs(15),
            Round::Halts => Duration::from_secs(2),
            Round::Audit => self.audit.every,
        }
    }

    /// The looks that are due. They count as under way until [`Self::done`].
    pub fn begin(&mut self, now: Instant) -> Vec<Round> {
        let mut begun = Vec::new();
        for (round, due) in &mut self.due {
            if due.is_some_and(|due| due <= now) {
                *due = None;
                begun.push(*round);
            }
        }
        begun
    }

    /// A look has ended.
    pub fn done(&mut self, ended: Round, now: Instant) {
        let next = now + self.every(ended);
        for (_, due) in self.due.iter_mut().filter(|(round, _)| *round == ended) {
            *due = Some(next);
        }
    }
}

/// Looks. `partitions`: the owned ones, or the halted ones for [`Round::Halts`].
pub async fn look(taker: Taker, profile: TopicProfile, round: Round, partitions: Vec<Partition>) -> Seen {
    match round {
        Round::LogEnds => Seen::LogEnds(log_ends(&taker, partitions).await),
        Round::Rows => Seen::Rows(answered("the rows", rows(&taker, &partitions).await).unwrap_or_default()),
        Round::Halts => {
            let standing = answered("the halts", standing(&taker, &partitions).await);
            let is_resumed = |partition: &Partition| {
                standing.as_ref().is_some_and(|standing| !standing.contains(partition))
            };
            Seen::Resumed(partitions.into_iter().filter(is_resumed).collect())
        }
        Round::Audit => Seen::Audit(match taker.inspector.audit(profile).await {
            Ok(()) => Some(Vec::new()),
            Err(InspectError::Unsafe(problems)) => Some(problems),
            Err(error) => answered("the topic's settings", Err(error)),
        }),
    }
}

async fn log_ends(taker: &Taker, partitions: Vec<Partition>) -> Option<Vec<(Partition, Offset)>> {
    if partitions.is_empty() {
        return Some(Vec::new());
    }
    let inspector = std::sync::Arc::clone(&taker.inspector);
    let answer = tokio::task::spawn_blocking(move || inspector.log_ends(&partitions)).await;
    answer.ok().and_then(|answer| answered("the ends of the logs", answer))
}

async fn rows(taker: &Taker, partitions: &[Partition]) -> Result<Vec<Progress>, StoreError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = taker.database.reader().await?;
    progress::load(&mut connection, taker.topic.topic_ref, partitions).await
}

async fn standing(taker: &Taker, partitions: &[Partition]) -> Result<Vec<Partition>, StoreError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = taker.database.reader().await?;
    let standing = halts::standing(&mut connection, taker.topic.topic_ref, partitions).await?;
    Ok(standing.into_iter().map(|(partition, _)| partition).collect())
}

/// Nothing depends on a look that fails: the next comes soon.
fn answered<T, E: std::fmt::Display>(what: &'static str, answer: Result<T, E>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!(what, %error, "could not be looked at")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_begun_when_it_is_due_and_not_again_before_it_has_ended() {
        let start = Instant::now();
        let audit = AuditConfig { profile: TopicProfile::Development, every: Duration::from_secs(60) };
        let mut schedule = Schedule::new(audit, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(schedule.begin(at(1)), []);
        assert_eq!(schedule.begin(at(5)), [Round::LogEnds, Round::Halts]);
        assert_eq!(schedule.begin(at(59)), [Round::Rows]);
        schedule.done(Round::Halts, at(59));
        assert_eq!(schedule.begin(at(61)), [Round::Audit, Round::Halts]);
    }
}
