//! A point in time as Telex keeps it: UTC with microseconds, which is what PostgreSQL keeps, so
//! that a time survives the way from JSON to a row and back unchanged.

use std::{fmt, ops::Range, str::FromStr, time::Duration};

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

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
    pub const EPOCH: Self = Self(0);

    pub const TEXT_BYTES: usize = 27;

    /// From microseconds since the epoch; `None` outside the years that RFC 3339 can write.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time = DateTime::from_timestamp_micros(micros)?;
        (0..=9999).contains(&time.year()).then_some(Self(micros))
    }

    /// From milliseconds since the epoch, the unit of Kafka's record timestamps.
    pub fn from_millis(millis: i64) -> Option<Self> {
        Self::from_micros(millis.checked_mul(1_000)?)
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Parses RFC 3339 with any offset; digits beyond microseconds are cut off.
    pub fn parse(value: &str) -> Result<Self, (InvalidReason, &'static str)> {
        in_utc(value.as_bytes())
            .or_else(|| DateTime::parse_from_rfc3339(value).ok().map(|time| time.to_utc()))
            .and_then(|time| Self::from_micros(time.timestamp_micros()))
            .ok_or((InvalidReason::TimestampMalformed, "must be an RFC 3339 time"))
    }

    /// Parses a producer's claim about when a message was sent: RFC 3339, not before 2000, at most
    /// a day after `received_at`.
    pub fn parse_sent_at(value: &str, received_at: Self) -> Result<Self, (InvalidReason, &'static str)> {
        Self::parse(value)?.check_sent_at(received_at)
    }

    /// The same of a time that is read already.
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

    /// Writes the time as RFC 3339 in UTC with six digits: one spelling for one time.
    pub fn encode(self, buffer: &mut [u8; Self::TEXT_BYTES]) -> &str {
        let time = self.to_utc();
        *buffer = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0..4, time.year().unsigned_abs()),
            (5..7, time.month()),
            (8..10, time.day()),
            (11..13, time.hour()),
            (14..16, time.minute()),
            (17..19, time.second()),
            (20..26, time.timestamp_subsec_micros()),
        ] {
            let mut left = number;
            for digit in buffer.get_mut(place).unwrap_or_default().iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

/// As [`Timestamp::encode`] writes it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Self::TEXT_BYTES]))
    }
}

/// Reads the form that nearly all times have, in UTC with six digits, three or none, several times as fast as chrono,
/// which has the last word on all others.
fn in_utc(text: &[u8]) -> Option<DateTime<Utc>> {
    let (head, fraction) = text.strip_suffix(b"Z")?.split_at_checked(19)?;
    let marks: [(usize, u8); 5] = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| head.get(*at) == Some(mark)) {
        return None;
    }
    let part = |place: Range<usize>| number(head.get(place)?);
    let micros = match fraction {
        [] => 0,
        [b'.', millis @ ..] if millis.len() == 3 => number(millis)? * 1_000,
        [b'.', micros @ ..] if micros.len() == 6 => number(micros)?,
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(part(0..4)?).ok()?, part(5..7)?, part(8..10)?)?;
    date.and_hms_micro_opt(part(11..13)?, part(14..16)?, part(17..19)?, micros).map(|time| time.and_utc())
}

/// Of a few digits.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use chrono::SecondsFormat;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// From year 0 to the end of 9999.
    const WRITABLE: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

    fn read_by_chrono(text: &str) -> Option<Timestamp> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        Timestamp::from_micros(time.timestamp_micros())
    }

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

    #[rstest]
    #[case::leap_second("2016-12-31T23:59:60Z")]
    #[case::leap_second_with_a_fraction("2016-12-31T23:59:60.500000Z")]
    #[case::leap_day("2024-02-29T00:00:00.000Z")]
    #[case::no_leap_day("2023-02-29T00:00:00.000Z")]
    #[case::end_of_a_day("2026-11-24T24:00:00Z")]
    #[case::year_0("0000-01-01T00:00:00.000000Z")]
    #[case::a_sign_for_a_digit("+026-11-24T04:35:00Z")]
    #[case::no_digit_behind_the_point("2026-11-24T04:35:00.Z")]
    #[case::no_zone("2026-11-24T04:35:00.000000")]
    fn a_time_at_the_edge_of_the_rules_is_read_as_chrono_reads_it(#[case] text: &str) {
        assert_eq!(Timestamp::parse(text).ok(), read_by_chrono(text));
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_chrono_writes_it(micros in WRITABLE) {
            let time = Timestamp::from_micros(micros).unwrap();
            prop_assert_eq!(time.to_string(), time.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true));
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }

        #[test]
        fn a_text_is_the_time_that_chrono_reads_of_it(
            text in "[0-9]{4}-(0[0-9]|1[0-3])-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.]([0-9]{3}|[0-9]{6}|[0-9]{0,10}))?([Zz]|[+-][0-2][0-9]:[0-6][0-9])?"
        ) {
            prop_assert_eq!(Timestamp::parse(&text).ok(), read_by_chrono(&text));
        }

        #[test]
        fn a_broken_time_is_what_it_is_to_chrono(micros in WRITABLE, at in 0..Timestamp::TEXT_BYTES, by in "[ -~]{0,2}") {
            let mut text = Timestamp::from_micros(micros).unwrap().to_string();
            text.replace_range(at..=at, &by);
            prop_assert_eq!(Timestamp::parse(&text).ok(), read_by_chrono(&text));
        }
    }
}
