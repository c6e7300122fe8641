//! What the Redis-lock way doubles and drops. Every message is sent until a worker answers for it, as a webhook
//! source does; so what is missing afterwards was dropped by the way, and what is there twice was doubled by it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use loadtest::plan::Plan;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    WORKERS, Way,
    worker::{Worker, prepare, prepare_clients},
};
use crate::lab::Lab;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub messages: u64,
    /// Active dialogs beyond a client's first.
    pub doubled_dialogs: u64,
    /// Rows beyond a message's first.
    pub doubled_messages: u64,
    /// Messages without a row.
    pub dropped_messages: u64,
    pub killed: u64,
}

struct Queue {
    plan: Plan,
    next: AtomicU64,
    /// Messages whose worker was killed: their sources send them again.
    again: Mutex<Vec<u64>>,
    /// What each worker is at, by its number modulo the workers.
    at: Vec<AtomicU64>,
}

const IDLE: u64 = u64::MAX;

/// Sends a plan, kills a worker every `kill_every`, and counts.
pub fn damage(
    lab: &Lab,
    redis_port: u16,
    plan: Plan,
    database: &str,
    way: Way,
    kill_every: Option<Duration>,
) -> Result<Damage> {
    lab.database(database)?;
    lab.runtime.block_on(async {
        let url = prepare(lab, database).await?;
        prepare_clients(&url, &plan).await?;
        let at = (0..WORKERS).map(|_| AtomicU64::new(IDLE)).collect();
        let queue = Arc::new(Queue { plan, next: AtomicU64::new(0), again: Mutex::default(), at });
        let (mut workers, mut handles) = (JoinSet::new(), Vec::<AbortHandle>::new());
        for place in 0..WORKERS {
            handles.push(workers.spawn(work(Arc::clone(&queue), redis_port, url.clone(), way, place, place as u64)));
        }
        let mut killed = 0_u64;
        loop {
            let pause = kill_every.unwrap_or(Duration::from_secs(3_600));
            tokio::select! {
                ended = workers.join_next() => match ended {
                    None => break,
                    Some(Ok(outcome)) => outcome?,
                    Some(Err(error)) if error.is_cancelled() => {}
                    Some(Err(error)) => return Err(error).context("a worker failed"),
                },
                () = tokio::time::sleep(pause) => {
                    let place = usize::try_from(killed)? * 7 % WORKERS;
                    if let Some(handle) = handles.get_mut(place).filter(|handle| !handle.is_finished()) {
                        handle.abort();
                        killed += 1;
                        queue.return_what(place);
                        let number = WORKERS as u64 + killed;
                        *handle = workers.spawn(work(Arc::clone(&queue), redis_port, url.clone(), way, place, number));
                    }
                }
            }
            if queue.is_over() && workers.is_empty() {
                break;
            }
        }
        count(&url, queue.plan.settings().messages, killed).await
    })
}

impl Queue {
    fn take(&self, place: usize) -> Option<u64> {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let index = again.or_else(|| {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            (index < self.plan.settings().messages).then_some(index)
        });
        self.note(place, index.unwrap_or(IDLE));
        index
    }

    fn note(&self, place: usize, index: u64) {
        if let Some(at) = self.at.get(place) {
            at.store(index, Ordering::Relaxed);
        }
    }

    /// The source of what the killed worker was at gets no answer.
    fn return_what(&self, place: usize) {
        let index = self.at.get(place).map_or(IDLE, |at| at.swap(IDLE, Ordering::Relaxed));
        if index != IDLE {
            self.again.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        }
    }

    fn is_over(&self) -> bool {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.is_empty() && self.next.load(Ordering::Relaxed) >= self.plan.settings().messages
    }
}

async fn work(
    queue: Arc<Queue>,
    redis_port: u16,
    url: String,
    way: Way,
    place: usize,
    number: u64,
) -> Result<()> {
    let mut worker = Worker::new(redis_port, &url, way, number).await?;
    while let Some(index) = queue.take(place) {
        // Whatever became of it, the source got its answer.
        let _done = worker.take(&queue.plan, &queue.plan.request(index)).await?;
        queue.note(place, IDLE);
    }
    Ok(())
}

async fn count(url: &str, messages: u64, killed: u64) -> Result<Damage> {
    let mut connection = PgConnection::connect(url).await?;
    let (doubled_dialogs, doubled_messages, stored): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) - count(distinct client_id) from dialogs where closed_at is null),
                (select count(*) - count(distinct (client_id, external_message_id)) from messages),
                (select count(distinct (client_id, external_message_id)) from messages)",
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(Damage {
        messages,
        doubled_dialogs: u64::try_from(doubled_dialogs)?,
        doubled_messages: u64::try_from(doubled_messages)?,
        dropped_messages: messages.saturating_sub(u64::try_from(stored)?),
        killed,
    })
}
