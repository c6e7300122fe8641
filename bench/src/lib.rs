//! What Telex costs, beside what else one could run: the same messages, on the same machine, in one run,
//! with the real Kafka and PostgreSQL. Ratios within a run mean something; figures of two machines do not.
//!
//! Reading order: [`cli`], [`run`] (which measurement comes when), [`lab`] (the servers, a topic and a
//! database for each), [`usage`] (what a process has used), then a file for each row of the table:
//! [`backlog`], [`copy`], [`drain`], [`debezium`], [`redis`], [`http`], [`webhook`], [`end_to_end`]; at last
//! [`summary`] (figures, medians, verdicts) and [`document`] (docs/benchmarks.md).
//!
//! Its SQL is text and not checked at compile time: its databases are made by the run, some of them with the
//! tables of others.
#![forbid(unsafe_code)]

pub mod backlog;
pub mod cli;
pub mod copy;
pub mod debezium;
pub mod document;
pub mod drain;
pub mod end_to_end;
pub mod http;
pub mod lab;
pub mod redis;
pub mod run;
pub mod summary;
pub mod usage;
pub mod webhook;
