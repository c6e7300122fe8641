//! How much there may be of something at once, by number and by bytes, each under a hard limit. Full means an answer
//! at once, never a wait: so a number is all that a limit takes, and whoever holds a share gives it back by dropping it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use service_kit::prometheus::IntGauge;

/// What all shares together may be.
#[derive(Debug)]
pub struct Budget {
    number: Level,
    bytes: Level,
}

/// One of the number, and its bytes.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u32,
}

/// How much is held of one thing. The gauge is raised after the number and lowered before it: it never shows more than
/// the limit.
#[derive(Debug)]
pub struct Level {
    count: AtomicU64,
    max: u64,
    gauge: Option<IntGauge>,
}

impl Level {
    pub fn new(max: u32) -> Self {
        Self { count: AtomicU64::new(0), max: max.into(), gauge: None }
    }

    /// The same, and a gauge shows it.
    pub fn shown(max: u32, gauge: &IntGauge) -> Self {
        Self { gauge: Some(gauge.clone()), ..Self::new(max) }
    }

    /// Takes all of it or nothing. Compared before it is added: a large share that does not fit must not keep out,
    /// for the moment until it is taken back, a small one that does.
    fn take(&self, count: u32) -> bool {
        let fits = |held: u64| held.checked_add(count.into()).filter(|held| *held <= self.max);
        let is_taken = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok();
        if is_taken && let Some(gauge) = &self.gauge {
            gauge.add(count.into());
        }
        is_taken
    }

    fn give_back(&self, count: u32) {
        if let Some(gauge) = &self.gauge {
            gauge.sub(count.into());
        }
        self.count.fetch_sub(count.into(), Ordering::Release);
    }
}

impl Budget {
    pub fn new(number: Level, bytes: Level) -> Arc<Self> {
        Arc::new(Self { number, bytes })
    }

    /// A share of so many bytes, if there is room for it.
    pub fn take(self: &Arc<Self>, bytes: u32) -> Option<Share> {
        if !self.number.take(1) {
            return None;
        }
        // Dropped again, and its place with it, if the bytes are too many.
        let mut share = Share { budget: Arc::clone(self), bytes: 0 };
        share.grow(bytes).then_some(share)
    }

    /// How many shares there are.
    pub fn number(&self) -> u64 {
        self.number.count.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `bytes` more, or nothing.
    pub fn grow(&mut self, bytes: u32) -> bool {
        let is_taken = self.budget.bytes.take(bytes);
        if is_taken {
            // No more than the limit, which is a `u32`.
            self.bytes = self.bytes.saturating_add(bytes);
        }
        is_taken
    }

    /// Gives back what turned out not to be needed, where `bytes` are enough.
    pub fn shrink_to(&mut self, bytes: u32) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.budget.bytes.give_back(surplus);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.bytes.give_back(self.bytes);
        self.budget.number.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(number: u32, bytes: u32) -> (Arc<Budget>, [IntGauge; 2]) {
        let gauges = ["number", "bytes"].map(|name| IntGauge::new(name, name).unwrap());
        let [number_gauge, bytes_gauge] = &gauges;
        (Budget::new(Level::shown(number, number_gauge), Level::shown(bytes, bytes_gauge)), gauges)
    }

    #[test]
    fn threads_that_compete_never_hold_more_than_the_limit_and_a_share_that_fits_is_never_refused() {
        let (budget, [number, bytes]) = budget(1_000, 100);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        assert!(budget.take(101).is_none(), "never fits");
                        // Two of these always fit, whoever else is being refused.
                        let share = budget.take(50).unwrap();
                        assert!(bytes.get() <= 100);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!((number.get(), bytes.get(), budget.number()), (0, 0, 0));
    }

    proptest! {
        /// Whatever comes, the limits hold after each step, the gauges tell what is held, and nothing is left when all
        /// have gone.
        #[test]
        fn the_limits_hold_and_everything_comes_back(
            steps in proptest::collection::vec((0u8..4, 0usize..20, 0u32..60), 0..300),
        ) {
            let (budget, [number, bytes_held]) = budget(5, 100);
            let mut shares: Vec<Share> = Vec::new();
            for (step, which, bytes) in steps {
                let held: u32 = shares.iter().map(|share| share.bytes).sum();
                match (step, shares.len()) {
                    (0, _) | (_, 0) => {
                        let share = budget.take(bytes);
                        prop_assert_eq!(share.is_some(), shares.len() < 5 && held + bytes <= 100);
                        shares.extend(share);
                    }
                    (1, count) => prop_assert_eq!(shares[which % count].grow(bytes), held + bytes <= 100),
                    (2, count) => shares[which % count].shrink_to(bytes),
                    (_, count) => drop(shares.swap_remove(which % count)),
                }
                let held: u32 = shares.iter().map(|share| share.bytes).sum();
                prop_assert!(held <= 100 && shares.len() <= 5);
                prop_assert_eq!(bytes_held.get(), i64::from(held));
                prop_assert_eq!(number.get(), i64::try_from(shares.len()).unwrap());
            }
            drop(shares);
            prop_assert_eq!((number.get(), bytes_held.get(), budget.number()), (0, 0, 0));
        }
    }
}
