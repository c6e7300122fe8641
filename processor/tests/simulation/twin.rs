//! Broken twins: each leaves out one guard, here in the stand-ins, or hides a fact from the machine. The simulation
//! must find each; one that it does not find is a guard that nothing tests.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twin {
    /// Nothing is left out.
    Whole,
    /// Beliefs are not held against the rows while nothing is to be applied.
    RowsNotLookedAt,
    /// One partition that cannot be looked at holds up all that were asked for with it.
    AllOrNothing,
    /// A takeover goes on when its partition leaves.
    OrphanTakeover,
    /// A halt is written whatever the row says.
    HaltUnseen,
    /// A topic of the same name in another cluster is taken for the registered one.
    ForeignCluster,
    /// A running consumer does not notice that its topic was created again.
    RecreatedUnseen,
    /// The ends of transactions are not explained.
    ControlIsGap,
    /// A record behind a gap halts its partition at once, and what is in hand is dropped.
    HaltsAtOnce,
    /// A partition that is out of range ends its process.
    OutOfRangeEndsAll,
    /// After a partition was out of range, logs are looked at as often as without it.
    DoubtForgotten,
    /// What a lane knows of clients outlives the stretch of ownership in which it came to know it.
    CacheOutlives,
    /// The compare-and-set does not look at the epoch.
    EpochNotCompared,
}
