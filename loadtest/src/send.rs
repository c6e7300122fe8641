//! One worker, one connection, its clients: each request is sent until it is settled, and only
//! then the next. So a client's messages arrive in the order of the plan, also across retries.
//!
//! A 503, a 429, a broken connection and a passed deadline all mean *unknown*: the same bytes are
//! sent again, with the same message id, after the time the server asked for. Of a batch, those of its
//! messages are sent again that are not settled.

use std::{fmt::Write as _, ops::Range, pin::Pin, sync::Arc, time::Duration};

use http::HeaderMap;
use service_kit::retry::Backoff;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep},
};

use crate::{
    answer::{self, Answer},
    connection::{Connection, Post, Route},
    plan::{Kind, Plan, Request},
    provider::Provider,
    schedule::Schedule,
    sign::Signer,
    stats::{Outcome, Settlement, Stats},
    watch::Probes,
};

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

/// Timers end up to a millisecond late, with ticks a little more ([`crate::tick`]), and the wake-up takes its
/// time too.
const TIMER_TICK: Duration = Duration::from_millis(2);

/// A request was sent as often as allowed without being settled: the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp;

/// How requests are made, the same for every worker.
#[derive(Clone)]
pub struct Manner {
    pub policy: Policy,
    /// When requests are due after `start`; without it, as soon as possible.
    pub schedule: Option<Schedule>,
    pub start: Instant,
    /// Messages in a request; one goes to `/v1/messages`.
    pub batch: Option<usize>,
    /// Who it is from; without it, nobody says.
    pub signer: Option<Signer>,
    /// Sends each message as a provider, to its hook.
    pub provider: Option<Provider>,
    /// Where samples are sent to whose rows are waited for.
    pub probes: Option<Probes>,
}

pub struct Worker {
    plan: Arc<Plan>,
    connection: Connection,
    manner: Manner,
    stats: Stats,
    scratch: Scratch,
    /// Of the attempt under way. One timer that is put off costs less than a new one each time.
    deadline: Pin<Box<Sleep>>,
}

/// What is written again for each request, so that sending allocates next to nothing.
#[derive(Default)]
struct Scratch {
    /// The bodies of the messages on their way, one after the other.
    bodies: Vec<u8>,
    payload: Vec<u8>,
    request_id: String,
}

struct Item {
    request: Request,
    /// In the bodies.
    body: Range<usize>,
}

impl Manner {
    fn route(&self) -> Route {
        match self {
            Self { provider: Some(_), .. } => Route::Hook,
            Self { batch: Some(_), .. } => Route::Batch,
            _ => Route::Single,
        }
    }
}

impl Worker {
    /// Connects at the first request; has to be called within a runtime.
    pub fn new(plan: Arc<Plan>, connection: Connection, manner: Manner, stats: Stats) -> Self {
        let deadline = Box::pin(sleep(manner.policy.deadline));
        Self { plan, connection, manner, stats, scratch: Scratch::default(), deadline }
    }

