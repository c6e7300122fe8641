//! How much a producer may send: token buckets, pure, told what time it is.
//!
//! A bucket is kept as one instant, the one at which it will be full again. What is larger than the whole
//! bucket passes when the bucket is full and is paid for afterwards, so that no allowed batch can starve.

use std::time::{Duration, Instant};

/// A rate and how far it may be exceeded for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many come back each second; at least 1.
    pub per_second: u32,
    /// How many fit in at once; at least 1.
    pub burst: u32,
}

impl Rate {
    /// How long it takes until `count` have come back.
    fn time_of(self, count: u32) -> Duration {
        let nanoseconds = u64::from(count).saturating_mul(1_000_000_000) / u64::from(self.per_second.max(1));
        Duration::from_nanos(nanoseconds)
    }
}

/// What a request takes out of its producer's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub messages: u32,
    /// Bytes of the body as it was sent.
    pub bytes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    /// How long until `count` may be taken; zero: now.
    fn wait(&self, count: u32, now: Instant) -> Duration {
        let missing = self.full_at.saturating_duration_since(now);
        let whole = self.rate.time_of(self.rate.burst);
        (missing + self.rate.time_of(count).min(whole)).saturating_sub(whole)
    }

    fn take(&mut self, count: u32, now: Instant) {
        self.full_at = self.full_at.max(now) + self.rate.time_of(count);
    }
}

/// The buckets of one producer; what has no rate is not limited.
#[derive(Debug, Clone)]
pub struct Buckets {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Buckets {
    pub fn new(messages: Option<Rate>, bytes: Option<Rate>, now: Instant) -> Self {
        let full = |rate: Option<Rate>| rate.map(|rate| Bucket { rate, full_at: now });
        Self { messages: full(messages), bytes: full(bytes) }
    }

    /// Takes all of it or nothing.
    ///
    /// # Errors
    /// How long to wait before the same can be taken.
    pub fn take(&mut self, cost: Cost, now: Instant) -> Result<(), Duration> {
        let wait = |bucket: Option<Bucket>, count: u32| match bucket {
            Some(bucket) if count > 0 => bucket.wait(count, now),
            Some(_) | None => Duration::ZERO,
        };
        let wait = wait(self.messages, cost.messages).max(wait(self.bytes, cost.bytes));
        if !wait.is_zero() {
            return Err(wait);
        }
        for (bucket, count) in [(&mut self.messages, cost.messages), (&mut self.bytes, cost.bytes)] {
            if let Some(bucket) = bucket {
                bucket.take(count, now);
            }
        }
        Ok(())
    }

    /// Whether these were made for other rates.
    pub fn differ_from(&self, messages: Option<Rate>, bytes: Option<Rate>) -> bool {
        self.messages.map(|bucket| bucket.rate) != messages || self.bytes.map(|bucket| bucket.rate) != bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Rate = Rate { per_second: 10, burst: 5 };

    fn messages(messages: u32) -> Cost {
        Cost { messages, bytes: 0 }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut buckets = Buckets::new(Some(TEN), None, start);
        for _ in 0..5 {
            buckets.take(messages(1), start).unwrap();
        }
        assert_eq!(buckets.take(messages(1), start), Err(Duration::from_millis(100)));
        buckets.take(messages(1), start + Duration::from_millis(100)).unwrap();
        assert!(buckets.take(messages(1), start + Duration::from_millis(199)).is_err());
    }

    #[test]
    fn what_is_refused_takes_nothing_out_of_the_other_bucket() {
        let start = Instant::now();
        let bytes = Rate { per_second: 100, burst: 100 };
        let mut buckets = Buckets::new(Some(TEN), Some(bytes), start);
        assert_eq!(buckets.take(Cost { messages: 1, bytes: 100 }, start), Ok(()));
        assert!(buckets.take(Cost { messages: 1, bytes: 1 }, start).is_err());
        assert_eq!(buckets.take(messages(4), start), Ok(()), "four of five messages are left");
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_for_later() {
        let start = Instant::now();
        let mut buckets = Buckets::new(Some(TEN), None, start);
        buckets.take(messages(20), start).unwrap();
        let wait = buckets.take(messages(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1_600));
        assert!(buckets.take(messages(20), start + Duration::from_millis(1_999)).is_err());
        buckets.take(messages(20), start + Duration::from_secs(2)).unwrap();
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut buckets = Buckets::new(Some(TEN), None, start);
        buckets.take(messages(5), start).unwrap();
        assert!(buckets.take(messages(1), start - Duration::from_secs(30)).is_err());
    }

    proptest! {
        /// In any stretch of time no more passes than the burst, what came back, and one request.
        #[test]
        fn never_more_than_burst_and_rate_and_one_request(
            steps in proptest::collection::vec((0u64..500, 1u32..8), 1..200),
        ) {
            let start = Instant::now();
            let mut buckets = Buckets::new(Some(TEN), None, start);
            let (mut elapsed_ms, mut passed) = (0u64, 0u32);
            for (step_ms, count) in steps {
                elapsed_ms += step_ms;
                let now = start + Duration::from_millis(elapsed_ms);
                match buckets.take(messages(count), now) {
                    Ok(()) => passed += count,
                    Err(wait) => {
                        prop_assert!(!wait.is_zero());
                        prop_assert!(buckets.clone().take(messages(count), now + wait).is_ok());
                    }
                }
                prop_assert!(u64::from(passed) * 100 <= 500 + elapsed_ms + 7 * 100);
            }
        }
    }
}
