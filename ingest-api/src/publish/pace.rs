//! How long records are held back so that more of them share a request to Kafka. Sync and pure, told what time it is.
//!
//! librdkafka sends one partition in a request, and Kafka's cost is a price for each request, whatever it holds
//! (docs/performance.md). How long its own queue waits is fixed while a producer lives; so what is handed to it is held
//! back here, the longer the more records come, as the processor's lanes wait longer when transactions get slow. At low
//! rates nothing is held back, and nobody waits longer than for librdkafka. At very high rates a short time brings
//! enough of them together: a longer one would only make senders wait that send one request after the other.

use std::time::{Duration, Instant};

/// How long the records are counted that tell a rate.
const WINDOW: Duration = Duration::from_millis(100);

/// From how many records a second on they may be held back for which part of the longest time. The parts divide each
/// other, so that shards that see a rate a moment apart still hand over at the same moments.
const STEPS: [(u64, u32); 3] = [(2_000, 4), (4_000, 2), (8_000, 1)];

/// So many records of a partition in a request are enough: what Kafka takes for the request is spread thin by then.
const ENOUGH: u64 = 10;

/// tokio's timers know no shorter time.
const TICK_MIN: Duration = Duration::from_millis(1);

/// The pace of one shard.
#[derive(Debug)]
pub struct Pace {
    longest: Duration,
    partitions: u64,
    /// From which ticks are counted: the same for all shards, so that their records meet in librdkafka's queue.
    epoch: Instant,
    /// When the window began, and how many records of all shards had come until then.
    window: (Instant, u64),
    hold: Duration,
}

impl Pace {
    /// Of records of so many partitions, which wait for `longest` at most.
    pub const fn new(longest: Duration, partitions: u64, epoch: Instant) -> Self {
        Self { longest, partitions, epoch, window: (epoch, 0), hold: Duration::ZERO }
    }

    /// Notes that a record has come, by which the process has had `entered` of them. For how long records are held
    /// back now, zero for not at all.
    pub fn note(&mut self, entered: u64, now: Instant) -> Duration {
        let (began, entered_before) = self.window;
        let within = now.saturating_duration_since(began);
        if within >= WINDOW {
            let came = entered.saturating_sub(entered_before);
            self.hold = held_back(self.longest, self.partitions, came, within);
            self.window = (now, entered);
        }
        self.hold
    }

    /// When what is held back is handed over.
    pub fn next_tick(&self, now: Instant) -> Instant {
        let tick = self.hold.max(TICK_MIN);
        let since_last = now.saturating_duration_since(self.epoch).as_nanos() % tick.as_nanos();
        let since_last = u64::try_from(since_last).map_or(Duration::ZERO, Duration::from_nanos);
        now + tick.saturating_sub(since_last)
    }
}

/// For how long records are held back of which so many came within a time: for the shortest part of the longest time
/// that brings enough together, or else for the longest one that their rate allows.
fn held_back(longest: Duration, partitions: u64, came: u64, within: Duration) -> Duration {
    let comes_in = |time: Duration, records: u64| {
        u128::from(came) * time.as_nanos() >= u128::from(records) * within.as_nanos()
    };
    let allowed = STEPS.into_iter().filter(|(rate, _)| comes_in(Duration::from_secs(1), *rate));
    let mut hold = Duration::ZERO;
    for (_, part) in allowed {
        hold = longest / part;
        if comes_in(hold, ENOUGH * partitions) {
            break;
        }
    }
    hold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(16);

    /// The pace after records have come at this rate for a while, and when the last of them came.
    fn after(rate: u64, seconds: u64, epoch: Instant) -> (Pace, Instant, u64) {
        let (mut pace, mut now) = (Pace::new(LONGEST, 12, epoch), epoch);
        for number in 1..=rate * seconds {
            now = epoch + Duration::from_secs(number) / u32::try_from(rate).unwrap();
            pace.note(number, now);
        }
        (pace, now, rate * seconds)
    }

    #[rstest]
    #[case::few(100, 0)]
    #[case::still_few(1_900, 0)]
    #[case::more(2_100, 4)]
    #[case::many(5_000, 8)]
    #[case::very_many(10_000, 16)]
    #[case::soon_enough(20_000, 8)]
    #[case::enough_at_once(50_000, 4)]
    fn the_more_records_come_the_longer_they_are_held_back_until_there_are_enough(
        #[case] rate: u64,
        #[case] millis: u64,
    ) {
        let (mut pace, now, entered) = after(rate, 2, Instant::now());
        assert_eq!(pace.note(entered + 1, now), Duration::from_millis(millis));
    }

    #[test]
    fn one_record_alone_is_never_held_back_nor_one_after_a_pause() {
        let epoch = Instant::now();
        let mut pace = Pace::new(LONGEST, 12, epoch);
        assert_eq!(pace.note(1, epoch), Duration::ZERO, "the very first");
        assert_eq!(pace.note(2, epoch + Duration::from_secs(60)), Duration::ZERO);
        let (mut busy, now, entered) = after(10_000, 1, epoch);
        assert_eq!(busy.note(entered + 1, now + Duration::from_millis(1)), LONGEST);
        assert_eq!(busy.note(entered + 2, now + Duration::from_secs(5)), Duration::ZERO, "after a pause");
    }

    #[test]
    fn a_large_batch_alone_is_not_held_back() {
        let epoch = Instant::now();
        let mut pace = Pace::new(LONGEST, 12, epoch);
        for number in 1..=1_000 {
            assert_eq!(pace.note(number, epoch + Duration::from_secs(9)), Duration::ZERO, "{number}");
        }
    }

    #[test]
    fn without_a_longest_time_nothing_is_held_back() {
        assert_eq!(held_back(Duration::ZERO, 12, 100_000, Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn more_partitions_need_more_records() {
        let hold = |partitions| held_back(LONGEST, partitions, 50_000, Duration::from_secs(1));
        assert_eq!([12, 30, 60, 600].map(hold), [4, 8, 16, 16].map(Duration::from_millis));
    }

    #[test]
    fn shards_hand_over_at_the_same_moments() {
        let epoch = Instant::now();
        let (one, _, _) = after(10_000, 1, epoch);
        let (other, _, _) = after(5_000, 1, epoch);
        let now = epoch + Duration::from_micros(10_001_234);
        assert_eq!(one.next_tick(now), epoch + Duration::from_millis(10_016));
        assert_eq!(other.next_tick(now), epoch + Duration::from_millis(10_008));
        let later = now + Duration::from_millis(8);
        assert_eq!(one.next_tick(later), other.next_tick(later), "a short tick in two is a long one");
    }

    proptest! {
        /// Whatever came before, a tick is in the future and no further away than the longest time.
        #[test]
        fn a_tick_comes_soon(gaps in proptest::collection::vec(0u64..200_000, 0..200), last in 0u64..100_000) {
            let epoch = Instant::now();
            let (mut pace, mut now) = (Pace::new(LONGEST, 12, epoch), epoch);
            for (entered, gap) in (1..).zip(gaps) {
                now += Duration::from_micros(gap);
                prop_assert!(pace.note(entered, now) <= LONGEST);
            }
            now += Duration::from_micros(last);
            let tick = pace.next_tick(now);
            prop_assert!(tick > now && tick <= now + LONGEST, "{:?}", tick - now);
        }
    }
}
