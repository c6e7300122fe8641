//! How much may be in flight: requests and bytes, each under a hard limit. Full means an answer at once,
//! never a wait.

use std::sync::Arc;

use service_kit::prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Limits, metrics::Metrics};

/// Counts what is in flight.
#[derive(Debug)]
pub struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    gauges: [IntGauge; 2],
}

/// One request's share. It goes with the record until Kafka's answer, also when the sender hangs up
/// meanwhile: what is on its way to Kafka counts.
#[derive(Debug)]
pub struct Admitted {
    _permits: [OwnedSemaphorePermit; 2],
    bytes: u32,
    gauges: [IntGauge; 2],
}

impl Admission {
    /// Nothing is in flight.
    #[must_use]
    pub fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let semaphore = |permits: u32| Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(usize::MAX)));
        Self {
            requests: semaphore(limits.requests_in_flight_max),
            bytes: semaphore(limits.bytes_in_flight_max),
            gauges: [metrics.ingest_requests_in_flight.clone(), metrics.ingest_bytes_in_flight.clone()],
        }
    }

    /// Lets a request with a body of at most `bytes` in, or not.
    #[must_use]
    pub fn admit(&self, bytes: u32) -> Option<Admitted> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let body = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        let [requests, in_flight] = &self.gauges;
        requests.inc();
        in_flight.add(i64::from(bytes));
        Some(Admitted { _permits: [request, body], bytes, gauges: self.gauges.clone() })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let [requests, in_flight] = &self.gauges;
        requests.dec();
        in_flight.sub(i64::from(self.bytes));
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
        assert!(admission.admit(100).is_some());
    }
}
