//! A baseline: from here on `prove --since-last` goes on, by a person's decision and not by a proof. For a chain of
//! proofs that is broken because retention has removed records which no proof has looked at, where a full proof
//! takes too long. Nothing is compared; who decided it, and why, stays in table `proofs`.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, bail};
use schemas::Timestamp;
use serde::Serialize;

use super::{
    proofs::{self, BASELINE, Kept},
    scope::Proved,
    snapshot::Snapshot,
};
use crate::{
    kafka::{client::KafkaConfig, topic::Inspector},
    store::{Database, halts::Decision, registry::Registration},
};

/// A baseline that was recorded.
#[derive(Debug, Serialize)]
pub struct Baseline {
    /// Always `baseline`: it is no proof.
    pub verdict: &'static str,
    /// The moment of the next offsets.
    pub at: String,
    /// The proof that went before it.
    pub last_proof: Option<String>,
    /// Offsets applied since that proof, which no proof since the last will look at.
    pub not_proved: i64,
    /// All that in a sentence.
    pub line: String,
}

/// Records where the partitions stand, or, where that is not meant, only says it.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, the topic is not the registered one, or the counters of a partition do not
/// add up: then nothing is recorded.
pub async fn record(
    database: &Database,
    kafka: &KafkaConfig,
    decision: &Decision,
    is_meant: bool,
) -> anyhow::Result<Baseline> {
    let (started, inspector) = (Instant::now(), Arc::new(Inspector::new(kafka)?));
    let identity = inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
    let mut snapshot = Snapshot::take(database, &identity).await.context("cannot read tables")?;
    let Registration::Known(topic) = snapshot.registration else {
        bail!("the topic is not the one that is registered");
    };
    if let Some(row) = snapshot.applied.iter().map(|applied| &applied.progress).find(|row| row.gap() != 0) {
        bail!("the counters of partition {} do not add up: no baseline can begin there", row.partition);
    }
    let last = proofs::last(&mut snapshot.connection, topic.topic_ref).await?;
    let proved: Vec<Proved> =
        snapshot.applied.iter().map(|applied| Proved::all_of(&applied.progress)).collect();
    let not_proved = snapshot.applied.iter().map(|applied| {
        let (row, last) = (&applied.progress, last.iter().flat_map(|last| &last.partitions));
        let proved = last.filter(|proved| proved.partition == row.partition).map(|proved| proved.proved_to.0);
        row.next_offset.0 - proved.max().unwrap_or(row.birth_offset.0)
    });
    let not_proved = not_proved.map(|offsets| offsets.max(0)).sum();
    let kept = Kept {
        at: snapshot.at,
        scope: BASELINE,
        verdict: BASELINE,
        records: 0,
        findings: 0,
        elapsed_seconds: started.elapsed().as_secs_f64(),
        decision: Some((&decision.operator, &decision.note)),
        forgets: false,
    };
    if is_meant {
        let mut connection = database.writer().await?;
        proofs::record(&mut connection, topic.topic_ref, &kept, &proved).await?;
    }
    let mut baseline = baseline(snapshot.at, last.map(|last| last.since.at), not_proved);
    if !is_meant {
        baseline.line.insert_str(0, "dry run, nothing is recorded: ");
    }
    Ok(baseline)
}

fn baseline(at: Timestamp, last_proof: Option<Timestamp>, not_proved: i64) -> Baseline {
    let last_proof = last_proof.map(|at| at.to_string());
    let since = match &last_proof {
        Some(last) => format!("since the last proof, of {last},"),
        None => "so far".to_owned(),
    };
    let line = format!(
        "baseline at {at}: nothing was compared; {not_proved} offsets applied {since} are passed over by \
         `prove --since-last`, a full proof looks at them as far as the log holds them"
    );
    Baseline { verdict: BASELINE, at: at.to_string(), last_proof, not_proved, line }
}
