//! The messages: a plan of the load tester, valid and new each, brought into a topic through the ingest API in
//! batches of 100. So every reader of the topic gets the same records, made by the product itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use loadtest::plan::{Plan, Settings, Shard, Spread};
use schemas::Timestamp;
use tokio::task::JoinSet;

use crate::{http, lab::Lab};

pub const BATCH: u64 = 100;

/// Requests on their way at once.
const SENDERS: usize = 16;

/// A plan of new messages only, ten a client.
///
/// # Errors
/// Too few or too many.
pub fn plan(messages: u64, seed: u64) -> Result<Plan> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros())?;
    Ok(Plan::new(Settings {
        seed,
        messages,
        clients: u32::try_from(messages / 10)?,
        sources: 20,
        spread: Spread::default(),
        // The alternatives know phones only.
        addresses: 0,
        mix: "valid=1".parse()?,
        shard: Shard::WHOLE,
        base_time: Timestamp::from_micros(micros).context("the clock is far off")?,
    })?)
}

/// Messages `from` up to `to` as the body of a batch.
pub fn batch(plan: &Plan, from: u64, to: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for index in from..to {
        body.extend(plan.body(&plan.request(index)));
        body.push(b'\n');
    }
    body
}

/// A batch as a request.
pub fn batch_request(plan: &Plan, from: u64, to: u64) -> Vec<u8> {
    http::request("/v1/messages/batch", "application/x-ndjson", &batch(plan, from, to))
}

/// Brings a plan into a topic.
///
/// # Errors
/// The API does not take all of it.
pub fn fill(lab: &Lab, topic: &str, plan: Plan) -> Result<()> {
    lab.topic(topic)?;
    let mut api = lab.ingest_api(topic)?;
    let address = api.address.context("the ingest API has no address")?;
    lab.runtime.block_on(send(address, Arc::new(plan)))?;
    api.stop()
}

async fn send(address: SocketAddr, plan: Arc<Plan>) -> Result<()> {
    let (messages, next) = (plan.settings().messages, Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (plan, next) = (Arc::clone(&plan), Arc::clone(&next));
        senders.spawn(async move {
            let mut exchange = http::Exchange::connect(address).await?;
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= messages {
                    return anyhow::Ok(());
                }
                exchange.post(&batch_request(&plan, from, (from + BATCH).min(messages))).await?;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.context("a sender failed")??;
    }
    Ok(())
}
