//! A run over time, in slots of equal width. When there are too many, neighbours become one: a run of
//! any length has at most [`SLOTS_MAX`], and at least half as many.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

/// The most points of a line in the report.
pub const SLOTS_MAX: usize = 240;

/// An hour: what takes longer counts as an hour.
pub const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

#[derive(Debug, Clone)]
pub struct Slot {
    pub settled: u64,
    /// Of these, such that ended otherwise than planned.
    pub unexpected: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Microseconds from when a request was due until its last reply.
    pub ack: Histogram<u64>,
    /// Microseconds from when a message was due until its row was seen.
    pub stored: Histogram<u64>,
    /// The most acknowledged records that were not applied; `None` if nobody looked.
    pub lag_records: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Timeline {
    width: Duration,
    slots: Vec<Slot>,
    empty: Slot,
}

impl Timeline {
    /// Slots of a second at first.
    pub fn new() -> Result<Self, CreationError> {
        // Two digits: 1 % off in a plot that nobody reads more finely, for a tenth of the memory.
        let histogram = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 2)?;
        let (ack, stored) = (histogram.clone(), histogram);
        let empty = Slot { settled: 0, unexpected: 0, retries: 0, ack, stored, lag_records: None };
        Ok(Self { width: Duration::from_secs(1), slots: Vec::new(), empty })
    }

    pub const fn width(&self) -> Duration {
        self.width
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Changes the slot of a moment, counted from the start of the run.
    pub fn at(&mut self, elapsed: Duration, change: impl FnOnce(&mut Slot)) {
        let mut index = self.index(elapsed);
        while index >= SLOTS_MAX {
            self.halve();
            index = self.index(elapsed);
        }
        if self.slots.len() <= index {
            self.slots.resize(index + 1, self.empty.clone());
        }
        if let Some(slot) = self.slots.get_mut(index) {
            change(slot);
        }
    }

    fn index(&self, elapsed: Duration) -> usize {
        usize::try_from(elapsed.as_millis() / self.width.as_millis().max(1)).unwrap_or(usize::MAX)
    }

    fn halve(&mut self) {
        self.width *= 2;
        let mut halved = Vec::with_capacity(SLOTS_MAX);
        for pair in self.slots.chunks(2) {
            let mut slot = self.empty.clone();
            pair.iter().for_each(|half| slot.add(half));
            halved.push(slot);
        }
        self.slots = halved;
    }
}

impl Slot {
    fn add(&mut self, other: &Self) {
        self.settled += other.settled;
        self.unexpected += other.unexpected;
        self.retries += other.retries;
        // The bounds are equal, so nothing can be out of them.
        let _same_bounds = self.ack.add(&other.ack).is_ok() && self.stored.add(&other.stored).is_ok();
        self.lag_records = self.lag_records.max(other.lag_records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_no_more_slots_and_loses_nothing() {
        let mut timeline = Timeline::new().unwrap();
        for second in 0..1_000 {
            timeline.at(Duration::from_secs(second), |slot| {
                slot.settled += 1;
                slot.ack.saturating_record(second);
                slot.lag_records = slot.lag_records.max(Some(second));
            });
        }
        assert_eq!(timeline.width(), Duration::from_secs(8));
        assert_eq!(timeline.slots().len(), 125);
        assert!(timeline.slots().iter().all(|slot| slot.settled == 8 && slot.ack.len() == 8));
        assert_eq!(timeline.slots()[124].lag_records, Some(999));
    }

    #[test]
    fn a_moment_far_away_needs_no_more_memory() {
        let mut timeline = Timeline::new().unwrap();
        timeline.at(Duration::from_secs(7 * 86_400), |slot| slot.retries += 1);
        assert!(timeline.slots().len() <= SLOTS_MAX);
    }
}
