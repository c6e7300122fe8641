//! Whether whoever types a command may do what it does, asked before it says or does anything: its dry run is refused by
//! what would refuse the command itself, once, with every right that is missing and whose it is.

use anyhow::{Context as _, bail};
use sqlx::PgConnection;

use crate::{
    kafka::{
        client::{self, KafkaConfig, REQUEST_DEADLINE},
        ffi::{self, Operation},
    },
    store::rights::{self, Rights},
};

/// Refuses a command whose role lacks a right on the tables.
///
/// # Errors
/// A right is missing, or PostgreSQL did not answer.
pub async fn require(connection: &mut PgConnection, wanted: &Rights) -> anyhow::Result<()> {
    refuse(rights::lacking(connection, wanted).await?.iter().map(ToString::to_string).collect())
}

/// The same for one that also does something to the topic.
///
/// # Errors
/// A right is missing, or PostgreSQL or Kafka did not answer.
pub async fn require_with_topic(
    connection: &mut PgConnection,
    kafka: &KafkaConfig,
    wanted: &Rights,
    operations: &[Operation],
) -> anyhow::Result<()> {
    let mut lacks: Vec<String> =
        rights::lacking(connection, wanted).await?.iter().map(ToString::to_string).collect();
    // Where the brokers do not tell, the command finds out.
    let allowed = allowed(kafka).await.context("cannot ask for the rights on the topic")?;
    let is_denied = |operation: &&Operation| allowed.as_ref().is_some_and(|them| !them.contains(operation));
    let denied: Vec<&str> = operations.iter().filter(is_denied).map(|operation| operation.as_str()).collect();
    if !denied.is_empty() {
        lacks.push(format!("{} lacks {} on topic {}", kafka.user(), denied.join(", "), kafka.topic));
    }
    refuse(lacks)
}

async fn allowed(kafka: &KafkaConfig) -> anyhow::Result<Option<Vec<Operation>>> {
    let (admin, topic) = (client::admin(kafka)?, kafka.topic.clone());
    let asked =
        tokio::task::spawn_blocking(move || ffi::allowed_operations(admin.inner(), &topic, REQUEST_DEADLINE));
    Ok(asked.await??)
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
