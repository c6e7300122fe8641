//! The writes of a batch but for its messages: one statement a table, over arrays. Rows are sorted by key, so
//! that writers that meet on a row wait for each other instead of deadlocking (pitfalls 56). Above each statement
//! stands the index it relies on. Dead letters have one owner each, and need no order.
//!
//! What is inserted is unnested in the list of what is selected, where PostgreSQL takes a value at a time: as a table
//! (`from unnest(…)`) it would first write down each array whole. All arrays of a statement are of one length, so that
//! they run side by side.

use chrono::{DateTime, Utc};
use schemas::{Body, BodyHash, ClientId, Message, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{classify::StoreError, session::within_deadline};
use crate::domain::{
    dead_letter::DeadLetterReason,
    decode::Record,
    fold::{
        ActiveDialog, Bodies, ClientState, ClientStates, ClosedDialog, Ids, MessageKey, NewClient,
        OpenedDialog, TouchedDialog,
    },
    position::TopicRef,
    record::RawRecord,
};

/// What clients are. Index: `clients_pkey`, `dialogs_active_client_id_key`.
pub async fn client_states(
    connection: &mut PgConnection,
    clients: &[ClientId],
) -> Result<ClientStates, StoreError> {
    let ids: Vec<Uuid> = clients.iter().map(|client| client.as_uuid()).collect();
    let rows = sqlx::query!(
        r#"select clients.id, dialogs.id as "active?", dialogs.last_message_at as "last_message_at?"
           from unnest($1::uuid[]) as wanted (id)
           join clients on clients.id = wanted.id
           left join dialogs on dialogs.client_id = clients.id and dialogs.closed_at is null"#,
        &ids,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let mut states: ClientStates = clients.iter().map(|client| (*client, ClientState::default())).collect();
    states.extend(rows.into_iter().map(|row| {
        let last_message_at =
            row.last_message_at.and_then(|at| Timestamp::from_micros(at.timestamp_micros()));
        let active = row.active.map(|id| ActiveDialog { id, last_message_at });
        (ClientId::from_uuid(row.id), ClientState { known: true, active, ids: Ids::Unknown })
    }));
    Ok(states)
}

/// The bodies stored under some message ids. Index: `messages_pkey`. The hash by the rules of version 2 is made
/// of the row's columns: a row does not say which version its record was of, and a text may be long.
pub async fn bodies<'a>(
    connection: &mut PgConnection,
    keys: &[MessageKey<'a>],
) -> Result<Bodies<'a>, StoreError> {
    let clients: Vec<Uuid> = keys.iter().map(|(client, _)| client.as_uuid()).collect();
    let ids: Vec<&str> = keys.iter().map(|(_, id)| *id).collect();
    let rows = sqlx::query!(
        r#"select wanted.position as "position!", messages.body_hash,
                  substring(sha256(
                      convert_to('telex.message.received.v2', 'utf8')
                      || '\x00' || convert_to(messages.client_id::text, 'utf8')
                      || '\x00' || convert_to(messages.external_message_id, 'utf8')
                      || '\x00' || convert_to(messages.text, 'utf8')
                      || '\x00' || convert_to(coalesce(to_char(
                          messages.sent_at at time zone 'utc', 'yyyy-mm-dd"T"hh24:mi:ss.us"Z"'), ''), 'utf8')
                  ) for 16) as "own!"
           from unnest($1::uuid[], $2::text[]) with ordinality as wanted (client_id, external_message_id, position)
           join messages on messages.client_id = wanted.client_id
                        and messages.external_message_id = wanted.external_message_id"#,
        &clients,
        &ids as &[&str],
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let found = rows.into_iter().filter_map(|row| {
        let key = usize::try_from(row.position - 1).ok().and_then(|at| keys.get(at))?;
        let hash = BodyHash(row.body_hash.try_into().ok()?);
        Some((*key, Body { hash, own: BodyHash(row.own.try_into().ok()?) }))
    });
    Ok(found.collect())
}

/// Writes new clients, and says how many were. Index: `clients_pkey`; the unique pair refuses another id for it.
pub async fn insert_clients(
    connection: &mut PgConnection,
    clients: &mut [NewClient<'_>],
) -> Result<u64, StoreError> {
    if clients.is_empty() {
        return Ok(0);
    }
    clients.sort_unstable_by_key(|client| client.first.message.client_id().as_uuid());
    let messages = || clients.iter().map(|client| &client.first.message);
    let ids: Vec<Uuid> = messages().map(|message| message.client_id().as_uuid()).collect();
    let external: Vec<&str> = messages().map(|message| message.external_client_id().as_str()).collect();
    let phones: Vec<&str> = messages().map(|message| message.address().as_str()).collect();
    let created_at: Vec<DateTime<Utc>> = clients.iter().map(|client| client.created_at.to_utc()).collect();
    let done = sqlx::query!(
        "insert into clients (id, external_client_id, client_phone, created_at)
         select unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::timestamptz[])
         on conflict (id) do nothing",
        &ids,
        &external as &[&str],
        &phones as &[&str],
        &created_at,
    );
    let done = within_deadline(done.execute(connection)).await?;
    Ok(done.rows_affected())
}

/// The client that has a message's pair. Index: `clients_external_client_id_client_phone_key`.
pub async fn owner_of_pair(
    connection: &mut PgConnection,
    message: &Message,
) -> Result<Option<ClientId>, StoreError> {
    let id = sqlx::query_scalar!(
        "select id from clients where external_client_id = $1 and client_phone = $2",
        message.external_client_id().as_str(),
        message.address().as_str(),
    );
    Ok(within_deadline(id.fetch_optional(connection)).await?.map(ClientId::from_uuid))
}

/// Closes dialogs. Index: `dialogs_pkey`.
pub async fn close_dialogs(
    connection: &mut PgConnection,
    closed: &mut [ClosedDialog],
) -> Result<(), StoreError> {
    if closed.is_empty() {
        return Ok(());
    }
    closed.sort_unstable_by_key(|dialog| (dialog.client_id.as_uuid(), dialog.id));
    let clients: Vec<Uuid> = closed.iter().map(|dialog| dialog.client_id.as_uuid()).collect();
    let ids: Vec<Uuid> = closed.iter().map(|dialog| dialog.id).collect();
    let closed_at: Vec<DateTime<Utc>> = closed.iter().map(|dialog| dialog.closed_at.to_utc()).collect();
    let reasons: Vec<&str> = closed.iter().map(|dialog| dialog.reason.as_str()).collect();
    let statement = sqlx::query!(
        "update dialogs set closed_at = closed.at, close_reason = closed.reason
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[]) as closed (client_id, id, at, reason)
         where dialogs.client_id = closed.client_id and dialogs.id = closed.id and dialogs.closed_at is null",
        &clients,
        &ids,
        &closed_at,
        &reasons as &[&str],
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}

/// Notes the latest messages of dialogs. Index: `dialogs_pkey`; none holds what changes, so the row's new
/// version stays out of them (HOT).
pub async fn touch_dialogs(
    connection: &mut PgConnection,
    touched: &mut [TouchedDialog],
) -> Result<(), StoreError> {
    if touched.is_empty() {
        return Ok(());
    }
    touched.sort_unstable_by_key(|dialog| (dialog.client_id.as_uuid(), dialog.id));
    let clients: Vec<Uuid> = touched.iter().map(|dialog| dialog.client_id.as_uuid()).collect();
    let ids: Vec<Uuid> = touched.iter().map(|dialog| dialog.id).collect();
    let last: Vec<Option<DateTime<Utc>>> =
        touched.iter().map(|dialog| dialog.last_message_at.map(Timestamp::to_utc)).collect();
    let statement = sqlx::query!(
        "update dialogs set last_message_at = touched.at
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as touched (client_id, id, at)
         where dialogs.client_id = touched.client_id and dialogs.id = touched.id",
        &clients,
        &ids,
        &last as &[Option<DateTime<Utc>>],
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}

/// Opens dialogs. Index: `dialogs_active_client_id_key` refuses a second active one.
pub async fn open_dialogs(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    opened: &mut [OpenedDialog],
) -> Result<(), StoreError> {
    if opened.is_empty() {
        return Ok(());
    }
    opened.sort_unstable_by_key(|dialog| (dialog.client_id.as_uuid(), dialog.id));
    let clients: Vec<Uuid> = opened.iter().map(|dialog| dialog.client_id.as_uuid()).collect();
    let ids: Vec<Uuid> = opened.iter().map(|dialog| dialog.id).collect();
    let opened_at: Vec<DateTime<Utc>> = opened.iter().map(|dialog| dialog.opened_at.to_utc()).collect();
    let closed_at: Vec<Option<DateTime<Utc>>> =
        opened.iter().map(|dialog| dialog.closed.map(|(at, _)| at.to_utc())).collect();
    let reasons: Vec<Option<&str>> =
        opened.iter().map(|dialog| dialog.closed.map(|(_, reason)| reason.as_str())).collect();
    let last: Vec<Option<DateTime<Utc>>> =
        opened.iter().map(|dialog| dialog.last_message_at.map(Timestamp::to_utc)).collect();
    let partitions: Vec<i32> = opened.iter().map(|dialog| dialog.partition.0).collect();
    let offsets: Vec<i64> = opened.iter().map(|dialog| dialog.opened_offset.0).collect();
    let statement = sqlx::query!(
        "insert into dialogs (client_id, id, opened_at, closed_at, close_reason, topic_ref, partition, opened_offset,
                              last_message_at)
         select unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::timestamptz[]), unnest($5::timestamptz[]),
                unnest($6::text[]), $1, unnest($7::integer[]), unnest($8::bigint[]), unnest($9::timestamptz[])",
        topic_ref.0,
        &clients,
        &ids,
        &opened_at,
        &closed_at as &[Option<DateTime<Utc>>],
        &reasons as &[Option<&str>],
        &partitions,
        &offsets,
        &last as &[Option<DateTime<Utc>>],
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}

/// Writes dead letters. Index: `dead_letters_pkey`. A letter is replaced only where an operator has moved
/// the partition back over it: then the log's record at that place is the one that counts.
pub async fn insert_dead_letters(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    dead_letters: &[(&Record, DeadLetterReason)],
) -> Result<(), StoreError> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    let raw = || dead_letters.iter().map(|(record, _)| &record.raw);
    let partitions: Vec<i32> = raw().map(|raw| raw.partition.0).collect();
    let offsets: Vec<i64> = raw().map(|raw| raw.offset.0).collect();
    let reasons: Vec<&str> = dead_letters.iter().map(|(_, reason)| reason.as_str()).collect();
    let details: Vec<String> = dead_letters.iter().map(|(_, reason)| reason.to_string()).collect();
    let keys: Vec<Option<&[u8]>> = raw().map(RawRecord::key).collect();
    let values: Vec<Option<&[u8]>> = raw().map(RawRecord::value).collect();
    let headers: Vec<String> = raw().map(headers_as_json).collect();
    let appended_at: Vec<DateTime<Utc>> = raw().map(|raw| raw.appended_at.to_utc()).collect();
    let statement = sqlx::query!(
        "insert into dead_letters (topic_ref, partition, record_offset, reason, detail, key, value, headers, appended_at)
         select $1, unnest($2::integer[]), unnest($3::bigint[]), unnest($4::text[]), unnest($5::text[]),
                unnest($6::bytea[]), unnest($7::bytea[]), unnest($8::text[])::jsonb, unnest($9::timestamptz[])
         on conflict (topic_ref, partition, record_offset) do update
         set reason = excluded.reason, detail = excluded.detail, key = excluded.key, value = excluded.value,
             headers = excluded.headers, appended_at = excluded.appended_at, replayed_at = null,
             replayed_partition = null, replayed_offset = null, replay_attempt = null",
        topic_ref.0,
        &partitions,
        &offsets,
        &reasons as &[&str],
        &details,
        &keys as &[Option<&[u8]>],
        &values as &[Option<&[u8]>],
        &headers,
        &appended_at,
    );
    within_deadline(statement.execute(connection)).await?;
    Ok(())
}

/// The headers of a record as the column `headers` keeps them. What is not text, or is text that jsonb
/// cannot hold (NUL), stands in hexadecimal.
pub fn headers_as_json(raw: &RawRecord) -> String {
    let headers: Vec<serde_json::Value> = raw
        .headers()
        .map(|(name, value)| {
            let mut header = serde_json::Map::new();
            put_text_or_hex(&mut header, "name", name);
            if let Some(value) = value {
                put_text_or_hex(&mut header, "value", value);
            }
            header.into()
        })
        .collect();
    serde_json::Value::from(headers).to_string()
}

/// Puts bytes into an object: as text under `part`, or in hexadecimal under `part_hex`.
pub fn put_text_or_hex(header: &mut serde_json::Map<String, serde_json::Value>, part: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => header.insert(part.to_owned(), text.into()),
        Ok(_) | Err(_) => header.insert(format!("{part}_hex"), hex::encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use schemas::Partition;

    use super::*;
    use crate::domain::{position::Offset, record::Header};

    #[test]
    fn headers_that_are_not_text_are_kept_in_hexadecimal() {
        let headers: [Header<'_>; 4] =
            [(b"ce_type", Some(b"x")), (b"\xff", Some(b"\xfe\x01")), (b"none", None), (b"nul", Some(b"a\0"))];
        let raw = RawRecord::new(Partition(0), Offset(0), Timestamp::EPOCH, None, None, headers.into_iter());
        assert_eq!(
            headers_as_json(&raw),
            r#"[{"name":"ce_type","value":"x"},{"name_hex":"ff","value_hex":"fe01"},{"name":"none"},{"name":"nul","value_hex":"6100"}]"#
        );
    }
}
