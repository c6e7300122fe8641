//! Counts as gauges and tables take them.

/// As a signed number: the largest, if there are more.
pub fn signed(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
