//! Looks at the topic and the producer for as long as the process serves: whether they can be reached, over how many
//! partitions keys are spread, how large a batch of records may be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::KafkaConfig,
    health::{IngestHealth, Look},
    placement::{self, Heard},
    publish::KafkaPublisher,
    state::Shared,
    topic_limits::Believed,
};

/// How often the topic is looked at; a question may take as long as [`QUESTION_DEADLINE`].
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The same until it is known over how many partitions keys are spread: no message is taken before.
const FIRST_LOOKS_INTERVAL: Duration = Duration::from_secs(1);
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// How often its settings are read, unless a batch was refused.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(60);
/// Between two questions at least, however many batches are refused.
const PAUSE: Duration = Duration::from_millis(200);

/// Completes with the reason for which the process must not go on.
pub async fn watch(
    shared: &Arc<Shared<KafkaPublisher>>,
    health: &IngestHealth,
    kafka: &KafkaConfig,
) -> String {
    let (mut limits, mut spread) = (Limits::default(), Spread::default());
    loop {
        limits.follow(shared).await;
        let mut seen = look(shared, kafka).await;
        if seen == Look::Seen {
            match spread.follow(shared, kafka).await {
                Ok(look) => seen = look,
                Err(objection) => return objection,
            }
        }
        if seen == Look::Seen && shared.publisher.is_forbidden() {
            seen = Look::Unseen(kafka.lacks_write());
        }
        // After the questions: whose producer has died meanwhile is not called ready.
        if let Some(error) = shared.publisher.fatal_error() {
            return format!("the kafka producer is dead: {error}");
        }
        health.note(seen);
        tokio::time::sleep(PAUSE).await;
        let interval = if shared.publisher.is_open() { LOOK_INTERVAL } else { FIRST_LOOKS_INTERVAL };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shared.publisher.refused() => {}
        }
    }
}

async fn look(shared: &Arc<Shared<KafkaPublisher>>, kafka: &KafkaConfig) -> Look {
    let asked = Arc::clone(shared);
    let partitions = tokio::task::spawn_blocking(move || asked.publisher.partitions(QUESTION_DEADLINE)).await;
    match partitions {
        Ok(Ok(found)) if i32::try_from(found).is_ok_and(|found| found < kafka.partition_count.get()) => {
            Look::Unsuited(format!(
                "the topic has {found} partitions, --partition-count is {}",
                kafka.partition_count
            ))
        }
        Ok(Ok(_)) => Look::Seen,
        Ok(Err(error)) => Look::Unseen(format!("the topic cannot be seen: {error}")),
        Err(_) => Look::Unseen("the look at the topic panicked".to_owned()),
    }
}

/// What is known of the partitions over which keys are spread.
#[derive(Default)]
struct Spread {
    heard: Option<Heard>,
}

impl Spread {
    /// Asks what is said, and has messages taken once it is known that nothing speaks against it. A word that cannot be
    /// had later on changes nothing.
    ///
    /// # Errors
    /// What speaks against it.
    async fn follow(
        &mut self,
        shared: &Arc<Shared<KafkaPublisher>>,
        kafka: &KafkaConfig,
    ) -> Result<Look, String> {
        let (asked, kafka) = (Arc::clone(shared), kafka.clone());
        let (topic, partition_count) = (kafka.topic.clone(), kafka.partition_count);
        let question = move || placement::listen(&asked.publisher, &kafka);
        let answer = match tokio::task::spawn_blocking(question).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_panic) => Err("the question panicked".to_owned()),
        };
        let heard = match answer {
            Ok(heard) => heard,
            Err(problem) if shared.publisher.is_open() => {
                tracing::debug!(problem, "not known whether keys are spread as before");
                return Ok(Look::Seen);
            }
            Err(problem) => {
                return Ok(Look::Unseen(format!(
                    "over how many partitions the processors spread keys is not known: {problem}"
                )));
            }
        };
        if let Some(objection) = heard.objection(partition_count) {
            return Err(objection);
        }
        if let Heard::Nothing(problem) = &heard
            && self.heard.as_ref() != Some(&heard)
        {
            tracing::warn!(
                topic,
                problem,
                "nobody says over how many partitions keys are spread, --partition-count is believed"
            );
        }
        self.heard = Some(heard);
        shared.publisher.open();
        Ok(Look::Seen)
    }
}

/// What is known of the topic's limits.
#[derive(Default)]
struct Limits {
    believed: Believed,
    /// When its settings were last asked for.
    asked: Option<Instant>,
    /// What was last said of them in the log.
    remarks: Vec<String>,
}

impl Limits {
    /// Reads them if it is time or a batch was refused, and keeps batches within them.
    async fn follow(&mut self, shared: &Arc<Shared<KafkaPublisher>>) {
        let is_refused = shared.publisher.take_refused();
        if !is_refused && self.asked.is_some_and(|asked| asked.elapsed() < SETTINGS_INTERVAL) {
            return;
        }
        self.asked = Some(Instant::now());
        let (mut remarks, said) = match shared.publisher.settings(QUESTION_DEADLINE).await {
            Ok(settings) => (settings.remarks(shared.limits.body_bytes_max), settings.max_message_bytes),
            Err(error) => (vec![format!("its settings cannot be read: {error}")], None),
        };
        remarks.extend(without_quarantine(shared).await);
        self.remark(remarks);
        let in_force = shared.publisher.batch_bytes_max();
        let next = self.believed.next(in_force, is_refused, said);
        if next != in_force {
            resize(shared, in_force, next).await;
        }
    }

    fn remark(&mut self, remarks: Vec<String>) {
        for remark in remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
            tracing::warn!(remark, "the topic's settings");
        }
        self.remarks = remarks;
    }
}

/// What a person should know who has described hooks, and has not made the topic of the quarantine.
async fn without_quarantine(shared: &Arc<Shared<KafkaPublisher>>) -> Option<String> {
    if !shared.producers.as_ref()?.current().has_hooks() {
        return None;
    }
    let asked = Arc::clone(shared);
    let seen =
        tokio::task::spawn_blocking(move || asked.publisher.quarantine_partitions(QUESTION_DEADLINE)).await;
    let error = seen.ok()?.err()?;
    Some(format!(
        "the quarantine topic cannot be seen, webhooks with items that would go there are not taken: {error}"
    ))
}

async fn resize(shared: &Arc<Shared<KafkaPublisher>>, from: u32, to: u32) {
    let asked = Arc::clone(shared);
    match tokio::task::spawn_blocking(move || asked.publisher.resize(to)).await {
        Ok(Ok(())) => tracing::info!(from, to, "batches of records are kept within the topic's limit"),
        Ok(Err(error)) => tracing::error!(%error, "the topic's new limit could not be applied"),
        Err(_) => tracing::error!("the change of the producer panicked"),
    }
}
