//! A point in time as Telex keeps it: UTC with microseconds, which is what PostgreSQL keeps, so
//! that a time survives the way from JSON to a row and back unchanged.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::reason::InvalidReason;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 2000-01-01T00:00:00Z: no webhook source is older, an earlier time is a broken clock or a unit error.
const EARLIEST: Timestamp = Timestamp(946_684_800_000_000);

/// How far ahead of the receiver a producer's clock may be.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// For command lines: [`Timestamp::parse`], whose rule is the error.
impl FromStr for Timestamp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).map_err(|(_, rule)| rule)
    }
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the epoch; `None` outside the years that RFC 3339 can write.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time = DateTime::from_timestamp_micros(micros)?;
        (0..=9999).contains(&chrono::Datelike::year(&time)).then_some(Self(micros))
    }

    /// From milliseconds since the epoch, the unit of Kafka's record timestamps.
    pub fn from_millis(millis: i64) -> Option<Self> {
        Self::from_micros(millis.checked_mul(1_000)?)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Parses RFC 3339 with any offset; digits beyond microseconds are cut off.
    pub fn parse(value: &str) -> Result<Self, (InvalidReason, &'static str)> {
        DateTime::parse_from_rfc3339(value)
            .ok()
            .and_then(|time| Self::from_micros(time.timestamp_micros()))
            .ok_or((InvalidReason::TimestampMalformed, "must be an RFC 3339 time"))
    }

    /// Parses a producer's claim about when a message was sent: RFC 3339, not before 2000, at most
    /// a day after `received_at`.
    ///
    /// # Errors
    /// The violated rule.
    pub fn parse_sent_at(value: &str, received_at: Self) -> Result<Self, (InvalidReason, &'static str)> {
        Self::parse(value)?.check_sent_at(received_at)
    }

    /// The same of a time that is read already.
    ///
    /// # Errors
    /// It is out of range.
    pub fn check_sent_at(self, received_at: Self) -> Result<Self, (InvalidReason, &'static str)> {
        let ahead_max = i64::try_from(AHEAD_MAX.as_micros()).unwrap_or(i64::MAX);
        match EARLIEST <= self && self.0 <= received_at.0.saturating_add(ahead_max) {
            true => Ok(self),
            false => Err((InvalidReason::TimestampOutOfRange, "must lie between 2000 and a day from now")),
        }
    }

    /// As the type that sqlx binds to `timestamptz`.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }
}

/// RFC 3339 in UTC with six digits: one spelling for one time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-11-24T04:35:00Z", "2026-11-24T04:35:00.000000Z")]
    #[case("2026-11-24T07:35:00.5+03:00", "2026-11-24T04:35:00.500000Z")]
    #[case("2026-11-24T04:35:00.123456789Z", "2026-11-24T04:35:00.123456Z")]
    fn one_time_has_one_spelling(#[case] given: &str, #[case] shown: &str) {
        let time = Timestamp::parse(given).unwrap();
        assert_eq!(time.to_string(), shown);
        assert_eq!(Timestamp::parse(shown).unwrap(), time);
    }

    #[rstest]
    #[case("1999-12-31T23:59:59.999999Z", false)]
    #[case("2000-01-01T00:00:00Z", true)]
    #[case("2026-11-25T04:35:00Z", true)]
    #[case("2026-11-25T04:35:00.000001Z", false)]
    fn a_sent_at_lies_between_2000_and_a_day_from_now(#[case] given: &str, #[case] valid: bool) {
        let received_at = Timestamp::parse("2026-11-24T04:35:00Z").unwrap();
        assert_eq!(Timestamp::parse_sent_at(given, received_at).is_ok(), valid);
    }
}
