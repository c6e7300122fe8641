//! Dead letters, to be read and replayed by a person.

use std::collections::HashMap;

use schemas::{ClientId, Partition};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{classify::StoreError, halts::Decision, session::within_deadline};
use crate::domain::{
    position::Offset,
    replay::{Letter, Replayed},
};

/// Which letters. What is not given does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub reason: Option<String>,
    /// Letters whose key is this client's id.
    pub client_id: Option<ClientId>,
    pub partition: Option<Partition>,
    pub offset: Option<Offset>,
    pub topic_id: Option<Uuid>,
    /// Only those that were not replayed.
    pub not_replayed: bool,
}

/// A letter's place: its key, and the order of all letters.
pub type Place = (i16, i32, i64);

/// Before every letter.
pub const START: Place = (0, 0, -1);

/// Some letters after a place, in their order. Index: `dead_letters_pkey`.
pub async fn page(
    connection: &mut PgConnection,
    selection: &Selection,
    after: Place,
    limit: i64,
) -> Result<Vec<Letter>, StoreError> {
    let key = selection.client_id.map(|client_id| client_id.key().into_bytes());
    let rows = sqlx::query!(
        r#"select topic_ref, topics.name as topic, topics.topic_id, partition, record_offset, reason, detail,
                  key, value, headers::text as "headers!",
                  to_char(appended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "appended_at!",
                  to_char(replayed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as replayed_at,
                  replayed_partition, replayed_offset, replay_attempt
           from dead_letters join topics using (topic_ref)
           where (topic_ref, partition, record_offset) > ($1, $2, $3)
             and ($4::text is null or reason = $4)
             and ($5::bytea is null or key = $5)
             and ($6::integer is null or partition = $6)
             and ($7::bigint is null or record_offset = $7)
             and ($8::uuid is null or topics.topic_id = $8)
             and (not $9 or replayed_at is null)
           order by topic_ref, partition, record_offset
           limit $10"#,
        after.0,
        after.1,
        after.2,
        selection.reason,
        key,
        selection.partition.map(|partition| partition.0),
        selection.offset.map(|offset| offset.0),
        selection.topic_id,
        selection.not_replayed,
        limit,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let letters = rows.into_iter().map(|row| Letter {
        topic_ref: row.topic_ref,
        topic: row.topic,
        topic_id: row.topic_id,
        partition: row.partition,
        offset: row.record_offset,
        reason: row.reason,
        detail: row.detail,
        key: row.key,
        value: row.value,
        headers: serde_json::from_str(&row.headers).unwrap_or_default(),
        appended_at: row.appended_at,
        replayed: row.replayed_at.and_then(|at| {
            Some(Replayed {
                at,
                partition: row.replayed_partition?,
                offset: row.replayed_offset?,
                attempt: row.replay_attempt?,
            })
        }),
    });
    Ok(letters.collect())
}

/// The last letter of each partition.
pub async fn ends(connection: &mut PgConnection) -> Result<HashMap<(i16, i32), i64>, StoreError> {
    let rows = sqlx::query!(
        r#"select topic_ref, partition, max(record_offset) as "record_offset!"
           from dead_letters group by topic_ref, partition"#
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    Ok(rows.into_iter().map(|row| ((row.topic_ref, row.partition), row.record_offset)).collect())
}

/// Takes a letter for its replay: until the end of the transaction nobody else can. `false`: somebody
/// has replayed it meanwhile. Index: `dead_letters_pkey`.
pub async fn lock(connection: &mut PgConnection, letter: &Letter) -> Result<bool, StoreError> {
    let free = sqlx::query_scalar!(
        "select partition from dead_letters
         where topic_ref = $1 and partition = $2 and record_offset = $3 and replayed_at is null
         for update",
        letter.topic_ref,
        letter.partition,
        letter.offset,
    );
    let free = within_deadline(free.fetch_optional(connection)).await?;
    Ok(free.is_some())
}

/// Writes down where a replay went, and by whose decision. Index: `dead_letters_pkey`.
pub async fn mark_replayed(
    connection: &mut PgConnection,
    letter: &Letter,
    partition: Partition,
    offset: Offset,
    attempt: i32,
    decision: &Decision,
) -> Result<(), StoreError> {
    let statement = sqlx::query!(
        "update dead_letters
         set replayed_at = now(), replayed_partition = $4, replayed_offset = $5, replay_attempt = $6
         where topic_ref = $1 and partition = $2 and record_offset = $3",
        letter.topic_ref,
        letter.partition,
        letter.offset,
        partition.0,
        offset.0,
        attempt,
    );
    within_deadline(statement.execute(&mut *connection)).await?;
    let statement = sqlx::query!(
        "insert into interventions (topic_ref, partition, reason, from_offset, to_offset,
                                    skipped, repeated, skipped_in_log, note, operator)
         values ($1, $2, $3, $4, $4, 0, 0, 0, $5, $6)",
        letter.topic_ref,
        letter.partition,
        decision.reason,
        letter.offset,
        decision.note,
        decision.operator,
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}
