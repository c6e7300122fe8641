//! What a connection does, and when it has to be closed. Noted by the heads and the requests of one connection, read by
//! the one who may close it; time is an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;

use crate::config::Limits;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To send a head to its end, and to say a first word at all.
    pub head: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

impl Deadlines {
    pub const fn new(limits: &Limits) -> Self {
        Self { head: limits.header_deadline, idle: limits.idle_deadline }
    }
}

/// For how long a connection may be idle on which nothing has been taken yet. Who has shown no credential has no
/// claim to a place among the open connections.
const STRANGERS_IDLE: Duration = Duration::from_secs(75);

/// How a connection ended: the label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In good order, by either side.
    Closed,
    /// Nothing was asked for too long after an answer.
    Idle,
    /// No head, or half of one, within the deadline.
    HeadTimeout,
    /// The TLS handshake was not finished, or failed.
    Handshake,
    /// What came is not HTTP/1.1.
    NotHttp,
    Broken,
}

impl End {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::HeadTimeout => "head_timeout",
            Self::Handshake => "tls_handshake",
            Self::NotHttp => "not_http",
            Self::Broken => "broken",
        }
    }
}

/// What a connection does, seen by the one who may close it. Times are in milliseconds after `opened`.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    begun: AtomicU64,
    /// When the last one ended.
    last_end_ms: AtomicU64,
    /// When the head began of which a part is there; [`NO_HEAD`] if none is.
    head_since_ms: AtomicU64,
    /// The request of whose body more is to come, or may be; 0 if nothing is.
    unread: AtomicU64,
    /// An answer was given to a request that was not read to its end.
    is_cut_short: AtomicBool,
    is_known: AtomicBool,
}

const NO_HEAD: u64 = u64::MAX;

impl Activity {
    pub fn new(opened: Instant) -> Self {
        Self {
            opened,
            in_flight: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            last_end_ms: AtomicU64::new(0),
            head_since_ms: AtomicU64::new(NO_HEAD),
            unread: AtomicU64::new(0),
            is_cut_short: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
        }
    }

    /// More of the body of the request with this number is to come, or may be; of none if it is 0.
    pub fn body_is_unread(&self, request: u64) {
        self.unread.store(request, Ordering::Release);
    }

    /// Notes the answer to the request with this number. Says whether the connection has to be closed, because the
    /// sender is still writing.
    pub fn answered(&self, request: u64, status: StatusCode) -> bool {
        if status.is_success() {
            self.is_known.store(true, Ordering::Release);
        }
        let is_cut_short = !status.is_success() && self.unread.load(Ordering::Acquire) == request;
        self.is_cut_short.fetch_or(is_cut_short, Ordering::AcqRel);
        is_cut_short
    }

    /// Whether an answer was given to a request that was not read to its end.
    pub fn is_cut_short(&self) -> bool {
        self.is_cut_short.load(Ordering::Acquire)
    }

    /// A part of a head is there since then, or no part of one.
    pub fn head_begins(&self, at: Option<Instant>) {
        self.head_since_ms.store(at.map_or(NO_HEAD, |at| self.milliseconds(at)), Ordering::Release);
    }

    /// When the connection has to be closed if nothing more comes, and why; `None` while a request is in
    /// flight, which has deadlines of its own.
    pub fn due(&self, deadlines: Deadlines) -> Option<(Instant, End)> {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return None;
        }
        let head_since = self.head_since_ms.load(Ordering::Acquire);
        let (since, allowed, end) = if self.begun.load(Ordering::Acquire) == 0 {
            (0, deadlines.head, End::HeadTimeout)
        } else if head_since != NO_HEAD {
            (head_since, deadlines.head, End::HeadTimeout)
        } else {
            let is_known = self.is_known.load(Ordering::Acquire);
            let idle = if is_known { deadlines.idle } else { deadlines.idle.min(STRANGERS_IDLE) };
            (self.last_end_ms.load(Ordering::Acquire), idle, End::Idle)
        };
        Some((self.opened + Duration::from_millis(since) + allowed, end))
    }

    /// A request begins: its number on this connection, from 1, and what counts until its end.
    pub fn begin(self: &Arc<Self>) -> (u64, InFlight) {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        (number, InFlight(Arc::clone(self)))
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.opened).as_millis()).unwrap_or(NO_HEAD - 1)
    }
}

/// One request; its end counts also when hyper drops it.
pub struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.last_end_ms.store(self.0.milliseconds(Instant::now()), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines { head: Duration::from_secs(5), idle: Duration::from_secs(620) };

    #[test]
    fn a_connection_has_the_heads_deadline_or_the_idle_one_or_none() {
        let opened = Instant::now();
        let seconds = |seconds| opened + Duration::from_secs(seconds);
        let activity = Arc::new(Activity::new(opened));
        assert_eq!(activity.due(DEADLINES), Some((seconds(5), End::HeadTimeout)), "no word yet");
        activity.head_begins(Some(seconds(4)));
        assert_eq!(activity.due(DEADLINES), Some((seconds(5), End::HeadTimeout)), "a late first word");
        activity.head_begins(None);
        let (number, in_flight) = activity.begin();
        assert_eq!((number, activity.due(DEADLINES)), (1, None), "in flight");
        drop(in_flight);
        let (at, end) = activity.due(DEADLINES).unwrap();
        assert!((seconds(75)..seconds(76)).contains(&at) && end == End::Idle, "nothing was taken");
        activity.answered(1, StatusCode::ACCEPTED);
        let (at, _) = activity.due(DEADLINES).unwrap();
        assert!((seconds(620)..seconds(621)).contains(&at));
        activity.head_begins(Some(seconds(60)));
        assert_eq!(activity.due(DEADLINES), Some((seconds(65), End::HeadTimeout)), "the next head");
        assert_eq!(activity.begin().0, 2);
    }

    #[test]
    fn a_connection_is_closed_after_an_answer_to_half_a_request_only() {
        let activity = Activity::new(Instant::now());
        activity.body_is_unread(2);
        assert!(!activity.answered(1, StatusCode::UNAUTHORIZED), "the next one is under way already");
        assert!(!activity.answered(2, StatusCode::ACCEPTED), "in chunks, whose end is not looked for");
        assert!(!activity.is_cut_short());
        assert!(activity.answered(2, StatusCode::UNAUTHORIZED));
        assert!(activity.is_cut_short());
    }
}
