//! What the commands that change rules share: the registered topic, and a person's word.

use std::sync::Arc;

use anyhow::{Context as _, bail};

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

/// Whether a person means it.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Confirmation {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Nothing is to be changed.
    pub const fn is_dry_run(self) -> bool {
        !self.yes
    }
}

/// Asks the brokers on a thread that may block.
///
/// # Errors
/// They did not answer.
pub async fn inspect<T: Send + 'static>(
    inspector: &Arc<Inspector>,
    question: impl FnOnce(&Inspector) -> Result<T, crate::kafka::topic::InspectError> + Send + 'static,
) -> anyhow::Result<T> {
    let inspector = Arc::clone(inspector);
    Ok(tokio::task::spawn_blocking(move || question(&inspector)).await??)
}

/// The topic as it was registered, and as it is.
///
/// # Errors
/// Kafka or PostgreSQL did not answer, or the topic is not the registered one.
pub async fn registered(database: &Database, kafka: &KafkaConfig) -> anyhow::Result<(Topic, TopicIdentity)> {
    let inspector = Arc::new(Inspector::new(kafka)?);
    let identity = inspect(&inspector, Inspector::identity).await.context("the topic")?;
    let mut connection = database.reader().await?;
    match registry::find(&mut connection, &identity).await? {
        Registration::Known(topic) => Ok((topic, identity)),
        Registration::Unknown => bail!("the topic is not registered: the first `processor run` does it"),
        Registration::Recreated { registered } => {
            bail!("the topic's id is {}, registered is {}", identity.topic_id, registered.topic_id)
        }
    }
}
