//! What the domain is: pure types and decisions, without Kafka, PostgreSQL or a clock. Nothing here imports what lies
//! above it (checks/tests/structure.rs).
//!
//! In the order of a record's way: [`position`] and [`seat`] (where), [`record`] (as it was read), [`rules`] and
//! [`decode`] (what it says), [`batch`], [`batch_map`], [`id_set`], [`fold`] and [`alias`] (what it does), [`counters`], [`applied`] and [`progress`] (what was
//! done). [`dead_letter`], [`halt`] and [`obstacle`] say when not to go on, [`intervention`] and [`replay`] what a person
//! may do about it.

pub mod alias;
pub mod applied;
pub mod batch;
pub mod batch_map;
pub mod counters;
pub mod dead_letter;
pub mod decode;
pub mod fold;
pub mod halt;
pub mod id_set;
pub mod intervention;
pub mod obstacle;
pub mod position;
pub mod progress;
pub mod record;
pub mod replay;
pub mod rules;
pub mod seat;
