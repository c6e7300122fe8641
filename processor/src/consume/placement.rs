//! Says to the ingest APIs, for as long as the processor works, over how many partitions the tables spread keys: what a
//! command could not say, or somebody has deleted, is said within one interval. Nothing waits for it: a processor works
//! whether or not the APIs can be told.

use std::{sync::Arc, time::Duration};

use schemas::Placement;

use crate::{
    kafka::placement::{AnnounceError, Announcer},
    store::{
        Database, StoreError,
        registry::{self, Topic},
        rules,
    },
};

#[derive(Debug, thiserror::Error)]
enum UpholdError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Announce(#[from] AnnounceError),
}

/// Says it for as long as it is polled, and writes to the log what keeps it from being said, once.
pub async fn keep(
    database: Database,
    (topic, name): (Topic, String),
    announcer: Arc<Announcer>,
    every: Duration,
) {
    let mut told = None;
    loop {
        match uphold(&database, topic, &name, &announcer).await {
            Ok(Some(Placement { partition_count, .. })) => {
                tracing::info!(partition_count = partition_count.get(), "told the ingest APIs the placement");
                told = None;
            }
            Ok(None) => told = None,
            Err(error) => {
                let problem = error.to_string();
                if told.as_ref() != Some(&problem) {
                    tracing::warn!(problem, "the ingest APIs cannot be told the placement");
                    told = Some(problem);
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// What was said now, if anything.
async fn uphold(
    database: &Database,
    topic: Topic,
    name: &str,
    announcer: &Arc<Announcer>,
) -> Result<Option<Placement>, UpholdError> {
    let mut connection = database.writer().await?;
    let partition_count = rules::count_in_force(&mut connection, topic).await?;
    let others = registry::others(&mut connection, topic, name).await?;
    drop(connection);
    // By a switch, or by accepting this topic in the place of a former one.
    let is_decided =
        partition_count != topic.partition_count || others.iter().any(|(_, is_former)| *is_former);
    let placement = topic.placement(partition_count);
    let announcer = Arc::clone(announcer);
    let said = tokio::task::spawn_blocking(move || announcer.uphold(placement, is_decided)).await;
    Ok(said.unwrap_or(Err(AnnounceError::Panicked))?.then_some(placement))
}
