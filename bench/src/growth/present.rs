//! What is there already, before the backlog comes: clients with their dialogs, or rows of messages.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::interrupt;
use loadtest::plan::{ClientIndex, Plan};
use sqlx::{Connection as _, PgConnection};

use super::Row;
use crate::{
    backlog::{self, Writers},
    drain,
    lab::Lab,
};

/// The database whose messages grow.
pub const ROWS: &str = "growth_rows";
const TOPIC: &str = "bench.growth_rows";

const CHUNK: usize = 256 * 1024;

/// Rows that are written by one statement.
const ROWS_AT_ONCE: u64 = 1_000_000;

/// For all rows that are written beforehand, together.
const FILL_WITHIN: Duration = Duration::from_secs(900);

/// Each with an active dialog, as the processor would have left it.
const DIALOGS: &str = "
insert into dialogs (client_id, id, opened_at, topic_ref, partition, opened_offset)
select id, uuidv7(), created_at, 1, 0, 0 from clients";

/// Of clients that nobody else has, in the order of the index: its leaves fill up as those of a table that has grown.
const FILLER: &str = "
insert into messages (record_offset, appended_at, received_at, sent_at, partition, topic_ref, client_id, dialog_id,
                      body_hash, external_message_id, request_id, text)
select number, now(), now(), now(), number % 12, 0, client_id, client_id, decode(md5(number::text), 'hex'),
       'filler-' || number, null, repeat('x', 75)
from (
    select number, gen_random_uuid() as client_id from generate_series($1::bigint, $2::bigint) as number order by 2
) as filler";

pub async fn clients(url: &str, plan: &Plan) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let statement = "copy clients (id, external_client_id, client_phone, created_at) from stdin";
    let mut copy = connection.copy_in_raw(statement).await?;
    let mut text = String::with_capacity(2 * CHUNK);
    for index in 0..plan.settings().clients {
        let client = plan.client(ClientIndex(index));
        let id = client.client_id().ok().context("the plan has a client that is none")?;
        writeln!(
            text,
            "{}\t{}\t{}\t2026-01-01 00:00:00Z",
            id.key(),
            client.external_client_id,
            client.address
        )?;
        if text.len() >= CHUNK {
            copy.send(text.as_bytes()).await?;
            text.clear();
            interrupt::check()?;
        }
    }
    copy.send(text.as_bytes()).await?;
    copy.finish().await?;
    sqlx::query(DIALOGS).execute(&mut connection).await?;
    settle(&mut connection).await?;
    Ok(connection.close().await?)
}

/// A table of messages that grows, and a topic whose records go into it.
pub struct Rows<'a> {
    lab: &'a Lab,
    records: u64,
    /// Filler in the table.
    filled: u64,
    applied: u64,
    end: Option<Instant>,
}

impl<'a> Rows<'a> {
    pub const fn new(lab: &'a Lab, records: u64) -> Self {
        Self { lab, records, filled: 0, applied: 0, end: None }
    }

    /// Drains a backlog into the table when it has so many rows.
    pub fn drain_into(&mut self, rows: u64) -> Result<Row> {
        let lab = self.lab;
        let end = match self.end {
            Some(end) => end,
            None => {
                lab.topic(TOPIC)?;
                lab.telex_database(TOPIC, ROWS)?;
                *self.end.insert(Instant::now() + FILL_WITHIN)
            }
        };
        let url = lab.database_url(ROWS);
        let present = rows.saturating_sub(self.applied);
        lab.runtime.block_on(fill(&url, &mut self.filled, present, end))?;
        let seed = 500 + self.applied / self.records.max(1);
        backlog::add(lab, TOPIC, &[], backlog::plan(self.records, seed)?, Writers::Usual)?;
        let (from, to) = (self.applied, self.applied + self.records);
        self.applied = to;
        let drained = drain::go_on(lab, &lab.programs(TOPIC, ROWS), ROWS, (from, to))?;
        let index_mib = lab.runtime.block_on(index_mib(&url))?;
        Ok(Row { index_mib: Some(index_mib), ..Row::of(&drained) })
    }
}

/// Writes filler up to so many rows.
async fn fill(url: &str, filled: &mut u64, to: u64, end: Instant) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    while *filled < to {
        interrupt::check()?;
        if Instant::now() >= end {
            bail!("so many rows could not be written within {} s", FILL_WITHIN.as_secs());
        }
        let next = (*filled + ROWS_AT_ONCE).min(to);
        let (first, last) = (i64::try_from(*filled + 1)?, i64::try_from(next)?);
        sqlx::query(FILLER).bind(first).bind(last).execute(&mut connection).await?;
        *filled = next;
    }
    settle(&mut connection).await?;
    Ok(connection.close().await?)
}

/// What is still to be written is written now, so that the measurement does not pay for it.
async fn settle(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("analyze").execute(&mut *connection).await?;
    sqlx::query("checkpoint").execute(connection).await?;
    Ok(())
}

async fn index_mib(url: &str) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let bytes: i64 =
        sqlx::query_scalar("select pg_relation_size('messages_pkey')").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(bytes as f64 / 1_048_576.0)
}
