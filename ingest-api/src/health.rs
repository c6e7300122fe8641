//! What the process says of itself on the admin port.

use std::sync::{Arc, Mutex, PoisonError};

use service_kit::{admin::Health, prometheus::Registry};

use crate::{metrics::Metrics, publish::KafkaPublisher, router::Shared};

/// Readiness, as the watcher in [`crate::app`] last found it.
pub struct IngestHealth {
    shared: Arc<Shared<KafkaPublisher>>,
    problem: Mutex<Option<String>>,
}

impl IngestHealth {
    /// Not ready until the topic has been seen.
    #[must_use]
    pub const fn new(shared: Arc<Shared<KafkaPublisher>>) -> Self {
        Self { shared, problem: Mutex::new(None) }
    }

    /// Notes what keeps the process from working; `None` if nothing does. Says whether that is news.
    pub fn note(&self, problem: Option<String>) -> bool {
        let mut noted = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *noted != problem;
        *noted = problem;
        is_news
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
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.clone().map_or(Ok(()), Err)
    }

    fn metrics(&self) -> &Registry {
        &self.metrics_now().registry
    }
}
