//! Which topic the tables belong to. The first processor that meets a topic registers it with all its
//! partitions, and each partition that the topic gets later when it is first assigned; a partition that
//! has lost its row, or another topic of the same name, is a stop and never a fresh start (R8, R10).

use schemas::{Partition, PartitionCount, Placement};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{
    classify::StoreError,
    halts::{self, Decision},
    session::within_deadline,
};
use crate::{
    domain::position::{Offset, TopicRef},
    kafka::topic::TopicIdentity,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Its number in this database.
    pub topic_ref: TopicRef,
    pub topic_id: Uuid,
    /// How many partitions its keys were spread over when it was registered. Later counts are in
    /// [`super::rules`].
    pub partition_count: PartitionCount,
    /// How many partitions have had a row when this was read.
    pub known_partitions: i32,
}

/// A registered topic, and the cluster that it was registered in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredTopic {
    pub topic: Topic,
    pub cluster_id: String,
}

impl Topic {
    /// Its partitions, whether keys belong to them or not.
    pub fn partitions(&self) -> Vec<Partition> {
        (0..self.known_partitions).map(Partition).collect()
    }

    /// What ingest APIs are told of it while this count is in force.
    pub fn placement(&self, partition_count: PartitionCount) -> Placement {
        Placement { topic_ref: self.topic_ref.0, topic_id: self.topic_id, partition_count }
    }
}

/// What the registry knows of a topic's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Nothing: it is new.
    Unknown,
    Known(Topic),
    /// It is another one: the topic of this name was deleted and created again, or is one of another cluster
    /// ([`cluster_of`]).
    Recreated {
        registered: Topic,
    },
}

/// Looks the topic up, by its name and in every cluster: staging's topic of the same name is not production's,
/// and a person decides whether it is to be filed here.
pub async fn find(
    connection: &mut PgConnection,
    identity: &TopicIdentity,
) -> Result<Registration, StoreError> {
    let rows = sqlx::query!(
        r#"select topic_ref, topic_id, partition_count,
                  coalesce(known_partitions, partition_count) as "known_partitions!"
           from topics
         where name = $2
         order by (topic_id = $3 and cluster_id = $1) desc, topic_ref desc
         limit 1"#,
        identity.cluster_id,
        identity.name,
        identity.topic_id,
    );
    let rows = within_deadline(rows.fetch_optional(connection)).await?;
    let registered = rows.and_then(|row| {
        Some(Topic {
            topic_ref: TopicRef(row.topic_ref),
            topic_id: row.topic_id,
            partition_count: PartitionCount::new(row.partition_count)?,
            known_partitions: row.known_partitions,
        })
    });
    Ok(match registered {
        None => Registration::Unknown,
        Some(topic) if topic.topic_id == identity.topic_id => Registration::Known(topic),
        Some(registered) => Registration::Recreated { registered },
    })
}

