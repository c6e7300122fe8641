//! What is in force in a partition from which offset on: the tables behind [`crate::domain::rules`].
//!
//! A change begins at the next offset of every partition and raises every owner epoch, in one transaction
//! that holds all their rows: what a processor has folded by the old rules cannot be committed any more, and
//! whoever takes a partition up reads the new ones between its row and the compare-and-set on it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use schemas::{Partition, PartitionCount};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use super::{
    classify::StoreError,
    halts::{self, Decision},
    registry::{self, Topic},
    session::within_deadline,
};
use crate::domain::{
    position::{NextOffset, Offset, TopicRef},
    rules::{DialogRule, DialogRules, IdleGap, PartitionRules},
};

/// What is in force in some partitions.
pub async fn load(
    connection: &mut PgConnection,
    topic: Topic,
    partitions: &[Partition],
) -> Result<HashMap<Partition, PartitionRules>, StoreError> {
    let ids: Vec<i32> = partitions.iter().map(|partition| partition.0).collect();
    let mut rules: HashMap<Partition, PartitionRules> = partitions
        .iter()
        .map(|partition| (*partition, PartitionRules::new(*partition, topic.partition_count)))
        .collect();
    let placements = sqlx::query!(
        "select partition, partition_count, from_offset from placements
         where topic_ref = $1 and partition = any($2)
         order by partition, partition_count",
        topic.topic_ref.0,
        &ids,
    );
    let placements = within_deadline(placements.fetch_all(&mut *connection)).await?;
    for row in placements {
        let partition = rules.get_mut(&Partition(row.partition));
        if let Some((partition, count)) = partition.zip(PartitionCount::new(row.partition_count)) {
            partition.place_from(Offset(row.from_offset), count);
        }
    }
    let starts = sqlx::query!(
        "select partition, version, from_offset from dialog_rule_starts
         where topic_ref = $1 and partition = any($2)
         order by partition, version",
        topic.topic_ref.0,
        &ids,
    );
    let starts = within_deadline(starts.fetch_all(&mut *connection)).await?;
    if starts.is_empty() {
        return Ok(rules);
    }
    let versions = dialog_rules(connection, topic.topic_ref).await?;
    for row in starts {
        if let Some(partition) = rules.get_mut(&Partition(row.partition)) {
            let version = versions.get(&row.version).map(Arc::clone).unwrap_or_default();
            partition.follow_from(Offset(row.from_offset), version);
        }
    }
    Ok(rules)
}

