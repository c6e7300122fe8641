//! The highest rate that is kept, between the mission's load and one that no two cores keep, by halving.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::end_to_end::AtRate;

/// What is tried first: the mission's load.
pub const FIRST: f64 = 10_000.0;

/// The step up, and down, until there is a rate that is kept and one that is not.
const STEP: f64 = 1.5;

/// Two rates so close to each other are one.
const PRECISION: f64 = 1.05;

/// Below and above nothing is looked for.
const RANGE: std::ops::RangeInclusive<f64> = 500.0..=80_000.0;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// Requests a second; 0 if no rate was kept.
    pub rate: f64,
    /// Each rate that was tried, in order.
    pub tries: Vec<AtRate>,
}

/// Tries rates until the highest that is kept is known to within 5 %.
pub fn search(mut at_rate: impl FnMut(f64) -> Result<AtRate>) -> Result<Sustained> {
    let (mut kept, mut missed): (Option<f64>, Option<f64>) = (None, None);
    let mut tries = Vec::new();
    while let Some(rate) = next(kept, missed) {
        let tried = at_rate(rate)?;
        if tried.is_sustained() {
            kept = Some(rate);
        } else {
            missed = Some(rate);
        }
        tries.push(tried);
    }
    Ok(Sustained { rate: kept.unwrap_or_default(), tries })
}

/// Which rate to try, given the highest that was kept and the lowest that was not.
fn next(kept: Option<f64>, missed: Option<f64>) -> Option<f64> {
    let rate = match (kept, missed) {
        (None, None) => FIRST,
        (Some(kept), None) => kept * STEP,
        (None, Some(missed)) => missed / STEP,
        (Some(kept), Some(missed)) if missed <= kept * PRECISION => return None,
        (Some(kept), Some(missed)) => (kept * missed).sqrt(),
    };
    // Round numbers are easier to talk about.
    let rate = (rate / 50.0).round() * 50.0;
    let is_between = kept.is_none_or(|kept| rate > kept) && missed.is_none_or(|missed| rate < missed);
    (is_between && RANGE.contains(&rate)).then_some(rate)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(15_230.0)]
    #[case(24_900.0)]
    #[case(9_100.0)]
    #[case(10_000.0)]
    #[case(1_040.0)]
    fn the_highest_rate_that_is_kept_is_found_to_within_5_percent(#[case] limit: f64) {
        let at_rate = |offered| {
            Ok(AtRate { offered, achieved: f64::min(offered, limit * 0.99), ..crate::end_to_end::kept() })
        };
        let found = search(at_rate).unwrap();
        // 98 % of a rate are enough.
        let (low, high) = (limit / 1.06, limit * 1.03);
        assert!((low..=high).contains(&found.rate), "{} for {limit}", found.rate);
        assert!(found.tries.len() <= 12, "{} tries", found.tries.len());
    }

    #[test]
    fn where_no_rate_is_kept_the_search_ends() {
        let at_rate = |offered| Ok(AtRate { offered, wrong: 1, ..crate::end_to_end::kept() });
        let found = search(at_rate).unwrap();
        assert_eq!(found.rate, 0.0);
        assert!(found.tries.last().unwrap().offered < 1_000.0);
    }
}
