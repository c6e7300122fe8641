//! Transactions of Kafka that do not end. Records behind the first record of an open transaction are not shown to
//! anybody until it is committed or aborted: the last stable offset stands still while the log grows. No consumer
//! can do anything about it, so this is no stall; it is shown under its own name. Pure: time is an argument.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use schemas::Partition;

use crate::domain::position::Offset;

/// From this time on an open transaction is logged. Brokers end one after `transaction.timeout.ms`, a minute
/// by default.
const TOLD_AFTER: Duration = Duration::from_secs(90);

/// The two ends of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    pub partition: Partition,
    /// The last stable offset: from here on, a transaction may still be open.
    pub stable: Offset,
    /// The high watermark.
    pub high: Offset,
}

#[derive(Debug)]
struct Open {
    stable: Offset,
    since: Instant,
    is_told: bool,
}

/// The transactions that hold records back.
#[derive(Debug, Default)]
pub struct OpenTransactions {
    open: BTreeMap<Partition, Open>,
}

impl OpenTransactions {
    /// Notes where a log ends. Says for how long the same transaction has held back records, and whether that is
    /// to be told now.
    pub fn look(&mut self, ends: LogEnds, now: Instant) -> (Duration, bool) {
        let LogEnds { partition, stable, high } = ends;
        if stable >= high {
            self.open.remove(&partition);
            return (Duration::ZERO, false);
        }
        let fresh = || Open { stable, since: now, is_told: false };
        let open = self.open.entry(partition).or_insert_with(fresh);
        if open.stable != stable {
            // That one has ended; another one is open.
            *open = fresh();
        }
        let lasts = now.saturating_duration_since(open.since);
        let is_news = lasts >= TOLD_AFTER && !std::mem::replace(&mut open.is_told, lasts >= TOLD_AFTER);
        (lasts, is_news)
    }

    /// Forgets a partition that is not read: what is known of its log grows old.
    pub fn forget(&mut self, partition: Partition) {
        self.open.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_open_as_long_as_the_stable_end_stands_still_below_the_other() {
        let (mut open, start) = (OpenTransactions::default(), Instant::now());
        let mut look = |stable, high, seconds| {
            let ends = LogEnds { partition: Partition(1), stable: Offset(stable), high: Offset(high) };
            let (lasts, is_news) = open.look(ends, start + Duration::from_secs(seconds));
            (lasts.as_secs(), is_news)
        };
        assert_eq!(look(5, 5, 0), (0, false));
        assert_eq!(look(5, 7, 1), (0, false));
        assert_eq!(look(5, 90, 61), (60, false), "the log grows behind it");
        assert_eq!(look(5, 91, 101), (100, true));
        assert_eq!(look(5, 91, 201), (200, false), "told once");
        assert_eq!(look(80, 91, 202), (0, false), "another one");
        assert_eq!(look(91, 91, 203), (0, false));
        assert_eq!(look(91, 92, 300), (0, false));
    }
}
