//! What the programs share.
//!
//! [`telemetry`] (logs), [`metrics!`] (a documented struct of metrics), [`lifecycle`] (named tasks,
//! stop signals), [`retry`] (the only use of `backoff`), [`admin`] (the port for probes and
//! metrics), [`probe`] (who asks there), [`settings`] (their units), [`mod@reference`] (settings and metrics as tables
//! for the documents), [`problems`] (what a person is to put right), [`files`] (small ones, read whole), [`clock`] (the
//! only use of the wall clock), [`count`] (for gauges), [`process`] (processor time as a metric), [`secret`] (values
//! that never print), [`confirmation`] (a person's word), [`kafka_settings`] (how brokers are reached and trusted),
//! [`spans`] (of distributed traces).
#![forbid(unsafe_code)]

pub mod admin;
pub mod clock;
pub mod confirmation;
pub mod count;
pub mod files;
pub mod kafka_settings;
pub mod lifecycle;
pub mod metrics_macro;
pub mod probe;
pub mod problems;
pub mod process;
pub mod reference;
pub mod retry;
pub mod secret;
pub mod settings;
pub mod spans;
pub mod telemetry;

pub use lifecycle::spawn;
pub use problems::Problems;
pub use prometheus;
pub use secret::Secret;