/// Every version of a topic's dialog rules. A version without rules is absent.
pub async fn dialog_rules(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<BTreeMap<i32, Arc<DialogRules>>, StoreError> {
    let rows = sqlx::query!(
        "select version, external_client_id_prefix, idle_gap_seconds from dialog_rules
         where topic_ref = $1",
        topic_ref.0,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let mut versions: BTreeMap<i32, Vec<DialogRule>> = BTreeMap::new();
    for row in rows {
        let idle_gap = row.idle_gap_seconds.and_then(IdleGap::from_seconds);
        let rule = DialogRule { prefix: row.external_client_id_prefix, idle_gap };
        versions.entry(row.version).or_default().push(rule);
    }
    Ok(versions.into_iter().map(|(version, rules)| (version, Arc::new(DialogRules::new(rules)))).collect())
}

/// The newest version that was set; `None` before the first.
pub async fn latest_version(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<Option<i32>, StoreError> {
    let version =
        sqlx::query_scalar!("select max(version) from dialog_rule_starts where topic_ref = $1", topic_ref.0);
    within_deadline(version.fetch_one(connection)).await
}

/// Over how many partitions keys are spread now.
pub async fn count_in_force(
    connection: &mut PgConnection,
    topic: Topic,
) -> Result<PartitionCount, StoreError> {
    let switched = sqlx::query_scalar!(
        "select max(partition_count) from placements where topic_ref = $1",
        topic.topic_ref.0
    );
    let switched = within_deadline(switched.fetch_one(connection)).await?;
    Ok(switched.and_then(PartitionCount::new).unwrap_or(topic.partition_count))
}

/// The counts that are not in force everywhere yet: some partition has records before the switch that are
/// not applied. Only where the tables are being built again from the topic.
pub async fn counts_awaited(
    connection: &mut PgConnection,
    topic_ref: TopicRef,
) -> Result<Vec<PartitionCount>, StoreError> {
    let counts = sqlx::query_scalar!(
        "select distinct partition_count
         from placements join partition_progress using (topic_ref, partition)
         where topic_ref = $1 and next_offset < from_offset",
        topic_ref.0,
    );
    let counts = within_deadline(counts.fetch_all(connection)).await?;
    Ok(counts.into_iter().filter_map(PartitionCount::new).collect())
}

/// A change that is being made: every partition's row is held, so nothing is applied until it ends.
/// Dropped, it never was.
pub struct Change<'c> {
    transaction: Transaction<'c, Postgres>,
    topic_ref: TopicRef,
    /// How far each partition is applied: from there on the change is in force.
    pub next_offsets: Vec<(Partition, NextOffset)>,
}

impl<'c> Change<'c> {
    /// Holds the rows.
    #[expect(clippy::disallowed_methods, reason = "not a batch: the transaction that fences them all")]
    pub async fn begin(connection: &'c mut PgConnection, topic_ref: TopicRef) -> Result<Self, StoreError> {
        let mut transaction = connection.begin().await?;
        registry::lock(&mut transaction, topic_ref).await?;
        let rows = sqlx::query!(
            "select partition, next_offset from partition_progress
             where topic_ref = $1
             order by partition
             for update",
            topic_ref.0,
        );
        let rows = within_deadline(rows.fetch_all(&mut *transaction)).await?;
        let next_offsets =
            rows.into_iter().map(|row| (Partition(row.partition), NextOffset(row.next_offset))).collect();
        Ok(Self { transaction, topic_ref, next_offsets })
    }

    /// From here on, keys are spread over `count` partitions. Says how many partitions that were halted
    /// until then go on, by whose decision.
    pub async fn place(mut self, count: PartitionCount, decision: &Decision) -> Result<i64, StoreError> {
        let statement = sqlx::query!(
            "insert into placements (topic_ref, partition, partition_count, from_offset)
             select topic_ref, partition, $2, next_offset from partition_progress
             where topic_ref = $1 and partition < $2",
            self.topic_ref.0,
            count.get(),
        );
        within_deadline(statement.execute(&mut *self.transaction)).await?;
        let resumed =
            halts::end_awaiting_switch(&mut self.transaction, self.topic_ref, count, decision).await?;
        self.commit().await?;
        Ok(resumed)
    }

    /// From here on, dialogs follow `rules`, by whose decision. Answers with their version.
    pub async fn follow(mut self, rules: &DialogRules, decision: &Decision) -> Result<i32, StoreError> {
        let latest = latest_version(&mut self.transaction, self.topic_ref).await?;
        let version = latest.unwrap_or(0) + 1;
        let prefixes: Vec<&str> = rules.as_slice().iter().map(|rule| rule.prefix.as_str()).collect();
        let gaps: Vec<Option<i64>> =
            rules.as_slice().iter().map(|rule| rule.idle_gap.map(IdleGap::as_seconds)).collect();
        let statement = sqlx::query!(
            "with rules as (
                 insert into dialog_rules (topic_ref, version, external_client_id_prefix, idle_gap_seconds)
                 select $1, $2, prefix, gap from unnest($3::text[], $4::bigint[]) as rule (prefix, gap)
             )
             insert into dialog_rule_starts (topic_ref, partition, version, from_offset)
             select topic_ref, partition, $2, next_offset from partition_progress where topic_ref = $1",
            self.topic_ref.0,
            version,
            &prefixes as &[&str],
            &gaps as &[Option<i64>],
        );
        within_deadline(statement.execute(&mut *self.transaction)).await?;
        halts::note(&mut self.transaction, self.topic_ref, 0..i32::MAX, decision).await?;
        self.commit().await?;
        Ok(version)
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        let statement = sqlx::query!(
            "update partition_progress set owner_epoch = owner_epoch + 1, updated_at = now()
             where topic_ref = $1",
            self.topic_ref.0,
        );
        within_deadline(statement.execute(&mut *self.transaction)).await?;
        Ok(self.transaction.commit().await?)
    }
}
