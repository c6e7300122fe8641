//! The thread that everything runs on, and how often it wakes.
//!
//! At thousands of requests a second, a wake-up for each reply costs more than the reply. So from a rate on the
//! thread sleeps until the next tick whenever it has nothing to do, and then takes what has come meanwhile and
//! sends what is due: a thousand wake-ups a second, whatever the rate. What is measured is too long by up to a
//! tick then, and never too short. Without a rate nothing waits: a reply is what the next request waits for.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

/// Time between two wake-ups; timers are no finer.
pub const TICK: Duration = Duration::from_millis(1);

/// Requests a second from which on there are more replies than ticks.
const FROM_PER_SECOND: f64 = 2_000.0;

/// Requests a second over one connection up to which the next is due some ticks after the reply: above, waiting
/// for a tick could make it late.
const UP_TO_PER_CONNECTION: f64 = 200.0;

/// A tick comes about so long after the timers of its millisecond are due, or they would wait for the next.
const AFTER_TIMERS: Duration = Duration::from_micros(300);

/// For a load of so many requests a second (`None`: as many as there can be) over so many connections. One
/// thread: what is tested runs on the same machine, and sending is cheap.
pub fn runtime(per_second: Option<f64>, connections: u16) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if is_worth_it(per_second, connections) {
        let start = Instant::now() + AFTER_TIMERS;
        builder.on_thread_park(move || thread::sleep(until_next(start.elapsed())));
    }
    builder.build()
}

fn is_worth_it(per_second: Option<f64>, connections: u16) -> bool {
    let rates = FROM_PER_SECOND..=UP_TO_PER_CONNECTION * f64::from(connections);
    per_second.is_some_and(|rate| rates.contains(&rate))
}

/// The rest of the tick, never nothing.
fn until_next(elapsed: Duration) -> Duration {
    let into_tick = elapsed.as_nanos() % TICK.as_nanos();
    TICK.saturating_sub(Duration::from_nanos(u64::try_from(into_tick).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_lasts_until_the_next_wherever_it_is_met() {
        let rest = |micros| until_next(Duration::from_micros(micros)).as_micros();
        assert_eq!([rest(0), rest(1), rest(999), rest(1_000), rest(2_400)], [1_000, 999, 1, 1_000, 600]);
    }

    #[test]
    fn only_a_rate_that_has_more_replies_than_ticks_is_sent_in_ticks() {
        assert!(is_worth_it(Some(2_000.0), 10) && is_worth_it(Some(10_000.0), 256));
        assert!(!is_worth_it(Some(1_999.0), 256) && !is_worth_it(None, 256));
        assert!(!is_worth_it(Some(2_000.0), 9), "no connection has time for a tick");
    }

    #[test]
    fn what_is_due_within_a_tick_is_done_in_one_wake_up() {
        let start = Instant::now();
        runtime(Some(10_000.0), 256).unwrap().block_on(async {
            for _ in 0..20 {
                // Without ticks, the answer of another thread is a wake-up.
                tokio::task::spawn_blocking(|| thread::sleep(TICK / 5)).await.unwrap();
            }
        });
        assert!(start.elapsed() >= 12 * TICK, "{:?}", start.elapsed());
    }
}
