//! The access log: a line for a request, with the id that its answer, its record and its row carry, and nothing of what
//! was sent. Strangers cause some of its lines, so a second has only so many.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;

use crate::metrics::Metrics;

/// Which requests get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// None.
    Off,
    /// Those that are not answered 2xx.
    Errors,
    /// The same, and one in a thousand of the others.
    Sampled,
    /// All, however many there are.
    All,
}

/// One in so many.
const SAMPLE: u64 = 1_000;
/// Of a second, unless all requests get one.
const LINES_MAX: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// What is said of a request.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub request_id: &'a str,
    /// As it was declared, never as it was sent.
    pub route: &'a str,
    pub status: StatusCode,
    pub code: &'a str,
    pub took: Duration,
}

pub struct AccessLog {
    which: Which,
    successes: AtomicU64,
    budget: Mutex<Budget>,
    metrics: Arc<Metrics>,
}

/// The lines of the present second.
struct Budget {
    since: Instant,
    lines: u32,
}

impl AccessLog {
    pub fn new(which: Which, metrics: Arc<Metrics>) -> Self {
        let budget = Mutex::new(Budget { since: Instant::now(), lines: 0 });
        Self { which, successes: AtomicU64::new(0), budget, metrics }
    }

    /// Writes the line of a request, if it gets one.
    pub fn answered(&self, request: Answered<'_>) {
        if !self.gets_a_line(request.status.is_success()) {
            return;
        }
        if self.which != Which::All && !self.has_room(Instant::now()) {
            self.metrics.ingest_access_lines_dropped_total.inc();
            return;
        }
        let Answered { request_id, route, status, code, took } = request;
        let duration_ms = took.as_secs_f64() * 1_000.0;
        tracing::info!(request_id, route, status = status.as_u16(), code, duration_ms, "request");
    }

    fn gets_a_line(&self, is_success: bool) -> bool {
        match (self.which, is_success) {
            (Which::Off, _) | (Which::Errors, true) => false,
            (Which::Errors | Which::Sampled, false) | (Which::All, _) => true,
            (Which::Sampled, true) => self.successes.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE),
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(budget.since) >= WINDOW {
            *budget = Budget { since: now, lines: 0 };
        }
        budget.lines = budget.lines.saturating_add(1);
        budget.lines <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn log(which: Which) -> AccessLog {
        AccessLog::new(which, Arc::new(Metrics::new().unwrap()))
    }

    #[rstest]
    #[case::off(Which::Off, 0, 0)]
    #[case::errors(Which::Errors, 0, 3_000)]
    #[case::sampled(Which::Sampled, 3, 3_000)]
    #[case::all(Which::All, 3_000, 3_000)]
    fn each_kind_of_log_has_its_lines(#[case] which: Which, #[case] successes: usize, #[case] errors: usize) {
        let log = log(which);
        let lines = |is_success| (0..3_000).filter(|_| log.gets_a_line(is_success)).count();
        assert_eq!((lines(true), lines(false)), (successes, errors));
    }

    #[test]
    fn a_second_has_only_so_many_lines() {
        let (log, start) = (log(Which::Errors), Instant::now());
        let lines = |at: Duration| (0..3 * LINES_MAX).filter(|_| log.has_room(start + at)).count();
        assert_eq!(lines(Duration::from_millis(10)), 100);
        assert_eq!(lines(Duration::from_millis(900)), 0);
        assert_eq!(lines(Duration::from_millis(1_100)), 100);
    }
}
