//! One try to apply a batch, or to find out what became of one. Runs as a task of its own that owns
//! its connection, so that nobody can cancel it in the middle of BEGIN or COMMIT (R14): whoever has
//! waited too long walks away and leaves it behind.

use std::{collections::HashSet, sync::Arc, time::Instant};

use schemas::Partition;
use sqlx::PgConnection;

use crate::{
    domain::{
        applied::Applied,
        batch::{Batch, Run},
        decode::Content,
        fold::Cached,
        progress::Progress,
    },
    metrics::Metrics,
    store::{
        Database, StoreError,
        apply::{self, ApplyError, Mode},
        classify::{CLIENTS_KEY, CLIENTS_PAIR, MESSAGES_KEY},
        progress,
        registry::Topic,
        statements,
    },
};

#[derive(Debug, Clone)]
pub enum Work {
    Apply(Arc<Batch>),
    /// Read how far the partitions of the batch are applied.
    Settle(Arc<Batch>),
}

impl Work {
    /// The batch that it is about.
    pub const fn batch(&self) -> &Arc<Batch> {
        match self {
            Self::Apply(batch) | Self::Settle(batch) => batch,
        }
    }

    /// The same without these partitions; `None` if nothing is left.
    pub fn without(&self, partitions: &HashSet<Partition>) -> Option<Self> {
        if partitions.is_empty() {
            return Some(self.clone());
        }
        self.only(|run| !partitions.contains(&run.partition))
    }

    /// The same with these runs alone; `None` if there are none.
    pub fn only(&self, is_meant: impl Fn(&Run) -> bool) -> Option<Self> {
        let runs: Vec<Run> = self.batch().runs.iter().filter(|run| is_meant(run)).cloned().collect();
        let batch = Arc::new(Batch { runs });
        (!batch.is_empty()).then_some(match self {
            Self::Apply(_) => Self::Apply(batch),
            Self::Settle(_) => Self::Settle(batch),
        })
    }
}

#[derive(Debug)]
pub enum Outcome {
    Applied(Applied),
    /// The rows of the batch's partitions, read on a server that can be written to.
    Read(Vec<Progress>),
    /// Neither applied nor read.
    Failed(ApplyError),
}

/// The end of a try.
#[derive(Debug)]
pub struct Ended {
    /// Whether the cache was wrong about one of the batch's clients: nothing that it says about them can be believed.
    pub is_cache_wrong: bool,
    pub outcome: Outcome,
}

/// What batches are applied with.
#[derive(Clone)]
pub struct Tools {
    pub database: Database,
    pub topic: Topic,
    pub metrics: Arc<Metrics>,
}

/// Tries. `cached` is what is known of the batch's clients, `mode` how its messages are written. The connection comes
/// back if it can be used again.
pub async fn attempt(
    Tools { database, topic, metrics }: Tools,
    connection: Option<PgConnection>,
    work: Work,
    cached: Cached,
    mode: Mode,
) -> (Option<PgConnection>, Ended) {
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let since = Instant::now();
            let connected = database.writer().await;
            metrics.processor_connect_seconds.observe(since.elapsed().as_secs_f64());
            match connected {
                Ok(connection) => connection,
                Err(error) => {
                    let outcome = Outcome::Failed(error.into());
                    return (None, Ended { is_cache_wrong: false, outcome });
                }
            }
        }
    };
    let mut is_cache_wrong = false;
    let result = match &work {
        Work::Apply(batch) => {
            let mut applied = apply::apply(&mut connection, topic, batch, cached, mode).await;
            if let Some(constraint) = met(&applied) {
                note_conflict(&metrics, batch, constraint);
                is_cache_wrong = true;
                applied = apply::apply(&mut connection, topic, batch, Cached::default(), Mode::Insert).await;
            }
            applied.map(Outcome::Applied)
        }
        Work::Settle(batch) => {
            let partitions: Vec<Partition> = batch.runs.iter().map(|run| run.partition).collect();
            progress::load(&mut connection, topic.topic_ref, &partitions)
                .await
                .map(Outcome::Read)
                .map_err(ApplyError::from)
        }
    };
    match result {
        Ok(outcome) => (Some(connection), Ended { is_cache_wrong, outcome }),
        Err(error) => {
            let error = confirm(&mut connection, work.batch(), error).await;
            let connection = is_usable(&error).then_some(connection);
            (connection, Ended { is_cache_wrong, outcome: Outcome::Failed(error) })
        }
    }
}

/// The key of a row that was believed to be new and is there already: the belief was wrong, not the batch.
fn met(applied: &Result<Applied, ApplyError>) -> Option<&'static str> {
    let Err(ApplyError::Store(StoreError::Present(constraint))) = applied else { return None };
    [CLIENTS_KEY, MESSAGES_KEY].into_iter().find(|key| key == constraint)
}

fn note_conflict(metrics: &Metrics, batch: &Batch, constraint: &'static str) {
    metrics.processor_copy_conflicts_total.inc();
    tracing::warn!(
        constraint,
        partitions = batch.runs.len(),
        records = batch.len(),
        "a row that was believed to be new is there, applying the batch with care"
    );
}

/// A single record is refused because its client's pair is there: that is its fault only if the pair is
/// another client's. A transaction of ours that became visible late leaves the same pair with the same id.
async fn confirm(connection: &mut PgConnection, batch: &Batch, error: ApplyError) -> ApplyError {
    let ApplyError::Store(StoreError::Record { constraint: Some(constraint), .. }) = &error else {
        return error;
    };
    let message = batch.records().find_map(|record| match &record.content {
        Content::Message(received) => Some(&received.message),
        Content::Close(_) | Content::DeadLetter(_) => None,
    });
    let Some(message) = message.filter(|_| constraint == CLIENTS_PAIR && batch.len() == 1) else {
        return error;
    };
    match statements::owner_of_pair(connection, message).await {
        Ok(Some(owner)) if owner != message.client_id() => error,
        Ok(_) => ApplyError::Unsettled("the client of a record was written meanwhile"),
        Err(asked) => asked.into(),
    }
}

/// After an unknown outcome the rows are read by another connection (R16).
fn is_usable(error: &ApplyError) -> bool {
    match error {
        ApplyError::Store(error) => StoreError::leaves_connection_usable(error),
        ApplyError::Foreign(_) => true,
        ApplyError::Unsettled(_) => false,
    }
}
