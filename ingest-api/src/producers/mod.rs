//! Who may write what: [`file`](mod@file) (the file as it is written), [`producer`] (one producer),
//! [`registry`] (all of them, and who sent a request).

mod entry;
pub mod file;
pub mod producer;
pub mod registry;

pub use producer::{Outcome, Principal, Producer};
pub use registry::{Claim, Producers, ProducersFile, Refused};
