//! What the process says of itself on the admin port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use service_kit::{admin::Health, prometheus::Registry};

use crate::{metrics::Metrics, publish::KafkaPublisher, state::Shared};

/// What a look at the topic found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The topic, as it has to be.
    Seen,
    /// The topic, and it is not what the settings say: no request can be answered rightly.
    Unsuited(String),
    /// Nothing, or no right to write there: no message is kept.
    Unseen(String),
}

/// Whether requests are welcome. A topic that was seen once stays enough while Kafka is away: the process itself answers
/// 503 then, with a code and `Retry-After`, where a proxy without a ready backend would answer 404 or a page of its own.
#[derive(Debug)]
struct Readiness {
    last: Look,
    has_seen: bool,
}

impl Readiness {
    fn new() -> Self {
        Self { last: Look::Unseen("the topic has not been seen yet".to_owned()), has_seen: false }
    }

    /// Says whether it is news.
    fn note(&mut self, look: Look) -> bool {
        self.has_seen |= look == Look::Seen;
        let is_news = self.last != look;
        self.last = look;
        is_news
    }

    fn ready(&self) -> Result<(), String> {
        match &self.last {
            Look::Unsuited(problem) => Err(problem.clone()),
            Look::Unseen(problem) if !self.has_seen => Err(problem.clone()),
            Look::Seen | Look::Unseen(_) => Ok(()),
        }
    }
}

/// Readiness, as [`crate::watch`] last found it.
pub struct IngestHealth {
    shared: Arc<Shared<KafkaPublisher>>,
    readiness: Mutex<Readiness>,
}

impl IngestHealth {
    /// Not ready until the topic has been seen.
    pub fn new(shared: Arc<Shared<KafkaPublisher>>) -> Self {
        Self { shared, readiness: Mutex::new(Readiness::new()) }
    }

    /// Notes what a look at the topic found, and writes it to the log where it is news.
    pub fn note(&self, look: Look) {
        let is_reachable = !matches!(look, Look::Unseen(_));
        self.shared.metrics.ingest_kafka_reachable.set(is_reachable.into());
        let mut readiness = self.readiness();
        if !readiness.note(look.clone()) {
            return;
        }
        match look {
            Look::Seen => tracing::info!("ready"),
            Look::Unseen(problem) if readiness.has_seen => {
                tracing::warn!(problem, "kafka takes no messages, requests are answered 503");
            }
            Look::Unseen(problem) | Look::Unsuited(problem) => tracing::warn!(problem, "not ready"),
        }
    }

    fn readiness(&self) -> MutexGuard<'_, Readiness> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics_now(&self) -> &Metrics {
        self.shared.metrics.ingest_queue_records.set(self.shared.publisher.queued().into());
        &self.shared.metrics
    }
}

impl Health for IngestHealth {
    /// The process answers: a restart helps only where it ends by itself.
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if self.shared.is_draining() {
            return Err("draining".to_owned());
        }
        self.readiness().ready()
    }

    fn metrics(&self) -> &Registry {
        &self.metrics_now().registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_was_seen_once_is_enough_and_a_wrong_one_never_is() {
        let away = || Look::Unseen("the topic cannot be seen: no broker".to_owned());
        let wrong = || Look::Unsuited("the topic has 3 partitions".to_owned());
        let mut readiness = Readiness::new();
        assert!(readiness.ready().is_err());
        assert!(readiness.note(away()) && !readiness.note(away()));
        assert!(readiness.ready().is_err(), "it has not been seen yet");
        assert!(readiness.note(wrong()));
        assert!(readiness.ready().is_err());
        assert!(readiness.note(away()));
        assert!(readiness.ready().is_err(), "a wrong topic is not enough either");
        assert!(readiness.note(Look::Seen));
        assert_eq!(readiness.ready(), Ok(()));
        assert!(readiness.note(away()));
        assert_eq!(readiness.ready(), Ok(()));
        assert!(readiness.note(wrong()));
        assert!(readiness.ready().is_err());
    }
}
