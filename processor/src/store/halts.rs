//! Which partitions stand still, and what a person decided about them (R25). A halt is written by the
//! owner that noticed, and stands until [`intervene`] resumes it: across restarts and rebalances.

use std::ops::Range;

use schemas::{Partition, PartitionCount};
use sqlx::{Connection as _, PgConnection};

use super::{classify::StoreError, session::within_deadline};
use crate::domain::{
    halt::StopReason,
    intervention::Effect,
    position::{NextOffset, OwnerEpoch, RecordDigest, TopicRef},
    progress::Progress,
};

/// The partitions that stand still, among some. Index: `halts_standing_topic_ref_partition_key`.
///
/// A reason of `None` was written by a later version of this program: its partition stands still as well.
pub async fn standing(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    partitions: &[Partition],
) -> Result<Vec<(Partition, Option<StopReason>)>, StoreError> {
    let partitions: Vec<i32> = partitions.iter().map(|partition| partition.0).collect();
    let rows = sqlx::query!(
        r#"select partition, reason, numbers::text as "numbers!" from halts
           where topic_ref = $1 and partition = any($2) and resumed_at is null"#,
        topic_ref.0,
        &partitions,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let reasons =
        rows.into_iter().map(|row| (Partition(row.partition), read_reason(&row.reason, &row.numbers)));
    Ok(reasons.collect())
}

fn read_reason(code: &str, numbers: &str) -> Option<StopReason> {
    StopReason::from_stored(code, serde_json::from_str(numbers).ok()?)
}

/// A halt to be written.
#[derive(Debug, Clone)]
pub struct Halt {
    pub partition: Partition,
    pub reason: StopReason,
    /// What was known of the row: a halt is written only while that is still true, so that a former owner, or
    /// one whose takeover took too long, halts nothing.
    pub seen: SeenRow,
}

/// A partition's row as it was when a halt was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenRow {
    Absent,
    Read(NextOffset, OwnerEpoch),
    /// It was not read: an owner decided, whose row moves with its transactions.
    Owned(OwnerEpoch),
}

impl SeenRow {
    const fn columns(self) -> (Option<i64>, Option<i64>) {
        match self {
            Self::Absent => (None, None),
            Self::Read(next_offset, owner_epoch) => (Some(next_offset.0), Some(owner_epoch.0)),
            Self::Owned(owner_epoch) => (None, Some(owner_epoch.0)),
        }
    }
}

/// What became of a halt that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The partition stands still for everybody.
    Standing,
    /// Another owner has the partition: it was not ours to halt.
    Fenced,
}

/// Writes a halt, unless one stands already or the row is not as it was seen. Holds the row meanwhile: who
/// raises its epoch does so before, and fences this halt, or after, and sees it. Index:
/// `halts_standing_topic_ref_partition_key`.
pub async fn record(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    halt: &Halt,
    owner: &str,
) -> Result<Recorded, StoreError> {
    let (next_offset, owner_epoch) = halt.seen.columns();
    let statement = sqlx::query!(
        "with seen as materialized (
             select next_offset, owner_epoch from partition_progress
             where topic_ref = $1 and partition = $2
             for update
         )
         insert into halts (topic_ref, partition, reason, numbers, detail, owner)
         select $1, $2, $3, $4::text::jsonb, $5, $6
         where ($8::bigint is null and not exists (select from seen))
            or exists (select from seen where owner_epoch = $8 and next_offset = coalesce($7, next_offset))
         on conflict (topic_ref, partition) where resumed_at is null do nothing",
        topic_ref.0,
        halt.partition.0,
        halt.reason.as_str(),
        halt.reason.numbers().to_string(),
        halt.reason.to_string(),
        owner,
        next_offset,
        owner_epoch,
    );
    within_deadline(statement.execute(&mut *connection)).await?;
    let stands = !standing(connection, topic_ref, &[halt.partition]).await?.is_empty();
    Ok(if stands { Recorded::Standing } else { Recorded::Fenced })
}

/// A halt that stands, as the command that resumes it needs it.
#[derive(Debug)]
pub struct StandingHalt {
    pub halt_id: i64,
    pub reason: String,
    /// Its reason in a sentence.
    pub detail: String,
    pub owner: String,
}

/// The halt of a partition, if it stands still.
pub async fn find(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    partition: Partition,
) -> Result<Option<StandingHalt>, StoreError> {
    let statement = sqlx::query_as!(
        StandingHalt,
        "select halt_id, reason, detail, owner from halts
         where topic_ref = $1 and partition = $2 and resumed_at is null",
        topic_ref.0,
        partition.0,
    );
    within_deadline(statement.fetch_optional(connection)).await
}

/// What a person did, who it was, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The reason's code: of the halt that is resumed, or of what was done without one.
    pub reason: String,
    /// What else is to be known.
    pub note: String,
    pub operator: String,
}

/// A move of a partition, as a person decided it.
#[derive(Debug)]
pub struct Intervention<'a> {
    pub topic_ref: TopicRef,
    /// The row that was looked at: the move happens only from there.
    pub seen: &'a Progress,
    pub to: NextOffset,
    /// The digest of the record before that place, if it is in the log.
    pub last_digest: Option<RecordDigest>,
    /// What it skips and repeats.
    pub effect: Effect,
    pub halt_id: Option<i64>,
    /// Who, and why.
    pub decision: &'a Decision,
}

