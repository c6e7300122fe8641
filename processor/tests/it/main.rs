//! The promises, each on a real Kafka and a real PostgreSQL: `make test` starts both and names them in
//! `TELEX_TEST_KAFKA` and `TELEX_TEST_DATABASE_URL`. Every test has a topic and a database of its own and
//! runs the programs as they are shipped, from `TELEX_BIN_DIR`; nearly every test ends in `processor prove`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod addresses;
mod asked;
mod assignment;
mod codecs;
mod commit_unknown;
mod copy;
mod crash;
mod dialogs;
mod documented;
mod duplicates;
mod erasure;
mod fencing;
mod fill;
mod growing;
mod halts;
mod harness;
mod history;
mod identity;
mod kafka_users;
mod lag;
mod leaderless;
mod less;
mod memory;
mod missing_rights;
mod operators;
mod outage;
mod placement;
mod poison;
mod pooler;
mod progress;
mod prove;
mod prove_log;
mod quarantine;
mod rebalance;
mod replay;
mod rights;
mod roles;
mod rows;
mod schema;
mod second_broker;
mod secure_kafka;
mod sessions;
mod shipped;
mod shown_sql;
mod slips;
mod tail;
mod topic;
mod traces;
mod transactions;
mod unreadable;
mod watchdog;
mod writers;
mod written_twice;
