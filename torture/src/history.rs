//! H: what was sent, what was answered, and what the harness wrote into the topic itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::plan::Sent;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 202: kept, at this place.
    Ok { partition: i32, offset: i64 },
    /// 4xx: not in the topic.
    Fail(u16),
    /// Anything else: not known.
    Info(&'static str),
}

/// Why an outcome is unknown: the sender waited in vain.
pub const NO_ANSWER: &str = "no answer";

#[derive(Debug, Clone)]
pub struct Attempt {
    /// The request's `x-request-id`: of several messages, if it was a batch.
    pub id: String,
    pub sent: Arc<Sent>,
    /// Before its first byte was written, and before a connection was opened for it.
    pub invoked: Duration,
    /// When its answer had been read.
    pub returned: Duration,
    pub class: Class,
}

/// What the harness wrote into the topic, past the API.
#[derive(Debug, Default)]
pub struct Planted {
    /// Commands, by their request ids: whose dialog they close.
    pub closes: BTreeMap<String, String>,
    /// Records that can never be applied, by their places: the reason that their dead letters must have.
    pub poison: BTreeMap<(i32, i64), &'static str>,
    /// What transactions that were aborted left in the log, by place: nobody may apply it.
    pub aborted: BTreeSet<(i32, i64)>,
    /// Transactions, each of which leaves a marker.
    pub transactions: u64,
}

/// Whether something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// From here on.
    Load,
    Silence,
}

/// Collects while the load is on.
#[derive(Debug)]
pub struct History {
    start: Instant,
    attempts: Mutex<Vec<Attempt>>,
    planted: Mutex<Planted>,
    acked: AtomicU64,
    unknown: AtomicU64,
    unanswered: AtomicU64,
    last_acked: Mutex<BTreeMap<i32, Duration>>,
    marks: Mutex<Vec<(Duration, Mark)>>,
    pub in_flight: AtomicU64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            attempts: Mutex::default(),
            planted: Mutex::default(),
            acked: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            last_acked: Mutex::default(),
            marks: Mutex::default(),
            in_flight: AtomicU64::new(0),
        }
    }
}

/// What tells a record's attempt: the request's id, and the message's own among those of a batch.
pub type Name<'a> = (&'a str, &'a str);

impl Attempt {
    /// What its record is recognised by; a body that is no message has none.
    pub fn name(&self) -> Name<'_> {
        (&self.id, self.sent.message.as_ref().map_or("", |message| &message.external_message_id))
    }
}

impl History {
    /// Now, as attempts are stamped.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn note(&self, attempt: Attempt) {
        match attempt.class {
            Class::Ok { partition, .. } => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                let mut last = self.last_acked.lock().unwrap_or_else(PoisonError::into_inner);
                last.insert(partition, attempt.returned);
            }
            Class::Info(why) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                self.unanswered.fetch_add(u64::from(why == NO_ANSWER), Ordering::Relaxed);
            }
            Class::Fail(_) => {}
        }
        self.attempts().push(attempt);
    }

    /// Attempts answered with 202 so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Attempts with an unknown outcome so far.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Attempts that got no answer at all so far.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Of the attempts that began in a stretch of time: how many were answered with 202, and of how many the outcome
    /// is unknown. Not what has become known in it: an attempt that a former fault hit is given up much later.
    pub fn begun(&self, within: Range<Duration>) -> (usize, usize) {
        let attempts = self.attempts();
        let begun = attempts.iter().filter(|attempt| within.contains(&attempt.invoked));
        begun.fold((0, 0), |(acked, unknown), attempt| match attempt.class {
            Class::Ok { .. } => (acked + 1, unknown),
            Class::Info(_) => (acked, unknown + 1),
            Class::Fail(_) => (acked, unknown),
        })
    }

    /// When a message of a partition was last acknowledged.
    pub fn last_acked(&self, partition: i32) -> Option<Duration> {
        self.last_acked.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).copied()
    }

    pub fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn planted(&self) -> MutexGuard<'_, Planted> {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on something is sent, or nothing.
    pub fn mark(&self, mark: Mark) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).push((self.now(), mark));
    }

    /// The longest time without a 202 while something was sent.
    pub fn longest_gap(&self) -> Duration {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<(Duration, Option<Mark>)> =
            marks.iter().map(|(at, mark)| (*at, Some(*mark))).collect();
        drop(marks);
        let attempts = self.attempts();
        let acked = attempts.iter().filter(|attempt| matches!(attempt.class, Class::Ok { .. }));
        events.extend(acked.map(|attempt| (attempt.returned, None)));
        drop(attempts);
        events.sort_unstable();
        let (mut since, mut longest) = (None, Duration::ZERO);
        for (at, mark) in events {
            longest = longest.max(since.map_or(Duration::ZERO, |since| at - since));
            since = match mark {
                Some(Mark::Load) => Some(at),
                Some(Mark::Silence) => None,
                // What the harness writes itself while nothing is sent begins nothing.
                None => since.map(|_| at),
            };
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_of_the_harness_is_no_gap() {
        let history = History::default();
        let at = |seconds| Duration::from_secs(seconds);
        *history.marks.lock().unwrap() =
            vec![(at(0), Mark::Load), (at(4), Mark::Silence), (at(60), Mark::Load), (at(65), Mark::Silence)];
        assert_eq!(history.longest_gap(), at(5));
    }
}
