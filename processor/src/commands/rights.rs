//! Whether whoever types a command may do what it does, asked before it says or does anything: its dry run is refused by
//! what would refuse the command itself, once, with every right that is missing and whose it is.

use anyhow::{Context as _, bail};
use kafka_ffi::{DescribeError, Operation};
use sqlx::PgConnection;

use crate::{
    kafka::client::{self, KafkaConfig, REQUEST_DEADLINE},
    store::rights::{self, Rights},
};

/// Refuses a command whose role lacks a right on the tables.
///
/// # Errors
/// A right is missing, or PostgreSQL did not answer.
pub async fn require(connection: &mut PgConnection, wanted: &Rights) -> anyhow::Result<()> {
    refuse(rights::lacking(connection, wanted).await?.iter().map(ToString::to_string).collect())
}

/// The same for one that also does something to topics.
///
/// # Errors
/// A right is missing, or PostgreSQL or Kafka did not answer.
pub async fn require_with_topics(
    connection: &mut PgConnection,
    kafka: &KafkaConfig,
    wanted: &Rights,
    topics: &[(&str, &[Operation])],
) -> anyhow::Result<()> {
    let mut lacks: Vec<String> =
        rights::lacking(connection, wanted).await?.iter().map(ToString::to_string).collect();
    for (topic, operations) in topics {
        let denied = denied(kafka, topic, operations).await;
        let denied = denied.with_context(|| format!("cannot ask for the rights on topic {topic}"))?;
        if !denied.is_empty() {
            lacks.push(format!("{} lacks {} on topic {topic}", kafka.user(), denied.join(", ")));
        }
    }
    refuse(lacks)
}

async fn denied(
    kafka: &KafkaConfig,
    topic: &str,
    operations: &[Operation],
) -> anyhow::Result<Vec<&'static str>> {
    let (admin, topic, wanted) = (client::admin(kafka)?, topic.to_owned(), operations.to_vec());
    let asked = tokio::task::spawn_blocking(move || {
        kafka_ffi::lacking_operations(admin.inner(), &topic, &wanted, REQUEST_DEADLINE)
    });
    match asked.await? {
        // What that means, the command itself says.
        Err(DescribeError::Absent) => Ok(Vec::new()),
        lacking => Ok(lacking?.into_iter().map(Operation::as_str).collect()),
    }
}

fn refuse(lacks: Vec<String>) -> anyhow::Result<()> {
    if lacks.is_empty() {
        return Ok(());
    }
    bail!(
        "not allowed: {}; nothing was changed. What changes something is typed as an operator: `k8s/operate …`, \
         `docker compose run --rm operator …`, or with the rights of telex_migrator",
        lacks.join("; ")
    )
}
