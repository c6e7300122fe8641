//! Taking partitions up: is the topic the one that was registered, does the log still hold what comes
//! next, is the last applied record the one that stands there now? Only then is the owner epoch raised.
//! A partition that fails a check halts with the reason, and its row stays as it was.

use std::{
    collections::HashMap,
    sync::Arc,
    time::Duration,
};

use schemas::Partition;
use service_kit::retry::Backoff;
use sqlx::PgConnection;

use crate::{
    halt::StopReason,
    kafka::topic::{InspectError, Inspector, LogRange},
    position::{NextOffset, Offset, OwnerEpoch, RecordDigest},
    store::{
        Database, StoreError,
        progress::{self, Progress},
        registry::Topic,
    },
};

/// What became of a partition that was to be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeover {
    /// It is ours.
    Owned {
        /// From where it is to be read.
        next_offset: NextOffset,
        /// The stretch of ownership in PostgreSQL.
        owner_epoch: OwnerEpoch,
        /// The end of its log.
        log_end: Offset,
    },
    /// It must not go on.
    Halted(StopReason),
}

/// Takes partitions up.
#[derive(Clone)]
pub struct Taker {
    /// Where the rows are.
    pub database: Database,
    /// Looks at the topic.
    pub inspector: Arc<Inspector>,
    /// The topic as it was registered.
    pub topic: Topic,
    /// Who takes: a name for people, in `partition_progress.owner`.
    pub owner: String,
}

/// An attempt failed for a reason that passes.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("a row moved while its partition was being taken")]
    Moved,
    #[error("a check of the topic panicked")]
    Panicked,
}

impl Taker {
    /// Takes partitions up, however long it takes: without PostgreSQL and Kafka there is nothing else to
    /// do, and meanwhile the poller goes on polling.
    pub async fn take(self, partitions: Vec<Partition>) -> Vec<(Partition, Takeover)> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let mut taken = Vec::with_capacity(partitions.len());
        let mut open = partitions;
        while !open.is_empty() {
            match self.try_take(&open).await {
                Ok(some) => {
                    open.retain(|partition| some.iter().all(|(done, _)| done != partition));
                    taken.extend(some);
                    if open.is_empty() {
                        break;
                    }
                    self.wait(&mut backoff, &TakeError::Moved, open.len()).await;
                }
                Err(error) => self.wait(&mut backoff, &error, open.len()).await,
            }
        }
        taken
    }

    async fn wait(&self, backoff: &mut Backoff, error: &TakeError, partitions: usize) {
        let delay = backoff.next_delay();
        tracing::warn!(%error, partitions, delay_ms = delay.as_millis(), "partitions not taken up, trying again");
        tokio::time::sleep(delay).await;
    }

    /// One try. A partition whose row moved meanwhile is absent from the answer.
    async fn try_take(&self, partitions: &[Partition]) -> Result<Vec<(Partition, Takeover)>, TakeError> {
        let identity = self.inspect(Inspector::identity).await?;
        if identity.topic_id != self.topic.topic_id {
            let reason =
                StopReason::TopicRecreated { registered: self.topic.topic_id, found: identity.topic_id };
            return Ok(partitions.iter().map(|p| (*p, Takeover::Halted(reason.clone()))).collect());
        }
        let mut connection = self.database.writer().await?;
        let rows = progress::load(&mut connection, self.topic.topic_ref, partitions).await?;
        let ranges = self.ranges(rows.iter().map(|row| row.partition).collect()).await?;
        let mut taken: Vec<(Partition, Takeover)> = partitions
            .iter()
            .filter(|partition| rows.iter().all(|row| row.partition != **partition))
            .map(|partition| (*partition, Takeover::Halted(StopReason::UnregisteredPartition)))
            .collect();
        let (sound, halted) = self.check(rows, &ranges).await?;
        taken.extend(halted.into_iter().map(|(partition, reason)| (partition, Takeover::Halted(reason))));
        taken.extend(self.raise_epochs(&mut connection, &sound, &ranges).await?);
        Ok(taken)
    }

    async fn ranges(&self, partitions: Vec<Partition>) -> Result<HashMap<Partition, LogRange>, TakeError> {
        self.inspect(move |inspector| {
            partitions.into_iter().map(|partition| Ok((partition, inspector.log_range(partition)?))).collect()
        })
        .await
    }

    /// Tells the rows that may be taken from those that must not.
    async fn check(
        &self,
        rows: Vec<Progress>,
        ranges: &HashMap<Partition, LogRange>,
    ) -> Result<(Vec<Progress>, Vec<(Partition, StopReason)>), TakeError> {
        let (mut sound, mut halted, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let Some(range) = ranges.get(&row.partition) else { continue };
            match guard(&row, *range) {
                Ok(check) => {
                    places.extend(check.map(|(offset, _)| (row.partition, offset)));
                    sound.push(row);
                }
                Err(reason) => halted.push((row.partition, reason)),
            }
        }
        let records = self.inspect(move |inspector| inspector.records_at(&places)).await?;
        sound.retain(|row| {
            let differs = records.get(&row.partition).filter(|record| Some(record.digest()) != row.last_digest);
            if let Some(record) = differs {
                halted.push((row.partition, StopReason::DigestMismatch { offset: record.offset }));
            }
            differs.is_none()
        });
        Ok((sound, halted))
    }

    async fn raise_epochs(
        &self,
        connection: &mut PgConnection,
        sound: &[Progress],
        ranges: &HashMap<Partition, LogRange>,
    ) -> Result<Vec<(Partition, Takeover)>, TakeError> {
        let epochs = progress::take(connection, self.topic.topic_ref, sound, &self.owner).await?;
        let owned = epochs.into_iter().filter_map(|(partition, owner_epoch)| {
            let row = sound.iter().find(|row| row.partition == partition)?;
            let log_end = ranges.get(&partition)?.end;
            Some((partition, Takeover::Owned { next_offset: row.next_offset, owner_epoch, log_end }))
        });
        Ok(owned.collect())
    }

    /// Asks the brokers on a thread that may block.
    async fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Inspector) -> Result<T, InspectError> + Send + 'static,
    ) -> Result<T, TakeError> {
        let inspector = Arc::clone(&self.inspector);
        let answer = tokio::task::spawn_blocking(move || question(&inspector)).await;
        Ok(answer.map_err(|_| TakeError::Panicked)??)
    }
}

