//! Everything that talks to PostgreSQL: [`session`] (connections and their deadlines), [`registry`]
//! (which topic, which partitions), [`rules`] (what is in force from which offset on), [`progress`] (who
//! owns a partition, and the compare-and-set), [`halts`] (which partitions stand still, and what a person
//! decided), [`reopen`] (a topic created again, accepted by a person), [`rights`] (what a person's command
//! may do), [`letters`] (dead letters to be read and
//! replayed), [`statements`] and [`aliases`] (set-based writes), [`messages`] and [`copy`] (the messages, by COPY), [`apply`] (the one transaction), [`stuck`] (sessions of frozen processes), [`classify`] (what an
//! error asks the caller to do), [`migrations`] (which of them are applied?), [`schema`] (are the tables those of them?), [`proofs`] (what was proved last).

pub mod aliases;
pub mod apply;
pub mod classify;
pub mod copy;
pub mod halts;
pub mod letters;
pub mod messages;
pub mod migrations;
mod names;
pub mod progress;
pub mod proofs;
pub mod registry;
pub mod reopen;
pub mod rights;
pub mod rules;
pub mod schema;
pub mod session;
pub mod statements;
pub mod stuck;

pub use classify::StoreError;
pub use session::{Commit, Database};
