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
use loadtest::plan::{Mix, Plan, Settings, Spread};
use schemas::Timestamp;
use tokio::task::JoinSet;

use crate::{http, lab::Lab};

pub const BATCH: u64 = 100;

/// Who writes the messages of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// The plan's clients, who write about ten messages each.
    Usual,
    /// Each message is another client's: nothing that is remembered of a client is of use.
    NewEachTime,
    /// One client has all of the load, and so has its partition.
    OneClient,
}

impl Writers {
    /// The body of a message of the plan, from its writer; each message keeps its id.
    pub fn body(self, plan: &Plan, index: u64) -> Result<Vec<u8>> {
        let body = plan.body(&plan.request(index));
        let (source, phone) = match self {
            Self::Usual => return Ok(body),
            Self::NewEachTime => (index % 20, index),
            Self::OneClient => (0, 0),
        };
        let mut message: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&body).context("the plan wrote no JSON object")?;
        message.insert("external_client_id".to_owned(), format!("client{source:026}").into());
        message.insert("client_phone".to_owned(), format!("+7000{phone:07}").into());
        Ok(serde_json::to_vec(&message)?)
    }
}

const SENDERS: usize = 16;

/// A plan of new messages only, ten a client.
pub fn plan(messages: u64, seed: u64) -> Result<Plan> {
    plan_of(messages, u32::try_from(messages / 10)?, Spread::default(), seed)
}

/// The same of so many clients.
pub fn plan_of(messages: u64, clients: u32, spread: Spread, seed: u64) -> Result<Plan> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros())?;
    let usual = Settings::usual(Timestamp::from_micros(micros).context("the clock is far off")?);
    // The alternatives know phones only.
    let (addresses, mix) = (0, "valid=1".parse::<Mix>()?);
    Ok(Plan::new(Settings { seed, messages, clients, spread, addresses, mix, ..usual })?)
}

/// Messages `from` up to `to` as a request with a batch.
pub fn batch_request(plan: &Plan, writers: Writers, from: u64, to: u64) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    for index in from..to {
        body.extend(writers.body(plan, index)?);
        body.push(b'\n');
    }
    Ok(http::request("/v1/messages/batch", "application/x-ndjson", &body))
}

/// All messages of a plan as requests.
pub fn single_requests(plan: &Plan, writers: Writers) -> Result<Vec<Vec<u8>>> {
    let request = |index| Ok(http::request("/v1/messages", "application/json", &writers.body(plan, index)?));
    (0..plan.settings().messages).map(request).collect()
}

/// Brings a plan into a new topic.
pub fn fill(lab: &Lab, topic: &str, plan: Plan, writers: Writers) -> Result<()> {
    lab.topic(topic)?;
    add(lab, topic, &[], plan, writers)
}

/// Brings a plan into a topic, through an ingest API with further arguments.
pub fn add(lab: &Lab, topic: &str, arguments: &[&str], plan: Plan, writers: Writers) -> Result<()> {
    let mut api = lab.ingest_api_with(topic, arguments)?;
    let address = api.address.context("the ingest API has no address")?;
    lab.runtime.block_on(send(address, Arc::new(plan), writers))?;
    api.stop()
}

async fn send(address: SocketAddr, plan: Arc<Plan>, writers: Writers) -> Result<()> {
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
                let to = (from + BATCH).min(messages);
                exchange.post(&batch_request(&plan, writers, from, to)?).await?;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.context("a sender failed")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(writers: Writers) -> usize {
        let plan = plan(200, 1).unwrap();
        let client = |index| {
            let body: serde_json::Value =
                serde_json::from_slice(&writers.body(&plan, index).unwrap()).unwrap();
            (body["external_client_id"].to_string(), body["client_phone"].to_string())
        };
        (0..200).map(client).collect::<std::collections::BTreeSet<_>>().len()
    }

    #[test]
    fn each_message_is_another_clients_or_all_are_one_clients() {
        assert_eq!(clients(Writers::NewEachTime), 200);
        assert_eq!(clients(Writers::OneClient), 1);
        assert!((10..200).contains(&clients(Writers::Usual)));
    }
}
