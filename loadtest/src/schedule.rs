//! When requests are due: a pure function of the rate, over all connections and shards together.
//! Depends on nothing that a reply could delay: a slow server cannot slow the schedule down.

use std::{fmt, str::FromStr, time::Duration};

/// Requests a second: one number, or a ramp from one to another; written `2500`, `10k`, `1k..10k`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    from: f64,
    to: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be requests a second from 0.01 to 1000000, such as 2500, 10k or 1k..10k")]
pub struct RateError;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate: Rate,
    seconds: f64,
}

const RATES: std::ops::RangeInclusive<f64> = 0.01..=1e6;

impl Rate {
    pub const fn mean(self) -> f64 {
        f64::midpoint(self.from, self.to)
    }
}

impl Schedule {
    pub fn of(rate: Rate, requests: u64) -> Self {
        Self { rate, seconds: requests as f64 / rate.mean() }
    }

    /// As many requests as fall into that time.
    pub const fn lasting(rate: Rate, duration: Duration) -> Self {
        Self { rate, seconds: duration.as_secs_f64() }
    }

    /// How many requests that makes; one at least.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a number of requests"
    )]
    pub fn requests(&self) -> u64 {
        ((self.rate.mean() * self.seconds).round() as u64).max(1)
    }

    pub fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    pub const fn per_second(&self) -> f64 {
        self.rate.mean()
    }

    /// When request number `index` is due, from the start on.
    pub fn due(&self, index: u64) -> Duration {
        let Rate { from, to } = self.rate;
        let (index, slope) = (index as f64, (to - from) / self.seconds);
        // index = from·t + slope/2·t², solved for t; a small slope must not divide by itself.
        let root = (from * from + 2.0 * slope * index).max(0.0).sqrt();
        Duration::try_from_secs_f64(2.0 * index / (from + root)).unwrap_or(Duration::MAX)
    }

    /// How many requests are due before `elapsed`.
    pub fn due_by(&self, elapsed: Duration) -> f64 {
        let Rate { from, to } = self.rate;
        let time = elapsed.as_secs_f64().min(self.seconds);
        from * time + (to - from) / self.seconds * time * time / 2.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        Ok(Self { from: number(from)?, to: number(to)? })
    }
}

fn number(text: &str) -> Result<f64, RateError> {
    let (digits, factor) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_000.0),
        None => (text, 1.0),
    };
    let rate = digits.parse::<f64>().map_err(|_| RateError)? * factor;
    if RATES.contains(&rate) { Ok(rate) } else { Err(RateError) }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        if from == to { write!(f, "{from}") } else { write!(f, "{from}..{to}") }
    }
}

/// Reads `90`, `90s`, `5m` or `1h`.
///
/// # Errors
/// Not such a time, or none from a second to a week.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("", 1)];
    let number = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor)));
    let seconds = number.and_then(|(digits, factor)| digits.parse::<u64>().ok()?.checked_mul(factor));
    let seconds = seconds.filter(|seconds| (1..=7 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or("must be a time from a second to a week, such as 90s, 5m or 1h")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn requests_are_due_evenly_spaced() {
        let schedule = Schedule::of(rate("200"), 1_000);
        assert_eq!((schedule.due(0), schedule.due(400)), (Duration::ZERO, Duration::from_secs(2)));
        assert_eq!(schedule.duration(), Duration::from_secs(5));
    }

    #[rstest]
    #[case("1k..10k", 55_000)]
    #[case("10k..1k", 55_000)]
    #[case("5k", 50_000)]
    fn a_ramp_has_the_rate_of_its_moment(#[case] text: &str, #[case] requests: u64) {
        let schedule = Schedule::lasting(rate(text), Duration::from_secs(10));
        assert_eq!(schedule.requests(), requests);
        let mut before = Duration::ZERO;
        for index in (0..schedule.requests()).step_by(97) {
            let due = schedule.due(index);
            assert!(due >= before && due <= schedule.duration());
            assert!((schedule.due_by(due) - index as f64).abs() < 0.01, "{index}");
            before = due;
        }
        let all = schedule.due_by(Duration::from_secs(99));
        assert!((all - schedule.requests() as f64).abs() < 0.5);
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("NaN")]
    #[case("1k..")]
    #[case("2M")]
    #[case("-5")]
    fn a_rate_that_cannot_be_kept_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Rate>(), Err(RateError));
    }

    #[test]
    fn a_duration_has_a_unit_or_is_seconds() {
        let seconds = |text| parse_duration(text).map(|time| time.as_secs());
        assert_eq!(
            [seconds("90"), seconds("90s"), seconds("5m"), seconds("1h")],
            [Ok(90), Ok(90), Ok(300), Ok(3_600)]
        );
        assert!(seconds("0").is_err() && seconds("1d").is_err() && seconds("").is_err());
    }
}
