//! The wall clock, read in one place, so that a reader can see what depends on it: the time a
//! request was received, and gauges. Nothing that ends in a row is decided by it (R20).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01T00:00:00Z; zero if the machine's clock stands before it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
