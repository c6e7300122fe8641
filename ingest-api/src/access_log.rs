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
const WINDOW: Duration = Duration::from_secs(1);

/// Whose affair an answer is. Each has lines of its own, so that strangers hide neither what this service could not do
/// nor what it told a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    /// 5xx.
    Ours,
    Producers,
    /// 401, and paths that are none of this service.
    Strangers,
}

impl Concern {
    fn of(request: &Answered<'_>) -> Self {
        match request.status {
            status if status.is_server_error() => Self::Ours,
            StatusCode::UNAUTHORIZED => Self::Strangers,
            _ if request.route == OTHER => Self::Strangers,
            _ => Self::Producers,
        }
    }

    /// Lines of a second, unless all requests get one.
    const fn lines_max(self) -> u32 {
        match self {
            Self::Ours | Self::Producers => 20,
            Self::Strangers => 2,
        }
    }
}

/// The route of a request to none of ours.
pub const OTHER: &str = "other";

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
    budgets: Mutex<Budgets>,
    metrics: Arc<Metrics>,
}

/// The lines of the present second, by concern.
struct Budgets {
    since: Instant,
    lines: [u32; 3],
}

impl AccessLog {
    pub fn new(which: Which, metrics: Arc<Metrics>) -> Self {
        let budgets = Mutex::new(Budgets { since: Instant::now(), lines: [0; 3] });
        Self { which, successes: AtomicU64::new(0), budgets, metrics }
    }

    /// Writes the line of a request, if it gets one.
    pub fn answered(&self, request: Answered<'_>) {
        if !self.gets_a_line(request.status.is_success()) {
            return;
        }
        if self.which != Which::All && !self.has_room(Concern::of(&request), Instant::now()) {
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

    fn has_room(&self, concern: Concern, now: Instant) -> bool {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(budgets.since) >= WINDOW {
            *budgets = Budgets { since: now, lines: [0; 3] };
        }
        let [ours, producers, strangers] = &mut budgets.lines;
        let lines = match concern {
            Concern::Ours => ours,
            Concern::Producers => producers,
            Concern::Strangers => strangers,
        };
        *lines = lines.saturating_add(1);
        *lines <= concern.lines_max()
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
    fn a_second_has_only_so_many_lines_and_strangers_take_none_of_the_others() {
        let (log, start) = (log(Which::Errors), Instant::now());
        let lines = |concern, at| (0..300).filter(|_| log.has_room(concern, start + at)).count();
        for at in [Duration::from_millis(10), Duration::from_millis(1_100)] {
            assert_eq!(lines(Concern::Strangers, at), 2);
            assert_eq!(lines(Concern::Producers, at), 20);
            assert_eq!(lines(Concern::Ours, at), 20);
            assert_eq!(lines(Concern::Ours, at + Duration::from_millis(900)), 0);
        }
    }

    #[rstest]
    #[case::not_known(401, "/v1/messages", Concern::Strangers)]
    #[case::no_path_of_ours(404, OTHER, Concern::Strangers)]
    #[case::a_message_that_breaks_a_rule(422, "/v1/messages", Concern::Producers)]
    #[case::kafka_is_away(503, "/v1/messages", Concern::Ours)]
    fn an_answer_is_somebodys_affair(#[case] status: u16, #[case] route: &str, #[case] concern: Concern) {
        let status = StatusCode::from_u16(status).unwrap();
        let request = Answered { request_id: "1", route, status, code: "x", took: Duration::ZERO };
        assert_eq!(Concern::of(&request), concern);
    }
}
