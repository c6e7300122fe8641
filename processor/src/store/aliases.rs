//! The rows of aliases, written in the transaction of the messages that name them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{classify::StoreError, session::within_deadline};
use crate::domain::{alias::NewAlias, position::TopicRef};

/// Writes aliases that are in the order of their key; what is named already stays as it is. Nothing is sent where there
/// is none, as in nearly all batches. Index: `client_aliases_pkey`.
pub async fn insert(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    aliases: &[NewAlias<'_>],
) -> Result<(), StoreError> {
    if aliases.is_empty() {
        return Ok(());
    }
    let raw = || aliases.iter().map(|alias| alias.raw);
    let offsets: Vec<i64> = raw().map(|raw| raw.offset.0).collect();
    let named_at: Vec<DateTime<Utc>> = raw().map(|raw| raw.appended_at.to_utc()).collect();
    let partitions: Vec<i32> = raw().map(|raw| raw.partition.0).collect();
    let clients: Vec<Uuid> = aliases.iter().map(|alias| alias.client_id.as_uuid()).collect();
    let texts: Vec<&str> = aliases.iter().map(|alias| alias.alias.as_str()).collect();
    let statement = sqlx::query!(
        "insert into client_aliases (record_offset, named_at, partition, topic_ref, client_id, alias)
         select unnest($2::bigint[]), unnest($3::timestamptz[]), unnest($4::integer[]), $1, unnest($5::uuid[]),
                unnest($6::text[])
         on conflict (client_id, alias) do nothing",
        topic_ref.0,
        &offsets,
        &named_at,
        &partitions,
        &clients,
        &texts as &[&str],
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}
