//! How a setting becomes a value: its name on the command line ends in its unit, its type in the program has one.

use std::{num::ParseIntError, time::Duration};

/// A time in whole milliseconds.
pub fn millis(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

/// A time in whole seconds.
pub fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

/// A time in whole microseconds.
pub fn micros(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_micros)
}
