//! How much may be in flight of proven senders: requests and bytes, each under a hard limit. Full means an
//! answer at once, never a wait. What strangers send is counted apart, in [`unproven`](crate::unproven).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use service_kit::prometheus::IntGauge;

use crate::{config::Limits, metrics::Metrics, unproven::Unproven};

/// Counts what is in flight.
#[derive(Debug)]
pub struct Admission {
    /// What is read before it is known who sends it.
    pub unproven: Arc<Unproven>,
    in_flight: Arc<InFlight>,
}

/// One request's share. It goes with the request's records until Kafka's answer, also when the sender hangs up
/// meanwhile: what is on its way to Kafka counts.
#[derive(Debug)]
pub struct Admitted {
    in_flight: Arc<InFlight>,
    bytes: u32,
}

/// All shares together.
#[derive(Debug)]
struct InFlight {
    requests: Held,
    bytes: Held,
}

/// How much is held of something of which there is only so much. Nobody waits for it, so a number is all that it
/// takes. The gauge is raised after the number and lowered before it: it never shows more than the limit.
#[derive(Debug)]
struct Held {
    count: AtomicU64,
    max: u64,
    gauge: IntGauge,
}

impl Held {
    fn new(max: u32, gauge: &IntGauge) -> Self {
        Self { count: AtomicU64::new(0), max: max.into(), gauge: gauge.clone() }
    }

    /// Takes all of it or nothing. Compared before it is added: a large share that does not fit must not keep out,
    /// for the moment until it is taken back, a small one that does.
    fn take(&self, count: u32) -> bool {
        let fits = |held: u64| held.checked_add(count.into()).filter(|held| *held <= self.max);
        let is_taken = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok();
        if is_taken {
            self.gauge.add(count.into());
        }
        is_taken
    }

    fn give_back(&self, count: u32) {
        self.gauge.sub(count.into());
        self.count.fetch_sub(count.into(), Ordering::Release);
    }
}

impl Admission {
    pub fn new(limits: &Limits, metrics: &Metrics) -> Self {
        let in_flight = InFlight {
            requests: Held::new(limits.requests_in_flight_max, &metrics.ingest_requests_in_flight),
            bytes: Held::new(limits.bytes_in_flight_max, &metrics.ingest_bytes_in_flight),
        };
        Self { unproven: Arc::new(Unproven::new(limits, metrics)), in_flight: Arc::new(in_flight) }
    }

    /// Lets a request in of which `bytes` are there, or not.
    pub fn admit(&self, bytes: u32) -> Option<Admitted> {
        if !self.in_flight.requests.take(1) {
            return None;
        }
        // Dropped again, and the request's place with it, if the bytes are too many.
        let mut admitted = Admitted { in_flight: Arc::clone(&self.in_flight), bytes: 0 };
        admitted.grow(bytes).then_some(admitted)
    }
}

impl Admitted {
    /// Takes `bytes` more, or nothing.
    pub fn grow(&mut self, bytes: u32) -> bool {
        let is_taken = self.in_flight.bytes.take(bytes);
        if is_taken {
            // No more than the limit, which is a `u32`.
            self.bytes = self.bytes.saturating_add(bytes);
        }
        is_taken
    }

    /// Gives back what turned out not to be needed, once the body is known to have `bytes`.
    pub fn shrink_to(&mut self, bytes: u32) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.in_flight.bytes.give_back(surplus);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.in_flight.bytes.give_back(self.bytes);
        self.in_flight.requests.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn admission(requests: &str, bytes: &str) -> (Admission, Metrics) {
        let settings = ["ingest-api", "--kafka-brokers", "k", "--partition-count", "1"];
        let limits = ["--requests-in-flight-max", requests, "--bytes-in-flight-max", bytes];
        let config = Config::parse_from(settings.iter().chain(&limits));
        let metrics = Metrics::new().unwrap();
        (Admission::new(&config.limits, &metrics), metrics)
    }

    #[test]
    fn requests_and_bytes_are_limited_apart_and_come_back() {
        let (admission, metrics) = admission("2", "100");
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

    #[test]
    fn threads_that_compete_never_hold_more_than_the_limit_and_a_share_that_fits_is_never_refused() {
        let (admission, metrics) = admission("1000", "100");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        assert!(admission.admit(101).is_none(), "never fits");
                        // Two of these always fit, whoever else is being refused.
                        let share = admission.admit(50).unwrap();
                        assert!(metrics.ingest_bytes_in_flight.get() <= 100);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(metrics.ingest_bytes_in_flight.get(), 0);
        assert_eq!(metrics.ingest_requests_in_flight.get(), 0);
    }

    proptest! {
        /// Whatever comes, the limits hold after each step, the gauges tell what is held, and nothing is left when all
        /// have gone.
        #[test]
        fn the_limits_hold_and_everything_comes_back(
            steps in proptest::collection::vec((0u8..4, 0usize..20, 0u32..60), 0..300),
        ) {
            let (admission, metrics) = admission("5", "100");
            let mut shares: Vec<Admitted> = Vec::new();
            for (step, which, bytes) in steps {
                let held: u32 = shares.iter().map(|share| share.bytes).sum();
                match (step, shares.len()) {
                    (0, _) | (_, 0) => {
                        let share = admission.admit(bytes);
                        prop_assert_eq!(share.is_some(), shares.len() < 5 && held + bytes <= 100);
                        shares.extend(share);
                    }
                    (1, count) => prop_assert_eq!(shares[which % count].grow(bytes), held + bytes <= 100),
                    (2, count) => shares[which % count].shrink_to(bytes),
                    (_, count) => drop(shares.swap_remove(which % count)),
                }
                let held: u32 = shares.iter().map(|share| share.bytes).sum();
                prop_assert!(held <= 100 && shares.len() <= 5);
                prop_assert_eq!(metrics.ingest_bytes_in_flight.get(), i64::from(held));
                prop_assert_eq!(metrics.ingest_requests_in_flight.get(), i64::try_from(shares.len()).unwrap());
            }
            drop(shares);
            prop_assert_eq!(metrics.ingest_bytes_in_flight.get(), 0);
            prop_assert_eq!(metrics.ingest_requests_in_flight.get(), 0);
        }
    }
}
