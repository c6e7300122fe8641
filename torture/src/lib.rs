//! Breaks a Telex on purpose and checks that every promise still holds.
//!
//! ```text
//! plan ──▶ load ──HTTP──▶ ingest-api ──▶ topic ──▶ processors ──▶ proxy ──▶ PostgreSQL
//!            │                             │                                   │
//!         history H                      log L                        tables D, samples, chain
//!            └──────────────────────────▶ checker ◀───────────────────────────┘
//! ```
//!
//! The programs are the real ones, as processes of their own; the [`faults`] happen to them. The [`checker`]
//! compares what was sent and answered (H), what the topic holds (L) and what the tables hold (D), the last
//! also every second while the fault is under way. It shares no code with the product: identities, hashes,
//! canonical JSON and the fold are written here a second time from the contract, the topic and the tables are
//! read by the clients in [`wire`].
//!
//! A run says nothing unless the fault was seen to bite and the load was real: then it is *invalid*, never
//! *passed*. So does whatever cannot be started, asked or read: any error of a function here makes a run invalid.
//! Everything random follows from a seed that is printed.
#![forbid(unsafe_code)]

pub mod bench;
pub mod checker;
pub mod cli;
pub mod faults;
pub mod gate;
pub mod ground;
pub mod history;
pub mod identity;
pub mod load;
pub mod long;
pub mod mutants;
pub mod nodes;
pub mod page;
pub mod plan;
pub mod random;
pub mod report;
pub mod sampler;
pub mod variant;
pub mod verdict;
pub mod wire;
pub mod world;
