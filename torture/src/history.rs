//! H: what was sent, what was answered, and what the harness wrote into the topic itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::plan::Sent;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 202: kept, at this place.
    Ok {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// 4xx: not in the topic.
    Fail(u16),
    /// Anything else: not known.
    Info(&'static str),
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its `x-request-id`.
    pub id: String,
    /// What it said.
    pub sent: Arc<Sent>,
    /// When its first byte was written.
    pub invoked: Duration,
    /// When its answer had been read.
    pub returned: Duration,
    /// What came of it.
    pub class: Class,
}

/// What the harness wrote into the topic, past the API.
#[derive(Debug, Default)]
pub struct Planted {
    /// Commands, by their request ids: whose dialog they close.
    pub closes: BTreeMap<String, String>,
    /// Records that can never be applied, by their places: the reason that their dead letters must have.
    pub poison: BTreeMap<(i32, i64), &'static str>,
}

/// Collects while the load is on.
#[derive(Debug)]
pub struct History {
    start: Instant,
    attempts: Mutex<Vec<Attempt>>,
    planted: Mutex<Planted>,
    acked: AtomicU64,
    /// Attempts that are on their way.
    pub in_flight: AtomicU64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            attempts: Mutex::default(),
            planted: Mutex::default(),
            acked: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }
}

impl History {
    /// Now, as attempts are stamped.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Notes an attempt.
    pub fn note(&self, attempt: Attempt) {
        if matches!(attempt.class, Class::Ok { .. }) {
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        self.attempts().push(attempt);
    }

    /// Attempts answered with 202 so far.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Attempts with an unknown outcome so far.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.attempts().iter().filter(|attempt| matches!(attempt.class, Class::Info(_))).count()
    }

    /// All attempts.
    pub fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the harness wrote itself.
    pub fn planted(&self) -> MutexGuard<'_, Planted> {
        self.planted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest time without a 202.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let mut times: Vec<Duration> = self
            .attempts()
            .iter()
            .filter(|attempt| matches!(attempt.class, Class::Ok { .. }))
            .map(|attempt| attempt.returned)
            .collect();
        times.sort_unstable();
        times.windows(2).filter_map(|pair| Some(*pair.last()? - *pair.first()?)).max().unwrap_or_default()
    }
}
