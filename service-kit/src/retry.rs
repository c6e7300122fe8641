//! Waiting between attempts. The only use of the crate `backoff`, which is a given requirement
//! although it is no longer maintained (ADR 0008): to replace it, replace this file.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};

/// Exponential delays with jitter, without an end: the caller decides when to give up.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// From `first` (± 50 %) up to `longest`, doubling.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: longest,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The same without jitter: for a world that must be the same each time.
    pub fn even(first: Duration, longest: Duration) -> Self {
        let Self(jittered) = Self::new(first, longest);
        Self(ExponentialBackoff { randomization_factor: 0.0, ..jittered })
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// After a success: the next delay is the first again.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_again_after_a_success() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        let delays: Vec<Duration> = (0..50).map(|_| backoff.next_delay()).collect();
        assert!(delays.iter().all(|delay| *delay <= longest.mul_f64(1.5)), "{delays:?}");
        assert!(delays.iter().skip(10).all(|delay| *delay >= longest.mul_f64(0.5)), "{delays:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= first.mul_f64(1.5));
        let mut even = Backoff::even(first, longest);
        assert_eq!([(); 5].map(|()| even.next_delay().as_millis()), [100, 200, 400, 800, 1_000]);
    }
}
