//! The fold: owners of slots bring the log into Telex's tables, each transaction with the rows of its slots and a
//! compare-and-set on how far they count as folded. Everything happens in PostgreSQL: nothing is sent to and fro but
//! numbers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::log::SLOTS;

/// Rows in a transaction, of one slot.
const ROWS_OF_SLOT: i64 = 1_000;

/// As the processor: twice as long as the last transaction took, so that more share the next one.
const WAIT_MAX: Duration = Duration::from_millis(25);
const WAIT_MIN: Duration = Duration::from_millis(2);

/// Between two attempts while PostgreSQL is away.
const AGAIN: Duration = Duration::from_millis(200);

/// The rows of the log that a transaction folds, as `log`, by slots from one place up to another.
macro_rules! folded {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " from unnest($1::integer[], $2::bigint[], $3::bigint[]) as part (slot, since, until)
              cross join lateral (
                  select * from log
                  where log.slot = part.slot and log.place >= part.since and log.place < part.until
              ) as log ",
            $after
        )
    };
}

const DONE: &str = "select next_offset from partition_progress where topic_ref = 1 and partition = any($1) order by partition";

/// Up to where the log goes, at most so many rows on. A slot has one writer at a time, so that no row appears below
/// one that was seen.
const UNTIL: &str = "
select coalesce(ahead.until, part.since)
from unnest($1::integer[], $2::bigint[]) with ordinality as part (slot, since, number)
cross join lateral (
    select max(place) + 1 as until from (
        select place from log where log.slot = part.slot and log.place >= part.since order by place limit $3
    ) as rows
) as ahead
order by part.number";

/// Clients that have no row. Index: `clients_pkey`.
const CLIENTS: &str = folded!(
    "insert into clients (id, external_client_id, client_phone, created_at)
     select distinct on (log.client_id) log.client_id, log.external_client_id, log.client_address, log.appended_at",
    "where not exists (select from clients where clients.id = log.client_id)
     order by log.client_id, log.place"
);

/// Dialogs of clients without an active one. Nothing closes a dialog here, so their messages are new. Index:
/// `dialogs_active_client_id_key`.
const DIALOGS: &str = folded!(
    "insert into dialogs (client_id, id, opened_at, topic_ref, partition, opened_offset)
     select distinct on (log.client_id) log.client_id, uuidv7(), log.appended_at, 1, log.slot, log.place",
    "where not exists (
         select from dialogs where dialogs.client_id = log.client_id and dialogs.closed_at is null
     )
     order by log.client_id, log.place"
);

/// Messages whose id is free, the first of each. Index: `messages_pkey`.
const MESSAGES: &str = folded!(
    "insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id, dialog_id,
                           body_hash, external_message_id, request_id, text)
     select log.place, log.appended_at, log.received_at, log.sent_at, log.slot, 1, log.client_id, dialogs.id,
            log.body_hash, log.external_message_id, log.request_id, log.text",
    "join dialogs on dialogs.client_id = log.client_id and dialogs.closed_at is null
     order by log.client_id, log.external_message_id, log.place
     on conflict (client_id, external_message_id) do nothing"
);

const ADVANCE: &str = "
update partition_progress set next_offset = part.until, updated_at = now()
from unnest($1::integer[], $2::bigint[], $3::bigint[]) as part (slot, since, until)
where topic_ref = 1 and partition_progress.partition = part.slot and next_offset = part.since";

/// Which slots each of so many owners has.
pub fn shares(owners: usize) -> Vec<Vec<i32>> {
    let owners = i32::try_from(owners).unwrap_or(SLOTS).min(SLOTS);
    (0..owners).map(|owner| (0..SLOTS).filter(|slot| slot % owners == owner).collect()).collect()
}

/// Folds the log of these slots, for ever; after an error from where the table says.
pub async fn run(url: String, slots: Vec<i32>) -> Result<()> {
    loop {
        // PostgreSQL is away, or the owner was slower than another: either way the table knows where to go on.
        fold(&url, &slots).await.ok();
        tokio::time::sleep(AGAIN).await;
    }
}

async fn fold(url: &str, slots: &[i32]) -> Result<()> {
    // The tables are empty when plans are made, and grow: each row is looked for by an index, whatever the planner
    // believes.
    let forbidden = [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
    let options: PgConnectOptions = url.parse()?;
    let mut connection = options.options(forbidden).connect().await?;
    let mut since: Vec<i64> = sqlx::query_scalar(DONE).bind(slots).fetch_all(&mut connection).await?;
    loop {
        let start = Instant::now();
        let until: Vec<i64> = sqlx::query_scalar(UNTIL)
            .bind(slots)
            .bind(since.as_slice())
            .bind(ROWS_OF_SLOT)
            .fetch_all(&mut connection)
            .await?;
        let is_full = since.iter().zip(&until).any(|(since, until)| until - since >= ROWS_OF_SLOT);
        if since != until {
            apply(&mut connection, slots, &since, &until).await?;
            since = until;
        }
        if !is_full {
            tokio::time::sleep((start.elapsed() * 2).clamp(WAIT_MIN, WAIT_MAX)).await;
        }
    }
}

async fn apply(connection: &mut PgConnection, slots: &[i32], since: &[i64], until: &[i64]) -> Result<()> {
    sqlx::query("begin").execute(&mut *connection).await?;
    for statement in [CLIENTS, DIALOGS, MESSAGES] {
        sqlx::query(statement).bind(slots).bind(since).bind(until).execute(&mut *connection).await?;
    }
    let advanced = sqlx::query(ADVANCE).bind(slots).bind(since).bind(until).execute(&mut *connection).await?;
    if advanced.rows_affected() != slots.len() as u64 {
        // Dropping the connection rolls back.
        bail!("somebody else has folded these slots");
    }
    sqlx::query("commit").execute(&mut *connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_one_owner() {
        for owners in [1, 2, 5, 12, 40] {
            let mut all: Vec<i32> = shares(owners).concat();
            all.sort_unstable();
            assert_eq!(all, (0..SLOTS).collect::<Vec<_>>(), "{owners} owners");
        }
        assert!(shares(0).is_empty());
    }
}
