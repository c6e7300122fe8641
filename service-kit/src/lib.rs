//! What both services share, and nothing that only one of them needs.
//!
//! [`telemetry`] (logs), [`metrics!`] (a documented struct of metrics), [`lifecycle`] (named tasks,
//! stop signals), [`retry`] (the only use of `backoff`), [`admin`] (the port for probes and
//! metrics), [`clock`] (the only use of the wall clock), [`secret`] (values that never print).
#![forbid(unsafe_code)]

pub mod admin;
pub mod clock;
pub mod lifecycle;
pub mod metrics_macro;
pub mod retry;
pub mod secret;
pub mod telemetry;

pub use lifecycle::spawn;
pub use prometheus;
pub use secret::Secret;
