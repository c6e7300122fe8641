//! What a reader of the tables asks them, before and after. All SQL of the load tester stands here, and it
//! only reads.

use std::{collections::BTreeMap, str::FromStr as _, time::Duration};

use anyhow::{Context as _, bail};
use schemas::ClientId;
use service_kit::Secret;
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions, types::Uuid};

use tokio::time::Instant;

use crate::ledger::Place;

/// How long a connection may take to be made, and a look may take: one that is slower is made again.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Database(PgConnectOptions);

impl Database {
    /// Reads the address.
    ///
    /// # Errors
    /// The address has no meaning; the text holds no part of it.
    pub fn new(url: &Secret) -> anyhow::Result<Self> {
        match PgConnectOptions::from_str(url.expose()) {
            Ok(options) => Ok(Self(options.application_name("telex-loadtest").disable_statement_logging())),
            Err(_) => bail!("the database URL must look like postgres://user:password@host:port/database"),
        }
    }

    /// A connection for the samples. They are few and always looked for by the primary key, also while the
    /// planner still believes the table to be empty.
    pub async fn lookout(&self) -> anyhow::Result<Lookout> {
        let forbidden = [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];
        Ok(Lookout(connect(&self.0.clone().options(forbidden)).await?))
    }

    pub async fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader(connect(&self.0).await?))
    }
}

async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let connection = tokio::time::timeout(DEADLINE, options.connect()).await;
    connection.context("the database does not answer")?.context("the database cannot be reached")
}

/// A message whose row is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub client_id: ClientId,
    pub external_message_id: String,
    pub due: Instant,
}

pub struct Lookout(PgConnection);

impl Lookout {
    /// Which of the samples have a row, by their places in `probes`.
    pub async fn visible(&mut self, probes: &[Probe]) -> anyhow::Result<Vec<usize>> {
        let clients: Vec<Uuid> = probes.iter().map(|probe| probe.client_id.as_uuid()).collect();
        let ids: Vec<String> = probes.iter().map(|probe| probe.external_message_id.clone()).collect();
        let query = sqlx::query_scalar!(
            r#"select place as "place!"
               from unnest($1::uuid[], $2::text[]) with ordinality as probe (client_id, external_message_id, place)
               cross join lateral (
                   select from messages
                   where messages.client_id = probe.client_id
                     and messages.external_message_id = probe.external_message_id
                   limit 1
               ) as found"#,
            &clients,
            &ids,
        );
        let places = tokio::time::timeout(DEADLINE, query.fetch_all(&mut self.0)).await??;
        Ok(places.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
    }

    /// What is applied, by partition.
    pub async fn next_offsets(&mut self) -> anyhow::Result<BTreeMap<i32, i64>> {
        let query = next_offsets(&mut self.0);
        tokio::time::timeout(DEADLINE, query).await?
    }
}

/// Of the topic that was registered last: the one that is written to.
async fn next_offsets(connection: &mut PgConnection) -> anyhow::Result<BTreeMap<i32, i64>> {
    let rows = sqlx::query!(
        "select partition, next_offset from partition_progress
         where topic_ref = (select max(topic_ref) from topics)"
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.partition, row.next_offset)).collect())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub client_id: Uuid,
    pub external_message_id: String,
    pub text: String,
    pub dialog_id: Uuid,
    pub topic_ref: i16,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDialog {
    pub client_id: Uuid,
    pub id: Uuid,
    pub is_active: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct StoredClient {
    pub id: Uuid,
    pub external_client_id: String,
    pub client_phone: String,
    /// Sorted.
    pub aliases: Vec<String>,
}

#[derive(Default)]
pub struct Rows {
    /// Of this run only, in any order.
    pub messages: Vec<StoredMessage>,
    pub dialogs: Vec<StoredDialog>,
    pub clients: Vec<StoredClient>,
}

pub struct Reader(PgConnection);

impl Reader {
    /// What is applied, by partition.
    pub async fn next_offsets(&mut self) -> anyhow::Result<BTreeMap<i32, i64>> {
        next_offsets(&mut self.0).await
    }

    /// The rows of these clients, by the primary keys; of their messages those whose ids begin with `id_prefix`.
    pub async fn rows(&mut self, clients: &[Uuid], id_prefix: &str) -> anyhow::Result<Rows> {
        let messages = sqlx::query!(
            "select client_id, external_message_id, text, dialog_id, topic_ref, partition, record_offset
             from messages where client_id = any($1) and starts_with(external_message_id, $2)",
            clients,
            id_prefix,
        )
        .fetch_all(&mut self.0)
        .await?;
        let messages = messages.into_iter().map(|row| StoredMessage {
            client_id: row.client_id,
            external_message_id: row.external_message_id,
            text: row.text,
            dialog_id: row.dialog_id,
            topic_ref: row.topic_ref,
            place: Place { partition: row.partition, offset: row.record_offset },
        });
        let dialogs = sqlx::query_as!(
            StoredDialog,
            r#"select client_id, id, closed_at is null as "is_active!" from dialogs where client_id = any($1)"#,
            clients,
        )
        .fetch_all(&mut self.0)
        .await?;
        let found = sqlx::query_as!(
            StoredClient,
            r#"select id, external_client_id, client_phone,
                      array(select alias from client_aliases where client_id = clients.id order by alias) as "aliases!"
               from clients where id = any($1)"#,
            clients,
        )
        .fetch_all(&mut self.0)
        .await?;
        Ok(Rows { messages: messages.collect(), dialogs, clients: found })
    }

    /// How many messages have ids that begin with `id_prefix`, whosever they are. Reads the whole table: no
    /// index serves ids alone.
    pub async fn count(&mut self, id_prefix: &str) -> anyhow::Result<u64> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from messages where starts_with(external_message_id, $1)"#,
            id_prefix,
        )
        .fetch_one(&mut self.0)
        .await?;
        Ok(u64::try_from(count)?)
    }
}
