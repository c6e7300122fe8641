//! Whether the tables hold what the 202s promised: the verdict after a run.
//!
//! The expectation comes from the plan and the receipts ([`crate::ledger`]), never from the tables or the
//! topic: a check that takes its expectation from the table does not see what is missing (pitfalls 85).
//! `processor prove` looks from the other side, from the topic.

mod finding;
mod judge;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use sqlx::types::Uuid;
use tokio::time::Instant;

pub use finding::{Finding, Findings};
pub use judge::{ClientRows, Expected, Promise, judge};

use crate::{
    database::{Database, Reader, Rows},
    ledger::{Ledger, Receipt},
    plan::{ClientIndex, Plan},
};

const CLIENTS_PER_READ: usize = 500;

/// Receipts that are sorted by client at once: about 300 MB. A larger plan is gone through several times.
const RECEIPTS_PER_PASS: u64 = 10_000_000;

/// Time between two looks at how far the tables are.
const WAIT: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Receipts<'a> {
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    /// Whether requests carried several messages: then a message that was sent again may stand behind one
    /// that was answered before it.
    pub in_batches: bool,
}

#[derive(Debug, Default)]
pub struct Verdict {
    /// Messages that had to be there.
    pub promised: u64,
    /// Rows of this run that were read.
    pub rows: u64,
    /// Clients whose rows were compared.
    pub clients: u64,
    /// Rows of an earlier record of their message than the one that the 202 named: Kafka's client wrote the message
    /// twice (ADR 0027). That is allowed, and has no effect.
    pub written_twice: u64,
    pub findings: Findings,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.findings.total() == 0
    }
}

/// Waits until everything that was acknowledged is applied, at most `patience`; whether it is.
pub async fn wait_until_applied(
    database: &Database,
    acknowledged: &std::collections::BTreeMap<i32, i64>,
    patience: Duration,
) -> anyhow::Result<bool> {
    let (mut reader, end) = (database.reader().await?, Instant::now() + patience);
    loop {
        let next_offsets = reader.next_offsets().await?;
        let is_applied =
            |(partition, next): (&i32, &i64)| next_offsets.get(partition).is_some_and(|at| at >= next);
        if acknowledged.iter().all(is_applied) {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        tokio::time::sleep(WAIT).await;
    }
}

/// Waits until so many messages have a row whose ids begin so; whether there are.
pub async fn wait_until_there_are(
    database: &Database,
    id_prefix: &str,
    rows: u64,
    patience: Duration,
) -> anyhow::Result<bool> {
    let (mut reader, end) = (database.reader().await?, Instant::now() + patience);
    while reader.count(id_prefix).await? < rows {
        if Instant::now() >= end {
            return Ok(false);
        }
        tokio::time::sleep(WAIT).await;
    }
    Ok(true)
}

/// Compares all rows of the run's clients with the receipts.
pub async fn verify(receipts: &Receipts<'_>, database: &Database) -> anyhow::Result<Verdict> {
    let (mut reader, mut verdict) = (database.reader().await?, Verdict::default());
    let messages = receipts.plan.settings().messages;
    let passes = u32::try_from(messages.div_ceil(RECEIPTS_PER_PASS).max(1))?;
    for pass in 0..passes {
        let mut expected =
            by_client(receipts, |client| client.0 / receipts.plan.settings().shard.count() % passes == pass);
        expected.sort_by_key(|expected| expected.client);
        for clients in expected.chunks(CLIENTS_PER_READ) {
            compare(receipts, clients, &mut reader, &mut verdict).await?;
        }
    }
    let everywhere = reader.count(receipts.plan.id_prefix()).await?;
    if everywhere != verdict.rows {
        verdict.findings.add(Finding::Strays { rows: everywhere.abs_diff(verdict.rows) });
    }
    Ok(verdict)
}

/// What was promised to each of some clients, in the order of the plan.
fn by_client(receipts: &Receipts<'_>, is_wanted: impl Fn(ClientIndex) -> bool) -> Vec<Expected> {
    let mut clients: HashMap<ClientIndex, Expected> = HashMap::new();
    for request in receipts.plan.requests().filter(|request| is_wanted(request.client)) {
        let receipt = receipts.ledger.get(request.index);
        if receipt != Receipt::NotSent {
            let client = request.client;
            clients.entry(client).or_insert_with(|| Expected::new(client)).add(&request, receipt);
        }
    }
    clients.into_values().collect()
}

async fn compare(
    receipts: &Receipts<'_>,
    clients: &[Expected],
    reader: &mut Reader,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let id = |expected: &Expected| Some(receipts.plan.client(expected.client).client_id().ok()?.as_uuid());
    let ids = clients.iter().map(id).collect::<Option<Vec<Uuid>>>().context("a client without an id")?;
    let Rows { messages, dialogs, clients: found } = reader.rows(&ids, receipts.plan.id_prefix()).await?;
    verdict.rows += messages.len() as u64;
    verdict.clients += ids.len() as u64;
    let mut rows: HashMap<Uuid, ClientRows> = HashMap::new();
    for message in messages {
        rows.entry(message.client_id).or_default().messages.push(message);
    }
    for dialog in dialogs {
        rows.entry(dialog.client_id).or_default().dialogs.push(dialog);
    }
    for client in found {
        let id = client.id;
        rows.entry(id).or_default().client = Some(client);
    }
    for (expected, id) in clients.iter().zip(ids) {
        verdict.promised += expected.promised();
        judge(receipts, expected, rows.remove(&id).unwrap_or_default(), verdict);
    }
    Ok(())
}
