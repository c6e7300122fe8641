//! How far each partition is applied, and who owns it. The rows here decide about everything else:
//! the compare-and-set of [`advance`] is the last statement of each transaction (R15), the epoch
//! that [`raise_epochs`] raises fences the former owner (R17).

use std::collections::HashMap;

use schemas::Partition;
use sqlx::PgConnection;

use super::{classify::StoreError, session::within_deadline};
use crate::domain::{
    counters::Counters,
    position::{LastRecord, NextOffset, Offset, OwnerEpoch, RecordDigest, TopicRef},
    progress::Progress,
};

/// Reads the rows of some partitions. A partition without a row is absent from the answer.
pub async fn load(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    partitions: &[Partition],
) -> Result<Vec<Progress>, StoreError> {
    let partitions: Vec<i32> = partitions.iter().map(|partition| partition.0).collect();
    let rows = sqlx::query!(
        "select partition, birth_offset, next_offset, owner_epoch, last_digest, last_offset,
                messages, duplicates, commands, dead_letters, control, skipped, repeated
         from partition_progress
         where topic_ref = $1 and partition = any($2)
         order by partition",
        topic_ref.0,
        &partitions,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let progress = rows.into_iter().map(|row| Progress {
        partition: Partition(row.partition),
        birth_offset: Offset(row.birth_offset),
        next_offset: NextOffset(row.next_offset),
        owner_epoch: OwnerEpoch(row.owner_epoch),
        last_digest: row.last_digest.map(|digest| LastRecord {
            offset: Offset(row.last_offset.unwrap_or(row.next_offset - 1)),
            // One of another length is nobody's: it must not pass for "nothing applied yet".
            digest: RecordDigest(digest.try_into().unwrap_or([0; 32])),
        }),
        counters: Counters {
            messages: row.messages,
            duplicates: row.duplicates,
            commands: row.commands,
            dead_letters: row.dead_letters,
            control: row.control,
        },
        skipped: row.skipped,
        repeated: row.repeated,
    });
    Ok(progress.collect())
}

/// Who took a partition last, and when its row was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whoever it was may have ended since; `None`: nobody yet.
    pub owner: Option<String>,
    /// By the server's own clock.
    pub seconds_ago: i64,
}

/// Who wrote the rows of some partitions, and when: for people. A partition without a row is absent from the answer.
pub async fn written(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    partitions: &[Partition],
) -> Result<HashMap<Partition, Written>, StoreError> {
    let partitions: Vec<i32> = partitions.iter().map(|partition| partition.0).collect();
    let rows = sqlx::query!(
        r#"select partition, owner,
                  greatest(extract(epoch from now() - updated_at)::bigint, 0) as "seconds_ago!"
           from partition_progress
           where topic_ref = $1 and partition = any($2)"#,
        topic_ref.0,
        &partitions,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let written = rows
        .into_iter()
        .map(|row| (Partition(row.partition), Written { owner: row.owner, seconds_ago: row.seconds_ago }));
    Ok(written.collect())
}

/// Takes partitions: raises the owner epoch of each row that is still as it was read and whose partition is not
/// halted. A row that is absent from the answer has moved meanwhile, is held by somebody's transaction, or
/// belongs to a partition that was halted since: read again. A row that is held does not keep the others
/// waiting.
pub async fn raise_epochs(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    seen: &[Progress],
    owner: &str,
) -> Result<Vec<(Partition, OwnerEpoch)>, StoreError> {
    let partitions: Vec<i32> = seen.iter().map(|row| row.partition.0).collect();
    let next_offsets: Vec<i64> = seen.iter().map(|row| row.next_offset.0).collect();
    let epochs: Vec<i64> = seen.iter().map(|row| row.owner_epoch.0).collect();
    let rows = sqlx::query!(
        "with free as materialized (
             select row.partition
             from partition_progress as row
             join unnest($2::integer[], $3::bigint[], $4::bigint[]) as seen (partition, next_offset, owner_epoch)
               on row.partition = seen.partition and row.next_offset = seen.next_offset
                  and row.owner_epoch = seen.owner_epoch
             where row.topic_ref = $1
             for update of row skip locked
         )
         update partition_progress as row
         set owner_epoch = row.owner_epoch + 1, owner = $5, updated_at = now()
         from free
         where row.topic_ref = $1 and row.partition = free.partition
           and not exists (select from halts where halts.topic_ref = $1 and halts.partition = row.partition
                           and halts.resumed_at is null)
         returning row.partition, row.owner_epoch",
        topic_ref.0,
        &partitions,
        &next_offsets,
        &epochs,
        owner,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    Ok(rows.into_iter().map(|row| (Partition(row.partition), OwnerEpoch(row.owner_epoch))).collect())
}

/// One partition's step: from where its owner believes it to be to where its records lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub partition: Partition,
    pub owner_epoch: OwnerEpoch,
    pub from: NextOffset,
    pub to: NextOffset,
    /// The last record of the step; `None` if Kafka explains all its offsets.
    pub last_digest: Option<LastRecord>,
    /// What became of its offsets.
    pub counters: Counters,
}

/// Moves the partitions, each only from where it is expected and only for its owner. Says how many
/// moved: fewer than asked means that the transaction must be rolled back.
pub async fn advance(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    steps: &[Advance],
) -> Result<u64, StoreError> {
    let column = |value: fn(&Advance) -> i64| steps.iter().map(value).collect::<Vec<i64>>();
    let partitions: Vec<i32> = steps.iter().map(|step| step.partition.0).collect();
    let digests: Vec<Option<&[u8]>> =
        steps.iter().map(|step| step.last_digest.as_ref().map(|last| last.digest.0.as_slice())).collect();
    let last_offsets: Vec<Option<i64>> =
        steps.iter().map(|step| step.last_digest.map(|last| last.offset.0)).collect();
    let done = sqlx::query!(
        "update partition_progress as row
         set next_offset = step.next_offset, last_digest = coalesce(step.last_digest, row.last_digest),
             last_offset = nullif(coalesce(step.last_offset, row.last_offset, row.next_offset - 1), step.next_offset - 1),
             messages = row.messages + step.messages, duplicates = row.duplicates + step.duplicates,
             commands = row.commands + step.commands, dead_letters = row.dead_letters + step.dead_letters,
             control = row.control + step.control, updated_at = now()
         from unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[],
                     $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
              as step (partition, owner_epoch, from_offset, next_offset, last_digest, last_offset,
                       messages, duplicates, commands, dead_letters, control)
         where row.topic_ref = $1 and row.partition = step.partition
           and row.next_offset = step.from_offset and row.owner_epoch = step.owner_epoch",
        topic_ref.0,
        &partitions,
        &column(|step| step.owner_epoch.0),
        &column(|step| step.from.0),
        &column(|step| step.to.0),
        &digests as &[Option<&[u8]>],
        &last_offsets as &[Option<i64>],
        &column(|step| step.counters.messages),
        &column(|step| step.counters.duplicates),
        &column(|step| step.counters.commands),
        &column(|step| step.counters.dead_letters),
        &column(|step| step.counters.control),
    );
    let done = within_deadline(done.execute(connection)).await?;
    Ok(done.rows_affected())
}
