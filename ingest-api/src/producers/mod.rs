//! Who may write what: [`file`](mod@file) (the file as it is written), [`producer`] (one producer), [`hook`](mod@hook) (its hooks),
//! [`registry`] (all of them, and who sent a request).

mod entry;
pub mod file;
pub mod hook;
pub mod producer;
pub mod registry;

pub use hook::ProducerHook;
pub use producer::{Outcome, Principal, Producer};
pub use registry::{Claim, Producers, ProducersFile, Refused};