/// Checks a row against itself and the log (R10). Answers with the last applied record, if it is still
/// there to be compared.
///
/// # Errors
/// Why the partition must not be taken up.
fn guard(row: &Progress, log: LogRange) -> Result<Option<(Offset, RecordDigest)>, StopReason> {
    let (next_offset, counted) = (row.next_offset, row.counters.total());
    if row.applied() != counted {
        return Err(StopReason::NotConserved { applied: row.applied(), counted });
    }
    if next_offset.offset() < log.start {
        return Err(StopReason::BelowLogStart { next_offset, log_start: log.start });
    }
    if next_offset.offset() > log.end {
        return Err(StopReason::BeyondLogEnd { next_offset, log_end: log.end });
    }
    let last = Offset(next_offset.0 - 1);
    Ok(row.last_digest.filter(|_| last >= log.start).map(|digest| (last, digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Counters;

    fn row(birth: i64, next: i64, counted: i64) -> Progress {
        Progress {
            partition: Partition(1),
            birth_offset: Offset(birth),
            next_offset: NextOffset(next),
            owner_epoch: OwnerEpoch(1),
            last_digest: (next > birth).then_some(RecordDigest([7; 32])),
            counters: Counters { messages: counted, ..Counters::default() },
        }
    }

    fn log(start: i64, end: i64) -> LogRange {
        LogRange { start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn a_partition_is_taken_up_only_where_its_log_continues() {
        assert_eq!(guard(&row(0, 0, 0), log(0, 9)), Ok(None), "nothing was applied yet");
        assert_eq!(guard(&row(0, 9, 9), log(0, 9)), Ok(Some((Offset(8), RecordDigest([7; 32])))));
        assert_eq!(guard(&row(0, 5, 5), log(5, 9)), Ok(None), "retention has just reached it");
        let next_offset = NextOffset(5);
        assert_eq!(
            guard(&row(0, 5, 5), log(6, 9)),
            Err(StopReason::BelowLogStart { next_offset, log_start: Offset(6) })
        );
        assert_eq!(
            guard(&row(0, 5, 5), log(0, 4)),
            Err(StopReason::BeyondLogEnd { next_offset, log_end: Offset(4) })
        );
        assert_eq!(guard(&row(0, 5, 6), log(0, 9)), Err(StopReason::NotConserved { applied: 5, counted: 6 }));
    }
}
