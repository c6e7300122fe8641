//! How many messages a client writes.

use std::{fmt, str::FromStr};

/// A distribution of messages over clients. Who writes next is drawn, so that the numbers are those
/// of a client on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Most write little and some much, as people do; written as the mean, `10`.
    Skewed { mean: f64 },
    /// All write about as much; written `even:10`.
    Even { mean: f64 },
    /// Evenly spread between two numbers; written `1..20`.
    Between { low: f64, high: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a mean (10), even:MEAN or LOW..HIGH with numbers from 1 to 100000")]
pub struct SpreadError;

const NUMBERS: std::ops::RangeInclusive<f64> = 1.0..=100_000.0;

impl Default for Spread {
    fn default() -> Self {
        Self::Skewed { mean: 10.0 }
    }
}

impl Spread {
    pub const fn mean(self) -> f64 {
        match self {
            Self::Skewed { mean } | Self::Even { mean } => mean,
            Self::Between { low, high } => f64::midpoint(low, high),
        }
    }

    /// Who of `count` writes next, busy ones first, from a number drawn evenly between 0 and 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the quantile lies in 0..1, so the product lies in 0..=count"
    )]
    pub(super) fn place(self, count: u32, uniform: f64) -> u32 {
        ((self.quantile(uniform) * f64::from(count)) as u32).min(count.saturating_sub(1))
    }

    /// The inverse of the share of messages that the busiest clients write.
    fn quantile(self, uniform: f64) -> f64 {
        /// The density falls like 1/(FLATNESS + x): with ten messages a client on average, the busiest
        /// get about 200, half of them four or fewer. The head is flat, because one client's messages go
        /// one after the other over one connection.
        const FLATNESS: f64 = 0.01;
        match self {
            Self::Skewed { .. } => FLATNESS * ((1.0 + 1.0 / FLATNESS).powf(uniform) - 1.0),
            Self::Between { low, high } if low < high => {
                (high - (high * high - (high * high - low * low) * uniform).sqrt()) / (high - low)
            }
            Self::Even { .. } | Self::Between { .. } => uniform,
        }
    }
}

impl FromStr for Spread {
    type Err = SpreadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number =
            |text: &str| text.parse().ok().filter(|number| NUMBERS.contains(number)).ok_or(SpreadError);
        if let Some(mean) = text.strip_prefix("even:") {
            return Ok(Self::Even { mean: number(mean)? });
        }
        let Some((low, high)) = text.split_once("..") else {
            return Ok(Self::Skewed { mean: number(text)? });
        };
        let (low, high) = (number(low)?, number(high)?);
        if low <= high { Ok(Self::Between { low, high }) } else { Err(SpreadError) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skewed { mean } => write!(f, "{mean}"),
            Self::Even { mean } => write!(f, "even:{mean}"),
            Self::Between { low, high } => write!(f, "{low}..{high}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10", 10.0)]
    #[case("even:2.5", 2.5)]
    #[case("1..20", 10.5)]
    #[case("4..4", 4.0)]
    fn a_spread_is_read_and_written(#[case] text: &str, #[case] mean: f64) {
        let spread: Spread = text.parse().unwrap();
        assert_eq!(spread.to_string(), text);
        assert!((spread.mean() - mean).abs() < 1e-9);
        for uniform in [0.0, 0.3, 0.999_999] {
            assert!(spread.place(7, uniform) < 7);
        }
    }

    #[rstest]
    #[case("")]
    #[case("0")]
    #[case("NaN")]
    #[case("5..2")]
    #[case("even:")]
    #[case("flat:3")]
    fn a_spread_that_there_is_not_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Spread>(), Err(SpreadError));
    }
}