/// The topics beside `topic` in the order of their registration, and whether each is a former one: of its name, which
/// is `name`, and registered before it, so that a person has accepted `topic` in its place.
pub async fn others(
    connection: &mut PgConnection,
    topic: Topic,
    name: &str,
) -> Result<Vec<(Topic, bool)>, StoreError> {
    let rows = sqlx::query!(
        r#"select topic_ref, topic_id, partition_count,
                  coalesce(known_partitions, partition_count) as "known_partitions!",
                  topic_ref < $1 and name = $2 as "is_former!"
           from topics
           where topic_ref <> $1
           order by topic_ref"#,
        topic.topic_ref.0,
        name,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let others = rows.into_iter().filter_map(|row| {
        let other = Topic {
            topic_ref: TopicRef(row.topic_ref),
            topic_id: row.topic_id,
            partition_count: PartitionCount::new(row.partition_count)?,
            known_partitions: row.known_partitions,
        };
        Some((other, row.is_former))
    });
    Ok(others.collect())
}

/// The cluster of a registered topic.
pub async fn cluster_of(connection: &mut PgConnection, topic_ref: TopicRef) -> Result<String, StoreError> {
    let cluster = sqlx::query_scalar!("select cluster_id from topics where topic_ref = $1", topic_ref.0);
    within_deadline(cluster.fetch_one(connection)).await
}

/// Registers a new topic: each partition is born at the start of its log. Of several processors that
/// start at once the first does it, the others find it done: `None`.
#[expect(clippy::disallowed_methods, reason = "not a batch: the transaction that comes before all of them")]
pub async fn register(
    connection: &mut PgConnection,
    identity: &TopicIdentity,
    log_starts: &[(Partition, Offset)],
) -> Result<Option<TopicRef>, StoreError> {
    let (partitions, births): (Vec<i32>, Vec<i64>) =
        log_starts.iter().map(|(partition, start)| (partition.0, start.0)).unzip();
    let mut transaction = connection.begin().await?;
    within_deadline(sqlx::query!("lock table topics in exclusive mode").execute(&mut *transaction)).await?;
    let registered = sqlx::query_scalar!(
        "insert into topics (topic_ref, cluster_id, name, topic_id, partition_count)
         select coalesce(max(topic_ref), 0) + 1, $1, $2, $3, $4 from topics
         on conflict (cluster_id, topic_id) do nothing
         returning topic_ref",
        identity.cluster_id,
        identity.name,
        identity.topic_id,
        identity.partition_count.get(),
    );
    let registered = within_deadline(registered.fetch_optional(&mut *transaction)).await?;
    if let Some(topic_ref) = registered {
        let statement = sqlx::query!(
            "insert into partition_progress (topic_ref, partition, birth_offset, next_offset)
             select $1, partition, birth, birth from unnest($2::integer[], $3::bigint[]) as born (partition, birth)",
            topic_ref,
            &partitions,
            &births,
        );
        within_deadline(statement.execute(&mut *transaction)).await?;
    }
    transaction.commit().await?;
    Ok(registered.map(TopicRef))
}

/// The same by a person's decision, which is written down. `false`: it was registered meanwhile, and not by this person.
#[expect(clippy::disallowed_methods, reason = "not a batch: the transaction that comes before all of them")]
pub async fn register_by(
    connection: &mut PgConnection,
    identity: &TopicIdentity,
    log_starts: &[(Partition, Offset)],
    decision: &Decision,
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    let Some(topic_ref) = register(&mut transaction, identity, log_starts).await? else { return Ok(false) };
    halts::note(&mut transaction, topic_ref, 0..identity.partition_count.get(), decision).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Registers the partitions that the topic got since: each is born at the start of its log, under the
/// dialog rules of all others. Nothing else changes: keys stay where they are until a person switches
/// them. Of several processors that notice it at once the first does it.
#[expect(
    clippy::disallowed_methods,
    reason = "not a batch: the transaction that comes before those of new partitions"
)]
pub async fn register_more(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
    log_starts: &[(Partition, Offset)],
) -> Result<(), StoreError> {
    let (partitions, births): (Vec<i32>, Vec<i64>) =
        log_starts.iter().map(|(partition, start)| (partition.0, start.0)).unzip();
    let mut transaction = connection.begin().await?;
    lock(&mut transaction, topic_ref).await?;
    let statement = sqlx::query!(
        r#"with topic as (
               select topic_ref, coalesce(known_partitions, partition_count) as known
               from topics where topic_ref = $1
           ), born as (
               insert into partition_progress (topic_ref, partition, birth_offset, next_offset)
               select topic_ref, partition, birth, birth
               from topic, unnest($2::integer[], $3::bigint[]) as born (partition, birth)
               where partition >= known
               returning partition, birth_offset
           ), ruled as (
               insert into dialog_rule_starts (topic_ref, partition, version, from_offset)
               select $1, partition, version, birth_offset
               from born, (select max(version) from dialog_rule_starts where topic_ref = $1) as latest (version)
               where version is not null
           )
           update topics set known_partitions = (select max(partition) + 1 from born)
           where topic_ref = $1 and exists (select from born)"#,
        topic_ref.0,
        &partitions,
        &births,
    );
    within_deadline(statement.execute(&mut *transaction)).await?;
    transaction.commit().await?;
    Ok(())
}

/// The same by the decision of a person who has made the partitions from `topic.known_partitions` on, whoever registers
/// them first; it is written down.
#[expect(
    clippy::disallowed_methods,
    reason = "not a batch: the transaction that comes before those of new partitions"
)]
pub async fn register_more_by(
    connection: &mut PgConnection,
    topic: Topic,
    log_starts: &[(Partition, Offset)],
    decision: &Decision,
) -> Result<(), StoreError> {
    let end = log_starts.iter().map(|(partition, _)| partition.0 + 1).max().unwrap_or_default();
    let mut transaction = connection.begin().await?;
    register_more(&mut transaction, topic.topic_ref, log_starts).await?;
    halts::note(&mut transaction, topic.topic_ref, topic.known_partitions..end, decision).await?;
    transaction.commit().await?;
    Ok(())
}

/// Holds a topic's row: new partitions and changes of rules come one after the other, so that no partition
/// misses a change. A statement of its own: what follows sees what was committed until then.
pub async fn lock(connection: &mut PgConnection, topic_ref: TopicRef) -> Result<(), StoreError> {
    let row =
        sqlx::query_scalar!("select topic_ref from topics where topic_ref = $1 for update", topic_ref.0);
    within_deadline(row.fetch_optional(connection)).await?;
    Ok(())
}
