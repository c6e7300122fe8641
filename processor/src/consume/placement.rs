//! Says to the ingest APIs, for as long as the processor works, over how many partitions the tables spread keys: what a
//! command could not say, or somebody has deleted, is said within one interval. Nothing waits for it: a processor works
//! whether or not the APIs can be told. Never says anything of a topic that is not the registered one.

use std::{sync::Arc, time::Duration};

use schemas::Placement;

use super::decide::another_topic;
use crate::{
    kafka::{
        placement::{AnnounceError, Announcer},
        topic::{InspectError, Inspector},
    },
    store::{
        Database, StoreError,
        registry::{self, RegisteredTopic},
        rules,
    },
};

/// Who says it.
pub struct Keeper {
    pub database: Database,
    pub inspector: Arc<Inspector>,
    /// The topic as it was registered.
    pub registered: RegisteredTopic,
    pub announcer: Arc<Announcer>,
}

#[derive(Debug, thiserror::Error)]
enum UpholdError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Announce(#[from] AnnounceError),
}

impl Keeper {
    /// Says it whenever it has to be said, without an end. What keeps it from being said is logged once.
    pub async fn run(self, every: Duration) {
        let mut told = None;
        loop {
            match self.uphold().await {
                Ok(said) => {
                    if let Some(Placement { partition_count, .. }) = said {
                        let partition_count = partition_count.get();
                        tracing::info!(
                            partition_count,
                            "told the ingest APIs over how many partitions keys are spread"
                        );
                    }
                    told = None;
                }
                Err(error) => {
                    let problem = error.to_string();
                    if told.as_ref() != Some(&problem) {
                        tracing::warn!(
                            problem,
                            "the ingest APIs cannot be told over how many partitions keys are spread"
                        );
                        told = Some(problem);
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// What was said now, if anything.
    async fn uphold(&self) -> Result<Option<Placement>, UpholdError> {
        let found = self.inspector.ask(Inspector::identity).await?;
        if another_topic(&self.registered, &found).is_some() {
            return Ok(None);
        }
        let topic = self.registered.topic;
        let mut connection = self.database.writer().await?;
        let partition_count = rules::count_in_force(&mut connection, topic).await?;
        let others = registry::others(&mut connection, topic, &found.name).await?;
        drop(connection);
        // By a switch, or by accepting this topic in the place of a former one.
        let is_decided =
            partition_count != topic.partition_count || others.iter().any(|(_, is_former)| *is_former);
        let (placement, announcer) = (topic.placement(partition_count), Arc::clone(&self.announcer));
        let said = tokio::task::spawn_blocking(move || announcer.uphold(placement, is_decided)).await;
        Ok(said.unwrap_or(Err(AnnounceError::Panicked))?.then_some(placement))
    }
}