    /// Sends what comes through the queue until it is closed.
    ///
    /// # Errors
    /// [`GaveUp`] on the first request that could not be settled.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Vec<Request>>) -> Result<(), GaveUp> {
        let batch = self.manner.batch.unwrap_or(1).max(1);
        let mut gathered = Vec::with_capacity(batch);
        while let Some(block) = requests.recv().await {
            for request in block {
                gathered.push(request);
                if gathered.len() >= batch {
                    self.deliver(&gathered).await?;
                    gathered.clear();
                }
            }
        }
        if gathered.is_empty() { Ok(()) } else { self.deliver(&gathered).await }
    }

    /// Returns the time from which the request's latency counts.
    async fn wait_until_due(&mut self, index: u64) -> Instant {
        let Manner { schedule: Some(schedule), start, .. } = &self.manner else {
            return Instant::now();
        };
        let due = start.checked_add(schedule.due(index)).unwrap_or(*start);
        if due <= Instant::now() {
            return due;
        }
        self.connection.idle_until(due).await;
        // Nobody but our own timer made this request late.
        let woken = Instant::now();
        if woken.duration_since(due) <= TIMER_TICK { woken } else { due }
    }

    /// Sends one request, a batch of several. The latency counts from when it was due, a batch from when
    /// its last message was: what a slow reply does to those behind it is part of the result.
    async fn deliver(&mut self, requests: &[Request]) -> Result<(), GaveUp> {
        let Some(last) = requests.last() else { return Ok(()) };
        let due = self.wait_until_due(last.index).await;
        let mut open = self.take_up(requests, due);
        let (mut backoff, mut attempt) = (None, 0);
        loop {
            self.name(&open, attempt);
            let (answers, asked_for) = self.attempt(&open).await;
            self.settle(&mut open, answers, due, attempt);
            if open.is_empty() {
                return Ok(());
            }
            let Policy { retries_max, backoff_first, backoff_longest, .. } = self.manner.policy;
            if attempt == retries_max {
                return Err(GaveUp);
            }
            let backoff = backoff.get_or_insert_with(|| Backoff::new(backoff_first, backoff_longest));
            let delay = backoff.next_delay().max(asked_for.unwrap_or_default().min(RETRY_AFTER_MAX));
            self.connection.idle_until(Instant::now() + delay).await;
            attempt += 1;
            self.stats.retried(self.manner.start.elapsed());
        }
    }

    /// Writes the messages, and counts them as sent.
    fn take_up(&mut self, requests: &[Request], due: Instant) -> Vec<Item> {
        let bodies = &mut self.scratch.bodies;
        bodies.clear();
        let mut open = Vec::with_capacity(requests.len());
        for request in requests {
            self.stats.sent(request);
            if let Some(probes) = &self.manner.probes
                && request.kind == Kind::Valid
            {
                probes.offer(request.index, due, || {
                    let client_id = self.plan.client(request.client).client_id().ok()?;
                    Some((client_id, self.plan.external_message_id(request)))
                });
            }
            let from = bodies.len();
            self.plan.write_body(request, bodies);
            open.push(Item { request: *request, body: from..bodies.len() });
        }
        open
    }

    /// Names one attempt: `lt-{run}-{number of its first message}-{attempt}`.
    fn name(&mut self, open: &[Item], attempt: u32) {
        let first = open.first().map_or(0, |item| item.request.index);
        let request_id = &mut self.scratch.request_id;
        request_id.clear();
        // Writing to a string does not fail.
        write!(request_id, "{}{first}-{attempt}", self.plan.id_prefix()).unwrap_or_default();
    }

    /// Notes what has come to its end; what has to be sent again stays open, also after the last attempt.
    fn settle(&self, open: &mut Vec<Item>, answers: Vec<Answer>, due: Instant, attempt: u32) {
        let is_last = attempt == self.manner.policy.retries_max;
        let mut answers = answers.into_iter();
        open.retain(|item| {
            let Some(Answer { outcome, place }) = answers.next() else { return true };
            let again = asks_to_send_again(&outcome);
            if is_last || !again {
                let (request_id, latency) = (self.scratch.request_id.as_str(), due.elapsed());
                let settlement = Settlement { request_id, outcome, latency, attempt, place };
                self.stats.settled(&item.request, settlement, self.manner.start.elapsed());
            }
            again
        });
    }

    /// An answer for each item, and the wait that the server asks for.
    async fn attempt(&mut self, open: &[Item]) -> (Vec<Answer>, Option<Duration>) {
        let (route, deadline) = (self.manner.route(), self.manner.policy.deadline);
        let none = |reason: &str| (answer::none(reason, open.len()), None);
        let headers = match self.prepare(route, open) {
            Ok(headers) => headers,
            Err(error) => return none(&error.to_string()),
        };
        let Scratch { payload, request_id, .. } = &self.scratch;
        let post = Post { route, request_id, headers: headers.as_ref(), body: payload };
        self.deadline.as_mut().reset(Instant::now() + deadline);
        let reply = tokio::select! {
            biased;
            reply = self.connection.exchange(&post) => reply,
            () = self.deadline.as_mut() => return none(&format!("deadline of {deadline:?} passed")),
        };
        match reply {
            Ok(reply) => {
                let answers = answer::read(route, &reply, open.len());
                for Answer { outcome, .. } in &answers {
                    if let Outcome::Reply { status, .. } = outcome {
                        self.stats.replied(*status);
                    }
                }
                (answers, reply.retry_after)
            }
            Err(error) => none(&error.to_string()),
        }
    }

    /// Writes what an attempt carries; the headers that sign it.
    fn prepare(&mut self, route: Route, open: &[Item]) -> anyhow::Result<Option<HeaderMap>> {
        let Scratch { bodies, payload, request_id } = &mut self.scratch;
        write_payload(route, bodies, open, payload)?;
        let Manner { signer, provider, .. } = &self.manner;
        if signer.is_none() && provider.is_none() {
            return Ok(None);
        }
        let mut headers = HeaderMap::with_capacity(8);
        if let Some(signer) = signer {
            signer.sign(&mut headers, request_id, service_kit::clock::unix_time().as_secs(), payload)?;
        }
        if let Some(provider) = provider {
            provider.sign(&mut headers, payload)?;
        }
        Ok(Some(headers))
    }
}

/// One message, as it is or as a provider sends it, or one a line.
fn write_payload(route: Route, bodies: &[u8], open: &[Item], payload: &mut Vec<u8>) -> anyhow::Result<()> {
    /// An empty line is no item; this one is not JSON either, and ends as early.
    const EMPTY: &[u8] = b"{";
    payload.clear();
    let body = |item: &Item| bodies.get(item.body.clone()).unwrap_or_default();
    match (route, open) {
        (Route::Single, [item]) => payload.extend_from_slice(body(item)),
        (Route::Hook, [item]) => payload.extend_from_slice(&Provider::body(body(item))?),
        _ => {
            for line in open.iter().map(body) {
                payload.extend_from_slice(if line.is_empty() { EMPTY } else { line });
                payload.push(b'\n');
            }
        }
    }
    Ok(())
}

fn asks_to_send_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reply { status: 429 | 503, .. } | Outcome::NoReply(_))
}
