//! When a message was sent, in the spellings that providers have. What cannot be read is left out and counted: no
//! message is lost for it.

use chrono::{DateTime, FixedOffset, NaiveDateTime};
use schemas::Timestamp;
use serde::Deserialize;

use crate::{
    condition::Condition,
    field::{Field, Maker},
    walk::{Found, FoundItem, Places},
};

/// A time as a description writes it.
///
/// ```toml
/// time = { from = ["/timestamp"], spelling = ["unix_s"] }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    pub from: Vec<crate::pointer::Pointer>,
    /// Tried in this order.
    pub spelling: Vec<Spelling>,
    /// The offset of a time that names none, such as `+08:00`.
    pub zone: Option<String>,
    /// It counts only if this holds.
    pub when: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// Seconds since 1970, a number or a string of digits, perhaps with a fraction.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// RFC 3339; an offset may be written without its colon.
    Rfc3339,
    /// `YYYY-MM-DD HH:MM:SS`, perhaps with a fraction, in `zone`.
    Local,
    /// `YYYYMMDDHHMMSS` in `zone`.
    Compact,
}

/// A time that knows its place.
#[derive(Debug)]
pub struct Clock {
    maker: Maker,
    spelling: Vec<Spelling>,
    zone: Option<FixedOffset>,
}

/// There is a time that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Time {
    /// # Errors
    /// A zone that is none, or a spelling that needs one.
    pub(crate) fn compile(&self, places: &mut Places) -> Result<Clock, String> {
        let field = Field { from: self.from.clone(), when: self.when.clone(), ..Field::default() };
        let maker = field.compile("time", places)?;
        let zone = self.zone.as_deref().map(|zone| {
            zone.parse::<FixedOffset>().map_err(|_| "time: zone must be an offset such as +08:00".to_owned())
        });
        let zone = zone.transpose()?;
        let needs_zone = self.spelling.iter().any(|it| matches!(it, Spelling::Local | Spelling::Compact));
        if self.spelling.is_empty() {
            return Err("time: there must be a spelling".to_owned());
        }
        if needs_zone && zone.is_none() {
            return Err("time: local and compact need a zone, such as +08:00".to_owned());
        }
        Ok(Clock { maker, spelling: self.spelling.clone(), zone })
    }
}

impl Clock {
    /// The time of an item, if it has one.
    ///
    /// # Errors
    /// It has one in another spelling.
    pub fn read(&self, found: &Found<'_>, item: FoundItem) -> Result<Option<Timestamp>, Unreadable> {
        let Some(text) = self.maker.make(found, item) else { return Ok(None) };
        self.spelling.iter().find_map(|it| self.parse(*it, &text)).map(Some).ok_or(Unreadable)
    }

    fn parse(&self, spelling: Spelling, text: &str) -> Option<Timestamp> {
        match spelling {
            Spelling::UnixS => micros(text, 1_000_000),
            Spelling::UnixMs => micros(text, 1_000),
            Spelling::Rfc3339 => {
                let without_colon = || DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").ok();
                let time = DateTime::parse_from_rfc3339(text).ok().or_else(without_colon)?;
                Timestamp::from_micros(time.timestamp_micros())
            }
            Spelling::Local => self.in_zone(text, "%Y-%m-%d %H:%M:%S%.f"),
            Spelling::Compact if text.len() == 14 => self.in_zone(text, "%Y%m%d%H%M%S"),
            Spelling::Compact => None,
        }
    }

    fn in_zone(&self, text: &str, format: &str) -> Option<Timestamp> {
        let local = NaiveDateTime::parse_from_str(text, format).ok()?;
        let time = local.and_local_timezone(self.zone?).single()?;
        Timestamp::from_micros(time.timestamp_micros())
    }
}

/// Of a decimal number with this many microseconds to one; digits beyond microseconds are cut off.
fn micros(text: &str, unit: i64) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole = whole.parse::<i64>().ok()?.checked_mul(unit)?;
    let digits = fraction.bytes().map(|digit| i64::from(digit - b'0'));
    let (fraction, _) = digits.fold((0, unit), |(sum, unit), digit| (sum + digit * (unit / 10), unit / 10));
    Timestamp::from_micros(whole.checked_add(fraction)?)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(spelling: &str, text: &str) -> Result<Option<Timestamp>, Unreadable> {
        let time = format!("from = [\"/t\"]\nspelling = [\"{spelling}\"]\nzone = \"+08:00\"");
        let mut places = Places::new(None);
        let clock = toml::from_str::<Time>(&time).unwrap().compile(&mut places).unwrap();
        let document = format!("{{\"t\": {text}}}");
        let found = Found::in_json(&places, &document).unwrap();
        clock.read(&found, found.items()[0])
    }

    #[rstest]
    #[case("unix_s", "1795494900", "2026-11-24T04:35:00.000000Z")]
    #[case("unix_s", "\"1795494900\"", "2026-11-24T04:35:00.000000Z")]
    #[case("unix_s", "1795494900.25", "2026-11-24T04:35:00.250000Z")]
    #[case("unix_ms", "1795494900123", "2026-11-24T04:35:00.123000Z")]
    #[case("rfc3339", "\"2026-11-24T04:35:00.120+0000\"", "2026-11-24T04:35:00.120000Z")]
    #[case("rfc3339", "\"2026-11-24T07:35:00+03:00\"", "2026-11-24T04:35:00.000000Z")]
    #[case("local", "\"2026-11-24 12:35:00.000000\"", "2026-11-24T04:35:00.000000Z")]
    #[case("compact", "\"20261124123500\"", "2026-11-24T04:35:00.000000Z")]
    fn a_time_is_read_as_it_is_spelled(#[case] spelling: &str, #[case] text: &str, #[case] time: &str) {
        assert_eq!(read(spelling, text).unwrap().unwrap().to_string(), time);
    }

    #[rstest]
    #[case("unix_s", "\"soon\"")]
    #[case("unix_s", "-1")]
    #[case("unix_s", "1e9")]
    #[case("unix_ms", "99999999999999999999")]
    #[case("rfc3339", "\"2026-11-24 04:35\"")]
    #[case("local", "\"24.11.2026\"")]
    #[case("compact", "\"2026112412350\"")]
    fn another_spelling_is_no_time(#[case] spelling: &str, #[case] text: &str) {
        assert_eq!(read(spelling, text), Err(Unreadable));
    }

    #[test]
    fn without_a_time_there_is_none() {
        assert_eq!(read("unix_s", "null"), Ok(None));
    }
}
