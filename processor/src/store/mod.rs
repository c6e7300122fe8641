//! Everything that talks to PostgreSQL: [`session`] (connections and their deadlines), [`registry`]
//! (which topic, which partitions), [`progress`] (who owns a partition, and the compare-and-set),
//! [`statements`] (set-based writes), [`apply`] (the one transaction), [`classify`] (what an error
//! asks the caller to do).

pub mod apply;
pub mod classify;
pub mod progress;
pub mod registry;
pub mod session;
pub mod statements;

pub use classify::StoreError;
pub use session::Database;
