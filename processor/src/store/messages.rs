//! The messages of a batch, written in one of two ways. [`copy`] takes nothing but new ones: a single one that is there
//! already refuses them all. [`insert`] passes over what is there, and says what it took. Rows are sorted by key, as in
//! [`statements`](super::statements).

use chrono::{DateTime, Utc};
use schemas::{Body, Partition, RequestId, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    classify::{MESSAGES_KEY, StoreError},
    copy::{CopyRows, FIELD_BYTES, ROW_BYTES},
    session::within_deadline,
};
use crate::domain::{
    batch_map::BatchSet,
    fold::{self, NewMessage},
    halt::SchemaFault,
    position::{Offset, TopicRef},
};

const COPY: &str =
    "copy messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id,
                dialog_id, body_hash, external_message_id, request_id, text) from stdin (format binary)";

/// The columns that [`COPY`] names, and what the values of those that have one length take: three numbers, three times,
/// two ids and a hash.
const COLUMNS: i16 = 12;
const FIXED_BYTES: usize = 14 + 24 + 32 + 16;
const FIXED_ROW_BYTES: usize = ROW_BYTES + 12 * FIELD_BYTES + FIXED_BYTES;

/// What the server says itself of a column whose type does not fit.
const DATATYPE_MISMATCH: &str = "42804";

/// Writes messages that are all new. Index: `messages_pkey`, which refuses them all if one of them is not
/// ([`StoreError::Present`]).
///
/// The server waits for the rows within its statement, and none of its timeouts ends that wait: [`super::stuck`] does.
pub async fn copy(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    messages: &mut [NewMessage<'_>],
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    hold_table(connection).await?;
    messages.sort_unstable_by_key(|message| fold::key(message.received));
    let rows = rows(topic_ref, messages);
    let copied = within_deadline(async {
        let mut copy = connection.copy_in_raw(COPY).await?;
        copy.send(rows.as_slice()).await?;
        copy.finish().await
    });
    let copied = copied.await.map_err(ended_within_copy)?;
    if usize::try_from(copied) == Ok(messages.len()) {
        Ok(())
    } else {
        // Somebody's trigger has passed over some: who was it?
        Err(StoreError::Present(MESSAGES_KEY.to_owned()))
    }
}

/// Asks for what COPY does not ask for: is there the key that refuses a second row, and are the columns of exactly the
/// types that their bytes are written in? An insert would cast to another one; COPY would take the bytes as they are, or
/// blame the record. Without a row, but with the lock of a statement that writes one: until the end of the transaction
/// nobody changes the table.
async fn hold_table(connection: &mut PgConnection) -> Result<(), StoreError> {
    let other = sqlx::query_scalar!(
        r#"with held as (
               insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref,
                                     client_id, dialog_id, body_hash, external_message_id, request_id, text)
               select null::bigint, null::timestamptz, null::timestamptz, null::timestamptz, null::integer,
                      null::smallint, null::uuid, null::uuid, null::bytea, null::text, null::text, null::text
               where false
               on conflict (client_id, external_message_id) do nothing
           )
           select asked.name as "name!"
           from (values ('record_offset', pg_typeof((null::messages).record_offset), 'bigint'::regtype),
                        ('appended_at', pg_typeof((null::messages).appended_at), 'timestamptz'),
                        ('received_at', pg_typeof((null::messages).received_at), 'timestamptz'),
                        ('sent_at', pg_typeof((null::messages).sent_at), 'timestamptz'),
                        ('partition', pg_typeof((null::messages).partition), 'integer'),
                        ('topic_ref', pg_typeof((null::messages).topic_ref), 'smallint'),
                        ('client_id', pg_typeof((null::messages).client_id), 'uuid'),
                        ('dialog_id', pg_typeof((null::messages).dialog_id), 'uuid'),
                        ('body_hash', pg_typeof((null::messages).body_hash), 'bytea'),
                        ('external_message_id', pg_typeof((null::messages).external_message_id), 'text'),
                        ('request_id', pg_typeof((null::messages).request_id), 'text'),
                        ('text', pg_typeof((null::messages).text), 'text'))
                as asked (name, found, written)
           where asked.found <> asked.written
           limit 1"#
    );
    let other = within_deadline(other.fetch_optional(connection)).await?;
    other.map_or(Ok(()), |column| {
        Err(StoreError::Tables(Box::new(SchemaFault {
            sqlstate: DATATYPE_MISMATCH.to_owned(),
            table: Some("messages".to_owned()),
            column: Some(column),
            constraint: None,
            routine: None,
        })))
    })
}

