//! How much may be in flight of proven senders: requests and bytes, each under a hard limit. Full means an
//! answer at once, never a wait. What strangers send is counted apart, in [`unproven`](crate::unproven).

use std::sync::Arc;

use service_kit::prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Limits, metrics::Metrics, unproven::Unproven};

/// Counts what is in flight.
#[derive(Debug)]
pub struct Admission {
    /// What is read before it is known who sends it.
    pub unproven: Arc<Unproven>,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    gauges: [IntGauge; 2],
}

/// One request's share. It goes with the request's records until Kafka's answer, also when the sender hangs up
/// meanwhile: what is on its way to Kafka counts.
#[derive(Debug)]
pub struct Admitted {
    _request: OwnedSemaphorePermit,
    body: OwnedSemaphorePermit,
    gauges: [IntGauge; 2],
}

impl Admission {
    pub fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let semaphore =
            |permits: u32| Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(usize::MAX)));
        Self {
            unproven: Arc::new(Unproven::new(limits, metrics)),
            requests: semaphore(limits.requests_in_flight_max),
            bytes: semaphore(limits.bytes_in_flight_max),
            gauges: [metrics.ingest_requests_in_flight.clone(), metrics.ingest_bytes_in_flight.clone()],
        }
    }

    /// Lets a request in of which `bytes` are there, or not.
    pub fn admit(&self, bytes: u32) -> Option<Admitted> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let body = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        let [requests, in_flight] = &self.gauges;
        requests.inc();
        in_flight.add(i64::from(bytes));
        Some(Admitted { _request: request, body, gauges: self.gauges.clone() })
    }
}

impl Admitted {
    /// Takes `bytes` more, or nothing.
    pub fn grow(&mut self, bytes: u32) -> bool {
        let Ok(more) = Arc::clone(self.body.semaphore()).try_acquire_many_owned(bytes) else {
            return false;
        };
        self.body.merge(more);
        let [_, in_flight] = &self.gauges;
        in_flight.add(i64::from(bytes));
        true
    }

    /// Gives back what turned out not to be needed, once the body is known to have `bytes`.
    pub fn shrink_to(&mut self, bytes: u32) {
        let surplus = self.body.num_permits().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        drop(self.body.split(surplus));
        let [_, in_flight] = &self.gauges;
        in_flight.sub(i64::try_from(surplus).unwrap_or(i64::MAX));
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let [requests, in_flight] = &self.gauges;
        requests.dec();
        in_flight.sub(i64::try_from(self.body.num_permits()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Config;

    #[test]
    fn requests_and_bytes_are_limited_apart_and_come_back() {
        let settings = ["ingest-api", "--kafka-brokers", "k", "--partition-count", "1"];
        let limits = ["--requests-in-flight-max", "2", "--bytes-in-flight-max", "100"];
        let config = Config::parse_from(settings.iter().chain(&limits));
        let metrics = Metrics::new().unwrap();
        let admission = Admission::new(&config.limits, &metrics);
        let first = admission.admit(60).unwrap();
        assert!(admission.admit(60).is_none(), "bytes");
        let second = admission.admit(40).unwrap();
        assert!(admission.admit(0).is_none(), "requests");
        assert_eq!(metrics.ingest_bytes_in_flight.get(), 100);
        drop((first, second));
        assert_eq!(metrics.ingest_requests_in_flight.get(), 0);
        let mut all = admission.admit(100).unwrap();
        assert!(!all.grow(1), "there are no more");
        all.shrink_to(20);
        assert!(all.grow(10));
        all.shrink_to(31);
        assert_eq!(metrics.ingest_bytes_in_flight.get(), 30);
        assert!(admission.admit(71).is_none(), "what was not given back");
        assert!(admission.admit(70).is_some());
        drop(all);
        assert_eq!(metrics.ingest_bytes_in_flight.get(), 0);
    }
}
