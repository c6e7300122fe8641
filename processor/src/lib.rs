//! The processor: files the records of the topic into PostgreSQL as clients, dialogs and messages.
//!
//! ```text
//! topic ──▶ kafka/poller ──▶ consume/lane ──▶ decode ──▶ fold ──▶ store/apply ──▶ PostgreSQL
//!           one thread       a task, a        total      pure     one transaction,
//!               ▲            connection                           compare-and-set last
//!               └──── consume/supervisor: gives partitions to lanes, drains them, hands them back
//! ```
//!
//! Read [`domain`] first, then in that order; [`prove`] (whether it was right), [`commands`] and [`app`] (what a person
//! starts).
//!
//! 1. **Offsets and rows commit together.** [`store::apply`] is the only function that opens a batch's
//!    transaction; the compare-and-set on the progress rows is its last statement before COMMIT.
//!    (`tests/it/fencing.rs`: `a_frozen_processor_that_wakes_up_after_its_partitions_moved_cannot_commit`)
//! 2. **One owner a partition.** State in memory is keyed by partition and assignment epoch; the owner epoch
//!    fences in the database. Offsets come from PostgreSQL, once, inside the assign.
//!    (`tests/it/crash.rs`: `a_processor_killed_20_times_under_load_leaves_clean_tables`)
//! 3. **Nothing is lost silently.** A record becomes a message, a duplicate, an applied command or a dead
//!    letter, counted in the same transaction; until then its partition waits or halts.
//!    (`tests/it/poison.rs`: `garbage_in_the_topic_becomes_dead_letters_and_delays_nobody`)
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod commands;
pub mod consume;
pub mod domain;
pub mod end;
mod failpoint;
pub mod kafka;
pub mod metrics;
pub mod prove;
pub mod status;
pub mod store;
