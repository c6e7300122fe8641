//! The shares of valid, duplicate and invalid requests.

use std::{fmt, str::FromStr};

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

/// Shares, relative to their sum; written `valid=90,duplicate=5,invalid=5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    valid: u32,
    duplicate: u32,
    invalid: u32,
}

/// A mix that has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// Not `name=number`, a name that is unknown or given twice, or a number that is too large.
    #[error("`{0}` is not one of valid=N, duplicate=N, invalid=N, each given once, N up to 1000000")]
    Part(String),
    #[error("all shares are zero")]
    Empty,
    /// A duplicate repeats a valid message.
    #[error("duplicates need a share of valid messages to repeat")]
    NothingToRepeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    Valid,
    Duplicate,
    Invalid,
}

const PART_MAX: u32 = 1_000_000;

impl Mix {
    pub(super) const fn has_valid(self) -> bool {
        self.valid > 0
    }

    /// Whether anything is sent that has to be refused.
    pub const fn has_invalid(self) -> bool {
        self.invalid > 0
    }

    pub(super) fn pick(self, draws: &mut Xoshiro256PlusPlus) -> Share {
        let drawn = draws.random_range(0..self.valid + self.duplicate + self.invalid);
        match drawn {
            drawn if drawn < self.valid => Share::Valid,
            drawn if drawn < self.valid + self.duplicate => Share::Duplicate,
            _ => Share::Invalid,
        }
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { valid: 90, duplicate: 5, invalid: 5 }
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut valid, mut duplicate, mut invalid) = (None, None, None);
        for part in text.split(',') {
            let wrong = || MixError::Part(part.to_owned());
            let (name, share) = part.trim().split_once('=').ok_or_else(wrong)?;
            let share = share.parse().ok().filter(|share| *share <= PART_MAX).ok_or_else(wrong)?;
            let slot = match name {
                "valid" => &mut valid,
                "duplicate" => &mut duplicate,
                "invalid" => &mut invalid,
                _ => return Err(wrong()),
            };
            if slot.replace(share).is_some() {
                return Err(wrong());
            }
        }
        let mix = Self {
            valid: valid.unwrap_or(0),
            duplicate: duplicate.unwrap_or(0),
            invalid: invalid.unwrap_or(0),
        };
        match mix {
            Self { valid: 0, duplicate: 0, invalid: 0 } => Err(MixError::Empty),
            Self { valid: 0, duplicate: 1.., .. } => Err(MixError::NothingToRepeat),
            _ => Ok(mix),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "valid={},duplicate={},invalid={}", self.valid, self.duplicate, self.invalid)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_mix_is_read_in_any_order_and_a_share_left_out_is_zero() {
        let mix: Mix = "invalid=1, valid=9".parse().unwrap();
        assert_eq!(mix.to_string(), "valid=9,duplicate=0,invalid=1");
        assert_eq!(mix.to_string().parse(), Ok(mix));
    }

    #[rstest]
    #[case::empty("")]
    #[case::zero("valid=0,invalid=0")]
    #[case::unknown("valid=1,broken=1")]
    #[case::twice("valid=1,valid=2")]
    #[case::negative("valid=-1")]
    #[case::too_large("valid=1000001")]
    #[case::nothing_to_repeat("duplicate=5,invalid=5")]
    fn a_mix_without_a_meaning_is_refused(#[case] text: &str) {
        assert!(text.parse::<Mix>().is_err());
    }
}
