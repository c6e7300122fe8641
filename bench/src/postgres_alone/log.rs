//! The log table: what a topic is to Telex.

use anyhow::{Context as _, Result};
use dev_env::programs::PARTITIONS;
use schemas::{Message, PartitionCount};
use sqlx::{
    Connection as _, PgConnection,
    types::{
        Uuid,
        chrono::{DateTime, Utc},
    },
};

use crate::lab::Lab;

pub const SLOTS: i32 = PARTITIONS;

/// A row a request, in the order of a slot's commits. It keeps what the fold needs in columns of its own, not the
/// body, so that nobody has to parse it again.
const TABLE: &str = "
create table log (
    place               bigint      not null,
    appended_at         timestamptz not null default clock_timestamp(),
    received_at         timestamptz not null,
    sent_at             timestamptz,
    slot                integer     not null,
    client_id           uuid        not null,
    body_hash           bytea       not null,
    external_client_id  text        not null,
    client_address      text        not null,
    external_message_id text        not null,
    request_id          text,
    text                text        not null,
    primary key (slot, place)
)";

/// The slots, where the processor would have registered a topic's partitions.
const REGISTER: [&str; 2] = [
    "insert into topics (topic_ref, cluster_id, name, topic_id, partition_count)
     values (1, 'postgresql', 'log', uuidv7(), $1)",
    "insert into partition_progress (topic_ref, partition, birth_offset, next_offset)
     select 1, slot, 0, 0 from generate_series(0, $1 - 1) as slot",
];

/// `unnest` in the list of columns gives a value a call; in `from` it would first write all of them down.
const INSERT: &str = "
insert into log (place, received_at, sent_at, slot, client_id, body_hash, external_client_id, client_address,
                 external_message_id, request_id, text)
select unnest($1::bigint[]), unnest($2::timestamptz[]), unnest($3::timestamptz[]), unnest($4::integer[]),
       unnest($5::uuid[]), unnest($6::bytea[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]),
       unnest($10::text[]), unnest($11::text[])";

/// A message on its way into the log.
#[derive(Debug, Clone)]
pub struct Row {
    pub slot: i32,
    pub message: Message,
    pub received_at: DateTime<Utc>,
    pub request_id: Option<String>,
}

/// The slot of a message: as its partition would be.
pub fn slot(message: &Message) -> Result<i32> {
    let count = PartitionCount::new(SLOTS).context("too many slots")?;
    Ok(message.client_id().partition(count).0)
}

/// Makes a database with Telex's tables, the log and its slots; returns its address.
pub fn prepare(lab: &Lab, database: &str) -> Result<String> {
    let url = lab.telex_database("bench.alone", database)?.database_url;
    lab.runtime.block_on(async {
        let mut connection = PgConnection::connect(&url).await?;
        sqlx::query(TABLE).execute(&mut connection).await?;
        for register in REGISTER {
            sqlx::query(register).bind(SLOTS).execute(&mut connection).await?;
        }
        anyhow::Ok(connection.close().await?)
    })?;
    Ok(url)
}

/// Writes rows at their places, in a statement that is a transaction of its own.
///
/// # Errors
/// PostgreSQL refuses, or is away: then it is not known whether they are there.
pub async fn insert(connection: &mut PgConnection, rows: &[(i64, &Row)]) -> Result<()> {
    let messages = || rows.iter().map(|(_, row)| &row.message);
    let places: Vec<i64> = rows.iter().map(|(place, _)| *place).collect();
    let received_at: Vec<DateTime<Utc>> = rows.iter().map(|(_, row)| row.received_at).collect();
    let sent_at: Vec<Option<DateTime<Utc>>> =
        messages().map(|message| message.sent_at().map(schemas::Timestamp::to_utc)).collect();
    let slots: Vec<i32> = rows.iter().map(|(_, row)| row.slot).collect();
    let clients: Vec<Uuid> = messages().map(|message| message.client_id().as_uuid()).collect();
    let hashes: Vec<Vec<u8>> = messages().map(|message| message.body().hash.0.to_vec()).collect();
    let sources: Vec<&str> = messages().map(|message| message.external_client_id().as_str()).collect();
    let addresses: Vec<&str> = messages().map(|message| message.address().as_str()).collect();
    let ids: Vec<&str> = messages().map(|message| message.external_message_id().as_str()).collect();
    let request_ids: Vec<Option<&str>> = rows.iter().map(|(_, row)| row.request_id.as_deref()).collect();
    let texts: Vec<&str> = messages().map(|message| message.text().as_str()).collect();
    sqlx::query(INSERT)
        .bind(places)
        .bind(received_at)
        .bind(sent_at)
        .bind(slots)
        .bind(clients)
        .bind(hashes)
        .bind(sources)
        .bind(addresses)
        .bind(ids)
        .bind(request_ids)
        .bind(texts)
        .execute(connection)
        .await?;
    Ok(())
}
