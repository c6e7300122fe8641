//! All tables as they were at one moment: one connection exports a snapshot, in which nothing moves, and
//! stays open; every worker's connection looks through it. Processors go on meanwhile.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use schemas::{Partition, Timestamp};
use sqlx::{AssertSqlSafe, PgConnection};

use super::scope::{Applied, Skipped};
use crate::{
    domain::{position::TopicRef, rules::PartitionRules},
    kafka::topic::TopicIdentity,
    store::{
        Database, progress,
        registry::{self, Registration, Topic},
        rules,
    },
};

/// Bytes of a page of a table, of which `ctid` counts.
pub const PAGE_BYTES: i64 = 8_192;

/// The tables at one moment.
pub struct Snapshot {
    /// What the registry knows of the topic.
    pub registration: Registration,
    /// The partitions of the topic, in their order.
    pub applied: Vec<Applied>,
    /// Those of former topics, one topic after the other.
    pub former: Vec<Applied>,
    /// Whether there are topics that are no former ones.
    pub has_others: bool,
    /// The transaction that exported the snapshot.
    pub connection: PgConnection,
    pub at: Timestamp,
    id: String,
}

impl Snapshot {
    /// Takes the snapshot.
    pub async fn take(database: &Database, identity: &TopicIdentity) -> anyhow::Result<Self> {
        let mut connection = begin(database, None).await?;
        let exported = sqlx::query!(r#"select pg_export_snapshot() as "id!", now() as "at!""#)
            .fetch_one(&mut connection)
            .await?;
        let registration = registry::find(&mut connection, identity).await?;
        let (mut applied, mut former, mut has_others) = (Vec::new(), Vec::new(), false);
        if let Registration::Known(topic) = registration {
            applied = partitions(&mut connection, topic, false).await?;
            for (other, is_former) in registry::others(&mut connection, topic, &identity.name).await? {
                if is_former {
                    former.extend(partitions(&mut connection, other, true).await?);
                } else {
                    has_others = true;
                }
            }
        }
        let at = Timestamp::from_micros(exported.at.timestamp_micros()).unwrap_or(Timestamp::EPOCH);
        Ok(Self { registration, applied, former, has_others, connection, at, id: exported.id })
    }

    /// Another connection that sees the same.
    pub async fn join(database: &Database, id: &str) -> anyhow::Result<PgConnection> {
        begin(database, Some(id)).await
    }

    /// By this name other connections see the same.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many pages some tables have, each of which has a row in the answer's order.
    pub async fn pages(&mut self, tables: &[&str]) -> anyhow::Result<Vec<i64>> {
        let names: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
        let sizes = sqlx::query_scalar!(
            r#"select pg_relation_size(name::regclass) as "size!" from unnest($1::text[]) with ordinality as t (name, n)
               order by n"#,
            &names,
        );
        let sizes = sizes.fetch_all(&mut self.connection).await?;
        Ok(sizes.into_iter().map(|size| size / PAGE_BYTES).collect())
    }
}

/// A transaction that reads one snapshot, for as long as it takes.
async fn begin(database: &Database, snapshot: Option<&str>) -> anyhow::Result<PgConnection> {
    let mut connection = database.reader().await?;
    sqlx::raw_sql("begin transaction isolation level repeatable read read only")
        .execute(&mut connection)
        .await?;
    if let Some(id) = snapshot {
        ensure!(
            id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "PostgreSQL named a snapshot {id:?}"
        );
        sqlx::raw_sql(AssertSqlSafe(format!("set transaction snapshot '{id}'")))
            .execute(&mut connection)
            .await?;
    }
    // The role's limits are for writers. Here a statement reads a table, and a transaction waits for Kafka.
    sqlx::raw_sql("set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0")
        .execute(&mut connection)
        .await
        .context("cannot set the session's limits")?;
    Ok(connection)
}

/// What the tables say of the partitions of a topic, in their order.
async fn partitions(
    connection: &mut PgConnection,
    topic: Topic,
    is_former: bool,
) -> anyhow::Result<Vec<Applied>> {
    let partitions = topic.partitions();
    let rows = progress::load(connection, topic.topic_ref, &partitions).await?;
    let mut rules = rules::load(connection, topic, &partitions).await?;
    let mut skipped = skipped(connection, topic.topic_ref).await?;
    let applied = rows.into_iter().map(|progress| {
        let partition = progress.partition;
        let none = || PartitionRules::new(partition, topic.partition_count);
        Applied {
            topic,
            is_former,
            rules: rules.remove(&partition).unwrap_or_else(none),
            skipped: skipped.remove(&partition).unwrap_or_default(),
            progress,
        }
    });
    Ok(applied.collect())
}

async fn skipped(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> anyhow::Result<HashMap<Partition, Skipped>> {
    let rows = sqlx::query!(
        "select partition, from_offset, to_offset from interventions
         where topic_ref = $1 and to_offset > from_offset
         order by partition, from_offset",
        topic_ref.0
    );
    let mut skipped: HashMap<Partition, Skipped> = HashMap::new();
    for row in rows.fetch_all(connection).await? {
        skipped.entry(Partition(row.partition)).or_default().0.push((row.from_offset, row.to_offset));
    }
    Ok(skipped)
}