/// Why a move did not happen.
#[derive(Debug, thiserror::Error)]
pub enum InterventionError {
    /// Nothing was written, or it is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the partition moved, or another owner took it, while it was looked at: look again")]
    Moved,
    #[error("somebody else has resumed the partition meanwhile")]
    Resumed,
    /// The answer to COMMIT did not come.
    #[error(
        "it is unknown whether it was written: look with `processor halts list` and `processor halts history`"
    )]
    Unknown,
}

/// Moves a partition, ends its halt and writes down who did it, in one transaction. The owner epoch
/// is raised, so that whoever owns the partition now is fenced and reads it again.
#[expect(clippy::disallowed_methods, reason = "not a batch: a person moves a partition")]
pub async fn intervene(
    connection: &mut PgConnection,
    intervention: &Intervention<'_>,
) -> Result<(), InterventionError> {
    let mut transaction = connection.begin().await.map_err(StoreError::from)?;
    if let Some(halt_id) = intervention.halt_id {
        let ended = sqlx::query!(
            "update halts set resumed_at = now() where halt_id = $1 and resumed_at is null",
            halt_id
        );
        let ended = within_deadline(ended.execute(&mut *transaction)).await?;
        if ended.rows_affected() != 1 {
            return Err(InterventionError::Resumed);
        }
    }
    write_down(&mut transaction, intervention).await?;
    let Intervention { topic_ref, seen, to, last_digest, effect, .. } = intervention;
    let moved = sqlx::query!(
        "update partition_progress
         set next_offset = $5, owner_epoch = owner_epoch + 1, last_digest = $6, last_offset = null,
             skipped = skipped + $7, repeated = repeated + $8, updated_at = now()
         where topic_ref = $1 and partition = $2 and next_offset = $3 and owner_epoch = $4",
        topic_ref.0,
        seen.partition.0,
        seen.next_offset.0,
        seen.owner_epoch.0,
        to.0,
        last_digest.as_ref().map(|digest| digest.0.as_slice()),
        effect.skipped_in_all(),
        effect.repeated_in_all(),
    );
    let moved = within_deadline(moved.execute(&mut *transaction)).await?;
    if moved.rows_affected() != 1 {
        return Err(InterventionError::Moved);
    }
    transaction.commit().await.map_err(|_| InterventionError::Unknown)
}

/// Ends the halts that await a switch to `count` partitions, and writes down who made it, a row for each partition: part
/// of the switch's transaction. Says how many ended.
pub async fn end_awaiting_switch(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    count: PartitionCount,
    decision: &Decision,
) -> Result<i64, StoreError> {
    let ended = sqlx::query_scalar!(
        r#"with ended as (
               update halts set resumed_at = now()
               where topic_ref = $1 and reason = 'awaits_switch' and resumed_at is null
               returning halt_id, partition, reason
           ), written as (
               insert into interventions (topic_ref, partition, halt_id, reason, from_offset, to_offset,
                                          skipped, repeated, skipped_in_log, note, operator)
               select row.topic_ref, row.partition, ended.halt_id, coalesce(ended.reason, $3),
                      row.next_offset, row.next_offset, 0, 0, 0, $4, $5
               from partition_progress as row
               left join ended on ended.partition = row.partition
               where row.topic_ref = $1 and (row.partition < $2 or ended.halt_id is not null)
               order by row.partition
           )
           select count(*) as "count!" from ended"#,
        topic_ref.0,
        count.get(),
        decision.reason,
        decision.note,
        decision.operator,
    );
    within_deadline(ended.fetch_one(connection)).await
}

/// Writes down who did something to these partitions that moved none of them, a row for each: part of the transaction of
/// what was done.
pub async fn note(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    partitions: Range<i32>,
    decision: &Decision,
) -> Result<(), StoreError> {
    let statement = sqlx::query!(
        "insert into interventions (topic_ref, partition, reason, from_offset, to_offset,
                                    skipped, repeated, skipped_in_log, note, operator)
         select topic_ref, partition, $4, next_offset, next_offset, 0, 0, 0, $5, $6
         from partition_progress
         where topic_ref = $1 and partition >= $2 and partition < $3
         order by partition",
        topic_ref.0,
        partitions.start,
        partitions.end,
        decision.reason,
        decision.note,
        decision.operator,
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}

async fn write_down(
    connection: &mut PgConnection,
    intervention: &Intervention<'_>,
) -> Result<(), StoreError> {
    let Intervention { topic_ref, seen, to, effect, halt_id, decision, .. } = intervention;
    let statement = sqlx::query!(
        "insert into interventions (topic_ref, partition, halt_id, reason, from_offset, to_offset,
                                    skipped, repeated, skipped_in_log, note, operator)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        topic_ref.0,
        seen.partition.0,
        *halt_id,
        decision.reason,
        seen.next_offset.0,
        to.0,
        effect.skipped_in_all(),
        effect.repeated_in_all(),
        effect.skipped_in_log,
        decision.note,
        decision.operator,
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}
