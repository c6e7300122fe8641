//! Which part of a plan a process sends.

use std::{fmt, str::FromStr};

use super::ClientIndex;

/// One of the processes that share a plan; written `0/4` … `3/4`. A client belongs to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be i/n with i from 0 to n-1 and n up to 1024, such as 0/4")]
pub struct ShardError;

const COUNT_MAX: u32 = 1024;

impl Shard {
    /// The one process that sends everything.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Its number, from 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    pub const fn count(self) -> u32 {
        self.count
    }

    /// Low client numbers are the busy ones: taking turns spreads them evenly.
    pub const fn has(self, client: ClientIndex) -> bool {
        client.0 % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, count) = text.split_once('/').ok_or(ShardError)?;
        match (index.parse(), count.parse()) {
            (Ok(index), Ok(count)) if index < count && count <= COUNT_MAX => Ok(Self { index, count }),
            _ => Err(ShardError),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("4/4")]
    #[case("0/0")]
    #[case("1")]
    #[case("-1/2")]
    #[case("0/1025")]
    fn a_shard_that_there_is_not_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Shard>(), Err(ShardError));
    }
}
