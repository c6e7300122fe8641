//! The age of what a partition has not applied yet.

use schemas::Timestamp;

/// The oldest record of a partition that is not applied, as far as it is known here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    /// When it was appended, if a lane has it in hand.
    pub(super) appended_at: Option<Timestamp>,
    /// Otherwise: since when the log has been seen to hold more than is applied, in seconds since 1970.
    seen_at: Option<i64>,
}

impl Waiting {
    /// Its age. Without the record in hand it is at least the time since it was first seen.
    pub(super) fn age_seconds(&mut self, lag: i64, now: i64) -> i64 {
        if let Some(appended_at) = self.appended_at {
            self.seen_at = None;
            return (now - appended_at.as_millis() / 1_000).max(0);
        }
        if lag <= 0 {
            self.seen_at = None;
            return 0;
        }
        (now - *self.seen_at.get_or_insert(now)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_in_seconds_is_the_age_of_the_oldest_record_in_hand() {
        let appended_at = Timestamp::from_millis(1_764_000_000_000);
        let mut waiting = Waiting { appended_at, seen_at: None };
        assert_eq!(waiting.age_seconds(5, 1_764_000_060), 60);
        assert_eq!(waiting.age_seconds(0, 1_764_000_060), 60, "the log's end may be older than the record");
        assert_eq!(waiting.age_seconds(5, 1_763_999_990), 0, "the broker's clock may be ahead");
    }

    #[test]
    fn a_record_that_is_not_in_hand_is_at_least_as_old_as_the_first_sight_of_it() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.age_seconds(0, 100), 0);
        assert_eq!(waiting.age_seconds(3, 200), 0);
        assert_eq!(waiting.age_seconds(4, 207), 7);
        assert_eq!(waiting.age_seconds(0, 208), 0);
        assert_eq!(waiting.age_seconds(1, 300), 0);
    }
}
