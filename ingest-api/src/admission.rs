//! How much may be in flight of proven senders: requests and bytes, each under a hard limit. Full means an
//! answer at once, never a wait. What strangers send is counted apart, in [`unproven`](crate::unproven).

use std::sync::Arc;

use crate::{
    budget::{Budget, Level, Share},
    config::Limits,
    metrics::Metrics,
    unproven::Unproven,
};

/// Counts what is in flight.
#[derive(Debug)]
pub struct Admission {
    /// What is read before it is known who sends it.
    pub unproven: Arc<Unproven>,
    in_flight: Arc<Budget>,
}

/// One request's share. It goes with the request's records until Kafka's answer, also when the sender hangs up
/// meanwhile: what is on its way to Kafka counts.
pub type Admitted = Share;

impl Admission {
    pub fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let requests = Level::shown(limits.requests_in_flight_max, &metrics.ingest_requests_in_flight);
        let bytes = Level::shown(limits.bytes_in_flight_max, &metrics.ingest_bytes_in_flight);
        Self { unproven: Arc::new(Unproven::new(limits, metrics)), in_flight: Budget::new(requests, bytes) }
    }

    /// Lets a request in of which `bytes` are there, or not.
    pub fn admit(&self, bytes: u32) -> Option<Admitted> {
        self.in_flight.take(bytes)
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
