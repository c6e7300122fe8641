//! From records to transactions, in the order of a record's way: [`supervisor`] (performs what is decided),
//! [`ownership`] (decides: which partitions, which lane), [`takeover`] (gathers what is known of a partition),
//! [`decide`] and [`guard`] (may it be taken up, and from where), [`lane`] (decides what is applied when, and does it),
//! [`partition`] (one partition's state), [`dialogs`] (the cache), [`pending`] and [`part`] (what goes into
//! one transaction), [`attempt`] (one try of it). Beside the way: [`tickets`] (what a task may still do), [`shown`]
//! (what people see of partitions), [`rounds`] (what the supervisor looks at from time to time), [`watchdog`]
//! (partitions that do not advance), [`placement`] (what ingest APIs have to know), [`proved`] (what was proved last, as
//! gauges), [`authorities`] (when the authorities that connections trust expire), [`traces`] (spans of sampled traces).

pub mod attempt;
pub mod authorities;
pub mod decide;
pub mod dialogs;
pub mod guard;
pub mod lane;
pub mod ownership;
pub mod part;
pub mod partition;
pub mod pending;
pub mod placement;
pub mod proved;
pub mod rounds;
pub mod shown;
pub mod supervisor;
pub mod takeover;
pub mod tickets;
pub mod traces;
pub mod watchdog;
