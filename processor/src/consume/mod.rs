//! From records to transactions, in the order of a record's way: [`run`] (the supervisor: which
//! partitions, which lane), [`takeover`] (may a partition be taken up, and from where),
//! [`lane`] (a task that applies what its partitions bring), [`partition`] (one partition's state),
//! [`dialogs`] (the cache), [`pending`], [`batch`] and [`part`] (what goes into one transaction),
//! [`attempt`] (one try of it). Beside the way: [`rounds`] (what the supervisor looks at from time
//! to time), [`watchdog`] (partitions that do not advance), [`traces`] (spans of sampled traces).

pub mod attempt;
pub mod batch;
pub mod dialogs;
pub mod lane;
pub mod part;
pub mod partition;
pub mod pending;
pub mod rounds;
pub mod run;
pub mod takeover;
pub mod traces;
pub mod watchdog;