/// A session that the server ends within a COPY may have been too much (`transaction_timeout`): its reason is lost, since
/// sqlx reads on for the end of an answer that has none.
fn ended_within_copy(error: StoreError) -> StoreError {
    match error {
        StoreError::Retry(ended @ sqlx::Error::Io(_)) => StoreError::TooMuch(ended),
        error => error,
    }
}

fn rows(topic_ref: TopicRef, messages: &[NewMessage<'_>]) -> Vec<u8> {
    let texts = messages.iter().map(|NewMessage { received, .. }| {
        let message = &received.message;
        let request_id = received.request_id.as_ref().map_or("", RequestId::as_str);
        message.external_message_id().as_str().len() + request_id.len() + message.text().as_str().len()
    });
    let mut rows = CopyRows::with_room(texts.sum::<usize>() + messages.len() * FIXED_ROW_BYTES);
    for NewMessage { record, received, dialog_id, .. } in messages {
        let (raw, message) = (&record.raw, &received.message);
        rows.row(COLUMNS);
        rows.bigint(raw.offset.0);
        rows.timestamptz(raw.appended_at);
        rows.timestamptz(received.received_at);
        rows.optional(message.sent_at(), CopyRows::timestamptz);
        rows.integer(raw.partition.0);
        rows.smallint(topic_ref.0);
        rows.uuid(message.client_id().as_uuid());
        rows.uuid(*dialog_id);
        rows.bytes(&message.body().hash.0);
        rows.text(message.external_message_id().as_str());
        rows.optional(received.request_id.as_ref().map(RequestId::as_str), CopyRows::text);
        rows.text(message.text().as_str());
    }
    rows.finish()
}

/// Writes the messages whose id is free, and says which. Index: `messages_pkey`.
pub async fn insert(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    messages: &mut [NewMessage<'_>],
) -> Result<BatchSet<(Partition, Offset)>, StoreError> {
    if messages.is_empty() {
        return Ok(BatchSet::default());
    }
    messages.sort_unstable_by_key(|message| fold::key(message.received));
    let raw = || messages.iter().map(|message| &message.record.raw);
    let received = || messages.iter().map(|message| message.received);
    let offsets: Vec<i64> = raw().map(|raw| raw.offset.0).collect();
    let appended_at: Vec<DateTime<Utc>> = raw().map(|raw| raw.appended_at.to_utc()).collect();
    let received_at: Vec<DateTime<Utc>> = received().map(|one| one.received_at.to_utc()).collect();
    let sent_at: Vec<Option<DateTime<Utc>>> =
        received().map(|one| one.message.sent_at().map(Timestamp::to_utc)).collect();
    let partitions: Vec<i32> = raw().map(|raw| raw.partition.0).collect();
    let clients: Vec<Uuid> = received().map(|one| one.message.client_id().as_uuid()).collect();
    let dialogs: Vec<Uuid> = messages.iter().map(|message| message.dialog_id).collect();
    let bodies: Vec<Body> = received().map(|one| one.message.body()).collect();
    let hashes: Vec<&[u8]> = bodies.iter().map(|body| body.hash.0.as_slice()).collect();
    let ids: Vec<&str> = received().map(|one| one.message.external_message_id().as_str()).collect();
    let request_ids: Vec<Option<&str>> =
        received().map(|one| one.request_id.as_ref().map(RequestId::as_str)).collect();
    let texts: Vec<&str> = received().map(|one| one.message.text().as_str()).collect();
    let rows = sqlx::query!(
        "insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref,
                               client_id, dialog_id, body_hash, external_message_id, request_id, text)
         select unnest($2::bigint[]), unnest($3::timestamptz[]), unnest($4::timestamptz[]),
                unnest($5::timestamptz[]), unnest($6::integer[]), $1, unnest($7::uuid[]), unnest($8::uuid[]),
                unnest($9::bytea[]), unnest($10::text[]), unnest($11::text[]), unnest($12::text[])
         on conflict (client_id, external_message_id) do nothing
         returning partition, record_offset",
        topic_ref.0,
        &offsets,
        &appended_at,
        &received_at,
        &sent_at as &[Option<DateTime<Utc>>],
        &partitions,
        &clients,
        &dialogs,
        &hashes as &[&[u8]],
        &ids as &[&str],
        &request_ids as &[Option<&str>],
        &texts as &[&str],
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    Ok(rows.into_iter().map(|row| (Partition(row.partition), Offset(row.record_offset))).collect())
}
