//! From the plan to the connections, and the end of a run.
//!
//! A client belongs to one connection for the whole run: its order rests on that. Requests reach
//! the workers through bounded queues, a block of the plan at a time; the queues hold requests
//! without their bytes, so a worker that falls behind has seconds of the schedule waiting, not megabytes.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    connection::{Connection, Target},
    plan::{Plan, Request},
    provider::Provider,
    reach::reach,
    schedule::Schedule,
    send::{GaveUp, Manner, Policy, Worker},
    sign::Signer,
    stats::Stats,
    watch::Probes,
};

#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    /// Over how many connections; at least one is used.
    pub connections: usize,
    /// When the plan's requests are due; `None` for as many as the connections carry.
    pub schedule: Option<Schedule>,
    /// Messages in a request to the batch route; `None` for one message a request.
    pub batch: Option<usize>,
    pub signer: Option<Signer>,
    pub provider: Option<Provider>,
    pub policy: Policy,
    /// Then the run ends, whatever is not settled.
    pub time_limit: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Every request of the plan was settled.
    Complete,
    /// One could not be settled; the others would have met the same.
    GaveUp,
    /// The time was up before every request was settled.
    OutOfTime,
    Interrupted,
}

/// How many requests are handed out at once.
const BLOCK: usize = 4096;

/// How many blocks may wait in front of a connection: 65,000 requests in all.
const BLOCKS_WAITING: usize = 16;

/// Sends the plan; `stats` tells meanwhile and afterwards how far it came.
///
/// # Errors
/// The target does not accept connections at the start, or a task failed.
pub async fn run(
    plan: Arc<Plan>,
    options: &Options,
    stats: &Stats,
    probes: Option<Probes>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<(Ended, Duration)> {
    let target = || async { Ok(options.target.connect().await?) };
    drop(reach(target).await.context("the target does not accept connections")?);

    let start = Instant::now();
    let manner = Manner {
        policy: options.policy.clone(),
        schedule: options.schedule,
        start,
        batch: options.batch,
        signer: options.signer.clone(),
        provider: options.provider.clone(),
        probes,
    };
    let mut tasks = JoinSet::new();
    let mut queues = Vec::new();
    for _ in 0..options.connections.max(1) {
        let (requests_tx, requests_rx) = mpsc::channel(BLOCKS_WAITING);
        let connection = Connection::new(options.target.clone());
        let worker = Worker::new(Arc::clone(&plan), connection, manner.clone(), stats.clone());
        tasks.spawn(worker.run(requests_rx));
        queues.push(requests_tx);
    }
    tasks.spawn(hand_out(plan, queues));

    // Dropping the tasks at the return ends those that still run.
    let ended = tokio::select! {
        biased;
        () = stop => Ended::Interrupted,
        ended = all_settled(&mut tasks) => ended?,
        () = tokio::time::sleep(options.time_limit) => Ended::OutOfTime,
    };
    Ok((ended, start.elapsed()))
}

async fn all_settled(tasks: &mut JoinSet<Result<(), GaveUp>>) -> anyhow::Result<Ended> {
    while let Some(task) = tasks.join_next().await {
        if task.context("a task of the load tester failed")? == Err(GaveUp) {
            return Ok(Ended::GaveUp);
        }
    }
    Ok(Ended::Complete)
}

/// Deals the plan out to the connections, by client. Low client numbers are the busy ones: taking
/// turns spreads them evenly. (Within a shard the numbers are equal modulo its count.)
async fn hand_out(plan: Arc<Plan>, queues: Vec<mpsc::Sender<Vec<Request>>>) -> Result<(), GaveUp> {
    let shards = usize::try_from(plan.settings().shard.count()).unwrap_or(1);
    let mut requests = plan.requests().peekable();
    while requests.peek().is_some() {
        let mut shares = vec![Vec::new(); queues.len()];
        for request in requests.by_ref().take(BLOCK) {
            let client = usize::try_from(request.client.0).unwrap_or_default();
            if let Some(share) = shares.get_mut(client / shards % queues.len()) {
                share.push(request);
            }
        }
        for (queue, share) in queues.iter().zip(shares) {
            if !share.is_empty() && queue.send(share).await.is_err() {
                // The worker gave up, and its own result says so.
                return Ok(());
            }
        }
    }
    Ok(())
}
