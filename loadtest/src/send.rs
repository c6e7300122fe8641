//! One worker, one connection, its clients: each request is sent until it is settled, and only
//! then the next. So a client's messages arrive in the order of the plan, also across retries.
//!
//! A 503, a 429, a broken connection and a passed deadline all mean *unknown*: the same bytes are
//! sent again, with the same message id, after the time the server asked for. Of a batch, those of its
//! messages are sent again that are not settled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, header::HeaderValue};
use service_kit::retry::Backoff;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    answer::{self, Answer},
    connection::{Connection, ExchangeError, REQUEST_ID, Route},
    plan::{Kind, Plan, Request},
    provider::Provider,
    schedule::Schedule,
    sign::Signer,
    stats::{Outcome, Settlement, Stats},
    watch::Probes,
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

/// The owner of one connection.
pub struct Worker {
    pub plan: Arc<Plan>,
    pub connection: Connection,
    pub manner: Manner,
    /// Where the outcome is noted.
    pub stats: Stats,
}

/// A message on its way.
struct Item {
    request: Request,
    body: Vec<u8>,
}

impl Worker {
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
        let mut open: Vec<Item> = Vec::with_capacity(requests.len());
        for request in requests {
            self.stats.sent(request);
            self.probe(request, due);
            open.push(Item { request: *request, body: self.plan.body(request) });
        }
        let mut backoff = None;
        let mut attempt = 0;
        loop {
            let request_id = self.request_id(&open, attempt);
            let (answers, asked_for) = self.attempt(&request_id, &open).await;
            let is_last = attempt == self.manner.policy.retries_max;
            let mut unsettled = Vec::new();
            for (item, answer) in open.into_iter().zip(answers) {
                if !is_last && asks_to_send_again(&answer.outcome) {
                    unsettled.push(item);
                } else {
                    let Answer { outcome, place } = answer;
                    let latency = due.elapsed();
                    let settlement = Settlement { request_id: &request_id, outcome, latency, attempt, place };
                    self.stats.settled(&item.request, settlement, self.manner.start.elapsed());
                    if is_last {
                        unsettled.push(item);
                    }
                }
            }
            if unsettled.is_empty() {
                return Ok(());
            }
            if is_last {
                return Err(GaveUp);
            }
            open = unsettled;
            let Policy { backoff_first, backoff_longest, .. } = self.manner.policy;
            let backoff = backoff.get_or_insert_with(|| Backoff::new(backoff_first, backoff_longest));
            let delay = backoff.next_delay().max(asked_for.unwrap_or_default().min(RETRY_AFTER_MAX));
            self.connection.idle_until(Instant::now() + delay).await;
            attempt += 1;
            self.stats.retried(self.manner.start.elapsed());
        }
    }

    /// Names one attempt: `lt-{run}-{number of its first message}-{attempt}`.
    fn request_id(&self, open: &[Item], attempt: u32) -> String {
        let first = open.first().map_or(0, |item| item.request.index);
        format!("{}{first}-{attempt}", self.plan.id_prefix())
    }

    fn probe(&self, request: &Request, due: Instant) {
        if let Some(probes) = &self.manner.probes
            && request.kind == Kind::Valid
            && let Ok(client_id) = self.plan.client(request.client).client_id()
        {
            probes.offer(request.index, due, || (client_id, self.plan.external_message_id(request)));
        }
    }

    /// An answer for each item, and the wait that the server asks for.
    async fn attempt(&mut self, request_id: &str, open: &[Item]) -> (Vec<Answer>, Option<Duration>) {
        let route = match &self.manner {
            Manner { provider: Some(_), .. } => Route::Hook,
            Manner { batch: Some(_), .. } => Route::Batch,
            _ => Route::Single,
        };
        let made = body_of(route, open).and_then(|body| Ok((self.headers(request_id, &body)?, body)));
        let (headers, body) = match made {
            Ok(made) => made,
            Err(error) => return (answer::none(&error.to_string(), open.len()), None),
        };
        let exchange = self.connection.exchange(route, headers, body);
        match timeout(self.manner.policy.deadline, exchange).await {
            Ok(Ok(reply)) => {
                let answers = answer::read(route, &reply, open.len());
                for Answer { outcome, .. } in &answers {
                    if let Outcome::Reply { status, .. } = outcome {
                        self.stats.replied(*status);
                    }
                }
                (answers, reply.retry_after)
            }
            Ok(Err(error)) => (answer::none(&ExchangeError::to_string(&error), open.len()), None),
            Err(_elapsed) => {
                let reason = format!("deadline of {:?} passed", self.manner.policy.deadline);
                (answer::none(&reason, open.len()), None)
            }
        }
    }

    fn headers(&self, request_id: &str, body: &[u8]) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(REQUEST_ID, HeaderValue::from_str(request_id)?);
        if let Some(signer) = &self.manner.signer {
            signer.sign(&mut headers, request_id, service_kit::clock::unix_time().as_secs(), body)?;
        }
        if let Some(provider) = &self.manner.provider {
            provider.sign(&mut headers, body)?;
        }
        Ok(headers)
    }
}

/// One message, as it is or as a provider sends it, or one a line.
fn body_of(route: Route, open: &[Item]) -> anyhow::Result<Bytes> {
    /// An empty line is no item; this one is not JSON either, and ends as early.
    const EMPTY: &[u8] = b"{";
    Ok(match (route, open) {
        (Route::Single, [item]) => Bytes::from(item.body.clone()),
        (Route::Hook, [item]) => Bytes::from(Provider::body(&item.body)?),
        _ => {
            let mut body = Vec::with_capacity(open.iter().map(|item| item.body.len() + 1).sum());
            for Item { body: line, .. } in open {
                body.extend_from_slice(if line.is_empty() { EMPTY } else { line });
                body.push(b'\n');
            }
            Bytes::from(body)
        }
    })
}

fn asks_to_send_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reply { status: 429 | 503, .. } | Outcome::NoReply(_))
}
