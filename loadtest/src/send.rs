//! One worker, one connection, its clients: each request is sent until it is settled, and only
//! then the next. So a client's messages arrive in the order of the plan, also across retries.
//!
//! A 503, a 429, a broken connection and a passed deadline all mean *unknown*: the same bytes are
//! sent again, with the same message id, after the time the server asked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::header::HeaderValue;
use service_kit::retry::Backoff;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    connection::{Connection, ExchangeError, Reply},
    plan::{Plan, Request},
    stats::{Outcome, Stats},
};

/// How patient the sender is.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long one attempt may take. Longer than the server's own deadline, so that its 503 is seen.
    pub deadline: Duration,
    /// How often one request is sent again.
    pub retries_max: u32,
    /// How long to wait before the first retry, if the server does not say.
    pub backoff_first: Duration,
    /// How long to wait at most, if the server does not say.
    pub backoff_longest: Duration,
}

impl Policy {
    /// What a webhook source that means it does: about two minutes of outage are bridged.
    pub const PATIENT: Self = Self {
        deadline: Duration::from_secs(15),
        retries_max: 60,
        backoff_first: Duration::from_millis(50),
        backoff_longest: Duration::from_secs(2),
    };
}

/// A server that asks for more than this is not waited for any longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Timers end up to a tick of a millisecond late, and the wake-up takes its time too.
const TIMER_TICK: Duration = Duration::from_millis(2);

/// When requests are due: evenly spaced from `start` on, over all connections together.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// When the first one is due.
    pub start: Instant,
    /// Requests a second.
    pub rate: f64,
}

impl Pace {
    /// Depends on nothing that a reply could delay: a slow server cannot slow the schedule down.
    #[must_use]
    pub fn due(&self, index: u64) -> Instant {
        let after = Duration::try_from_secs_f64(index as f64 / self.rate).unwrap_or(Duration::MAX);
        self.start.checked_add(after).unwrap_or(self.start)
    }
}

/// A request was sent as often as allowed without being settled: the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp;

/// The owner of one connection.
pub struct Worker {
    /// What is sent.
    pub plan: Arc<Plan>,
    /// Over what.
    pub connection: Connection,
    /// How patiently.
    pub policy: Policy,
    /// When; without it, as soon as possible.
    pub pace: Option<Pace>,
    /// Where the outcome is noted.
    pub stats: Stats,
}

impl Worker {
    /// Sends what comes through the queue until it is closed.
    ///
    /// # Errors
    /// [`GaveUp`] on the first request that could not be settled.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Vec<Request>>) -> Result<(), GaveUp> {
        while let Some(batch) = requests.recv().await {
            for request in batch {
                let due = self.wait_until_due(request.index).await;
                self.deliver(&request, due).await?;
            }
        }
        Ok(())
    }

    /// Returns the time from which the request's latency counts.
    async fn wait_until_due(&mut self, index: u64) -> Instant {
        let Some(pace) = self.pace else {
            return Instant::now();
        };
        let due = pace.due(index);
        if due <= Instant::now() {
            return due;
        }
        self.connection.idle_until(due).await;
        // Nobody but our own timer made this request late.
        let woken = Instant::now();
        if woken.duration_since(due) <= TIMER_TICK {
            woken
        } else {
            due
        }
    }

    /// The latency counts from when the request was due: what a slow reply does to those behind
    /// it is part of the result.
    async fn deliver(&mut self, request: &Request, due: Instant) -> Result<(), GaveUp> {
        let body = Bytes::from(self.plan.body(request));
        self.stats.sent(request);
        let mut backoff = None;
        let mut attempt = 0;
        loop {
            let request_id = format!("lt-{:012x}-{}-{attempt}", self.plan.run(), request.index);
            let answer = self.attempt(&request_id, body.clone()).await;
            if let Ok(reply) = &answer {
                self.stats.replied(reply.status);
            }
            let (asked_for, unsettled) = match answer {
                Ok(reply) if !asks_to_send_again(reply.status) => {
                    let outcome = Outcome::Reply {
                        code: problem_code(&reply),
                        status: reply.status,
                    };
                    self.stats.settled(request, &request_id, outcome, due.elapsed());
                    return Ok(());
                }
                Ok(reply) => {
                    let code = problem_code(&reply);
                    (
                        reply.retry_after,
                        Outcome::Reply {
                            code,
                            status: reply.status,
                        },
                    )
                }
                Err(reason) => (None, Outcome::NoReply(reason)),
            };
            if attempt == self.policy.retries_max {
                self.stats.settled(request, &request_id, unsettled, due.elapsed());
                return Err(GaveUp);
            }
            let Policy {
                backoff_first,
                backoff_longest,
                ..
            } = self.policy;
            let backoff = backoff.get_or_insert_with(|| Backoff::new(backoff_first, backoff_longest));
            let delay = backoff
                .next_delay()
                .max(asked_for.unwrap_or_default().min(RETRY_AFTER_MAX));
            self.connection.idle_until(Instant::now() + delay).await;
            attempt += 1;
            self.stats.retried();
        }
    }

    async fn attempt(&mut self, request_id: &str, body: Bytes) -> Result<Reply, String> {
        let request_id = HeaderValue::from_str(request_id).map_err(|error| error.to_string())?;
        match timeout(self.policy.deadline, self.connection.exchange(request_id, body)).await {
            Ok(exchange) => exchange.map_err(|error: ExchangeError| error.to_string()),
            Err(_elapsed) => Err(format!("deadline of {:?} passed", self.policy.deadline)),
        }
    }
}

fn asks_to_send_again(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// The `code` of a problem+json body; nothing else of a reply is ever shown.
fn problem_code(reply: &Reply) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Problem {
        code: String,
    }

    if reply.status < 400 {
        return None;
    }
    let Problem { code } = serde_json::from_slice(&reply.body).ok()?;
    let is_code =
        (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_code.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        Reply {
            status,
            retry_after: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn nothing_but_a_code_is_taken_from_a_reply() {
        let code = |body| problem_code(&reply(422, body));
        assert_eq!(
            code(r#"{"code":"wrong_type","detail":"x"}"#).as_deref(),
            Some("wrong_type")
        );
        assert_eq!(code(r#"{"code":"+70000000000"}"#), None);
        assert_eq!(code("<html>"), None);
        assert_eq!(problem_code(&reply(202, r#"{"code":"ok"}"#)), None);
    }

    #[tokio::test]
    async fn requests_are_due_evenly_spaced() {
        let pace = Pace {
            start: Instant::now(),
            rate: 200.0,
        };
        assert_eq!(pace.due(0), pace.start);
        assert_eq!(pace.due(400) - pace.start, Duration::from_secs(2));
    }
}
