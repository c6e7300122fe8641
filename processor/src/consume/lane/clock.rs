//! How long PostgreSQL has owed an answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Since when a lane has waited for PostgreSQL, for whoever wants to know what holds it up.
#[derive(Debug)]
pub struct AttemptClock {
    base: Instant,
    /// Milliseconds after `base`, plus one; 0: nothing is being tried.
    since: AtomicU64,
}

impl AttemptClock {
    pub const fn new(base: Instant) -> Self {
        Self { base, since: AtomicU64::new(0) }
    }

    /// How long PostgreSQL has owed an answer: also over several attempts.
    pub fn unanswered_for(&self, now: Instant) -> Duration {
        match self.since.load(Ordering::Relaxed).checked_sub(1) {
            None => Duration::ZERO,
            Some(since) => now.saturating_duration_since(self.base + Duration::from_millis(since)),
        }
    }

    pub(super) fn tried(&self, now: Instant) {
        let since = u64::try_from((now - self.base).as_millis()).unwrap_or(u64::MAX - 1) + 1;
        // The first of several attempts counts.
        let _tried_before =
            self.since.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed).is_err();
    }

    pub(super) fn answered(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}
