//! What the commands that change rules share: the registered topic.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use sqlx::PgConnection;

use crate::{
    kafka::{
        client::KafkaConfig,
        topic::{Inspector, TopicIdentity},
    },
    store::{
        Database,
        registry::{self, Registration, Topic},
    },
};

/// The topic as it was registered, and as it is.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the topic is not the registered one.
pub async fn registered(database: &Database, kafka: &KafkaConfig) -> anyhow::Result<(Topic, TopicIdentity)> {
    let inspector = Arc::new(Inspector::new(kafka)?);
    let identity = inspector.ask(Inspector::identity).await.context("cannot look at the topic")?;
    let topic = require(&mut database.reader().await?, &identity).await?;
    Ok((topic, identity))
}

/// The registered topic, if it is the one that the brokers have.
pub async fn require(connection: &mut PgConnection, identity: &TopicIdentity) -> anyhow::Result<Topic> {
    match registry::find(connection, identity).await? {
        Registration::Known(topic) => Ok(topic),
        Registration::Unknown => bail!("the topic is not registered: the first `processor run` registers it"),
        Registration::Recreated { registered } => bail!(
            "the topic's id is {}, the registered one is {}: `processor halts list` says more",
            identity.topic_id,
            registered.topic_id
        ),
    }
}
