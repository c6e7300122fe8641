//! Taking partitions up: is the topic the one that was registered, does the log still hold what comes
//! next, is the last applied record the one that stands there now? Only then is the owner epoch raised.
//! A partition that the topic has got since it was registered gets its row here, once the brokers say that
//! it is still the same topic.
//! A partition that fails a check halts with the reason, and its row stays as it was. One that halted
//! before stays so, whatever the checks would say now, until a person resumes it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemas::{Partition, PartitionCount};
use service_kit::retry::Backoff;
use sqlx::PgConnection;

use crate::{
    halt::StopReason,
    kafka::topic::{InspectError, Inspector, LogRange},
    position::{NextOffset, Offset, OwnerEpoch, RecordDigest},
    rules::PartitionRules,
    store::{
        Database, StoreError, halts,
        progress::{self, Progress},
        registry::{self, Topic},
        rules,
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
        /// What its records mean.
        rules: Arc<PartitionRules>,
    },
    /// It must not go on.
    Halted(StopReason),
    /// It was halted before, and nobody has resumed it.
    StillHalted(StopReason),
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
        let standing = halts::standing(&mut connection, self.topic.topic_ref, partitions).await?;
        let is_open = |partition: &&Partition| standing.iter().all(|(halted, _)| halted != *partition);
        let open: Vec<Partition> = partitions.iter().filter(is_open).copied().collect();
        let partitions = open.as_slice();
        let rows = self.rows(&mut connection, partitions, identity.partition_count).await?;
        let ranges = self.ranges(rows.iter().map(|row| row.partition).collect()).await?;
        let mut taken: Vec<(Partition, Takeover)> = partitions
            .iter()
            .filter(|partition| rows.iter().all(|row| row.partition != **partition))
            .map(|partition| (*partition, Takeover::Halted(StopReason::UnregisteredPartition)))
            .collect();
        let (mut sound, halted) = self.check(rows, &ranges).await?;
        taken.extend(halted.into_iter().map(|(partition, reason)| (partition, Takeover::Halted(reason))));
        taken.extend(standing.into_iter().map(|(partition, why)| (partition, Takeover::StillHalted(why))));
        // Between the rows and the compare-and-set on them: a change of the rules raises the epochs.
        let rules = self.rules(&mut connection, &mut sound, &mut taken).await?;
        sound.retain(|row| {
            let offset = row.next_offset.offset();
            let has_records = ranges.get(&row.partition).is_some_and(|range| range.end > offset);
            let waits = rules.get(&row.partition).filter(|rules| has_records && rules.awaits_switch(offset));
            if let Some(rules) = waits {
                let partition_count = rules.count_at(offset).get();
                let reason = StopReason::AwaitsSwitch { offset, partition_count };
                taken.push((row.partition, Takeover::Halted(reason)));
            }
            waits.is_none()
        });
        taken.extend(self.raise_epochs(&mut connection, &sound, (&ranges, &rules)).await?);
        Ok(taken)
    }

    /// The rows of the partitions. One that the topic got since it was registered has none yet.
    async fn rows(
        &self,
        connection: &mut PgConnection,
        partitions: &[Partition],
        count: PartitionCount,
    ) -> Result<Vec<Progress>, TakeError> {
        let topic_ref = self.topic.topic_ref;
        let rows = progress::load(connection, topic_ref, partitions).await?;
        let first = self.topic.partition_count.get();
        if rows.len() == partitions.len() || count.get() <= first {
            return Ok(rows);
        }
        let ranges = self.ranges((first..count.get()).map(Partition).collect()).await?;
        let starts: Vec<(Partition, Offset)> =
            ranges.into_iter().map(|(partition, range)| (partition, range.start)).collect();
        registry::register_more(connection, topic_ref, &starts).await?;
        Ok(progress::load(connection, topic_ref, partitions).await?)
    }

    /// What the records of the partitions mean. A partition whose clients are not applied to the end where
    /// they were before has to wait.
    async fn rules(
        &self,
        connection: &mut PgConnection,
        sound: &mut Vec<Progress>,
        taken: &mut Vec<(Partition, Takeover)>,
    ) -> Result<HashMap<Partition, Arc<PartitionRules>>, TakeError> {
        let partitions: Vec<Partition> = sound.iter().map(|row| row.partition).collect();
        let rules = rules::load(connection, self.topic, &partitions).await?;
        if rules.values().any(|rules| rules.came_with().is_some()) {
            let awaited = rules::counts_awaited(connection, self.topic.topic_ref).await?;
            sound.retain(|row| {
                let came_with = rules.get(&row.partition).and_then(PartitionRules::came_with);
                let waits = came_with.filter(|count| awaited.contains(count));
                if let Some(count) = waits {
                    let reason = StopReason::AwaitsSwitch {
                        offset: row.next_offset.offset(),
                        partition_count: count.get(),
                    };
                    taken.push((row.partition, Takeover::Halted(reason)));
                }
                waits.is_none()
            });
        }
        Ok(rules.into_iter().map(|(partition, rules)| (partition, Arc::new(rules))).collect())
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
            let Some(range) = ranges.get(&row.partition) else {
                continue;
            };
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
            let applied = row.last_digest.map(|last| last.digest);
            let differs = records.get(&row.partition).filter(|record| Some(record.digest()) != applied);
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
        (ranges, rules): (&HashMap<Partition, LogRange>, &HashMap<Partition, Arc<PartitionRules>>),
    ) -> Result<Vec<(Partition, Takeover)>, TakeError> {
        let epochs = progress::take(connection, self.topic.topic_ref, sound, &self.owner).await?;
        let owned = epochs.into_iter().filter_map(|(partition, owner_epoch)| {
            let row = sound.iter().find(|row| row.partition == partition)?;
            let log_end = ranges.get(&partition)?.end;
            let rules = Arc::clone(rules.get(&partition)?);
            Some((partition, Takeover::Owned { next_offset: row.next_offset, owner_epoch, log_end, rules }))
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
pub fn guard(row: &Progress, log: LogRange) -> Result<Option<(Offset, RecordDigest)>, StopReason> {
    let (next_offset, counted) = (row.next_offset, row.accounted());
    if row.gap() != 0 {
        return Err(StopReason::NotConserved { applied: row.applied(), counted });
    }
    if next_offset.offset() < log.start {
        return Err(StopReason::BelowLogStart { next_offset, log_start: log.start });
    }
    if next_offset.offset() > log.end {
        return Err(StopReason::BeyondLogEnd { next_offset, log_end: log.end });
    }
    let last = row.last_digest.filter(|last| last.offset >= log.start);
    Ok(last.map(|last| (last.offset, last.digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fold::Counters, position::LastRecord};

    fn row(birth: i64, next: i64, counted: i64) -> Progress {
        Progress {
            partition: Partition(1),
            birth_offset: Offset(birth),
            next_offset: NextOffset(next),
            owner_epoch: OwnerEpoch(1),
            last_digest: (next > birth)
                .then_some(LastRecord { offset: Offset(next - 1), digest: RecordDigest([7; 32]) }),
            counters: Counters { messages: counted, ..Counters::default() },
            skipped: 0,
            repeated: 0,
        }
    }

    fn log(start: i64, end: i64) -> LogRange {
        LogRange { start: Offset(start), end: Offset(end) }
    }

    #[test]
    fn offsets_that_an_operator_skipped_or_repeated_are_part_of_the_sum() {
        let skipped = Progress { skipped: 4, last_digest: None, ..row(0, 9, 5) };
        assert_eq!(guard(&skipped, log(9, 9)), Ok(None));
        let repeated = Progress { repeated: 4, last_digest: None, ..row(0, 9, 13) };
        assert_eq!(guard(&repeated, log(9, 9)), Ok(None));
    }

    #[test]
    fn a_partition_is_taken_up_only_where_its_log_continues() {
        assert_eq!(guard(&row(0, 0, 0), log(0, 9)), Ok(None), "nothing was applied yet");
        assert_eq!(guard(&row(0, 9, 9), log(0, 9)), Ok(Some((Offset(8), RecordDigest([7; 32])))));
        assert_eq!(guard(&row(0, 5, 5), log(5, 9)), Ok(None), "retention has just reached it");
        let digest = RecordDigest([9; 32]);
        let marker_last =
            Progress { last_digest: Some(LastRecord { offset: Offset(6), digest }), ..row(0, 9, 9) };
        assert_eq!(
            guard(&marker_last, log(0, 9)),
            Ok(Some((Offset(6), digest))),
            "markers follow the record"
        );
        assert_eq!(guard(&marker_last, log(7, 9)), Ok(None), "retention has left the markers alone");
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
