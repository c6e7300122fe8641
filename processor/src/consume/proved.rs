//! What the last proofs have found, as gauges. Every processor reads it from the tables, so a proof is watched whoever ran
//! it, and wherever. Nothing depends on an answer: without one the gauges stay as they are.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::position::TopicRef,
    metrics::Metrics,
    store::{
        Database, StoreError,
        proofs::{self, LastProofs},
    },
};

/// Proofs come by the hour.
const EVERY: Duration = Duration::from_secs(60);

/// Reads and shows it, without an end.
pub async fn watch(database: Database, topic_ref: TopicRef, metrics: Arc<Metrics>) {
    // What they show is about another topic if the consumer was rebuilt for one.
    metrics.processor_proof_timestamp_seconds.reset();
    metrics.processor_proof_verdict.reset();
    metrics.processor_proof_findings.set(0);
    let mut shown = None;
    loop {
        match look(&database, topic_ref).await {
            Ok(Some(last)) if shown.as_ref() != Some(&last) => {
                show(&metrics, &last);
                shown = Some(last);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the last proofs could not be looked at"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn look(database: &Database, topic_ref: TopicRef) -> Result<Option<LastProofs>, StoreError> {
    let mut connection = database.writer().await?;
    proofs::last(&mut connection, topic_ref).await
}

fn show(metrics: &Metrics, last: &LastProofs) {
    for (scope, at) in [("full", last.full_at), ("since_last", last.since_last_at)] {
        if let Some(at) = at {
            metrics.processor_proof_timestamp_seconds.with_label_values(&[scope]).set(at);
        }
    }
    metrics.processor_proof_findings.set(last.findings);
    // Of the proof that was the newest before.
    metrics.processor_proof_verdict.reset();
    let labels = [last.scope.as_str(), last.verdict.as_str()];
    metrics.processor_proof_verdict.with_label_values(&labels).set(1);
}
