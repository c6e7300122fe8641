//! What Telex costs, beside what else one could run: the same messages, on the same machine, in one run,
//! with the real Kafka and PostgreSQL. Ratios within a run mean something; figures of two machines do not.
//!
//! Reading order: [`cli`], [`run`] and [`parts`] (which measurement comes when, and where its figures go), [`lab`] (the
//! servers, a topic and a database for each), [`machine`] and [`usage`] (how quiet it was, what each program has used),
//! [`load`] (the load tester), then a file for each row of the table: [`control`], [`backlog`], [`copy`], [`drain`],
//! [`debezium`], [`redis`], [`http`], [`webhook`], [`postgres_alone`], [`end_to_end`], [`busy`], [`sustained`],
//! [`growth`]; at last [`summary`] and [`verdict`] (figures, medians, numbers to be reached), [`tables`] and
//! [`document`] (docs/benchmarks.md).
//!
//! Its SQL is text and not checked at compile time: its databases are made by the run, some of them with the
//! tables of others.
#![forbid(unsafe_code)]

pub mod backlog;
pub mod busy;
pub mod cli;
pub mod control;
pub mod copy;
pub mod debezium;
pub mod document;
pub mod drain;
pub mod end_to_end;
pub mod growth;
pub mod http;
pub mod lab;
pub mod load;
pub mod machine;
pub mod parts;
pub mod postgres_alone;
pub mod redis;
pub mod run;
pub mod summary;
pub mod sustained;
pub mod tables;
pub mod usage;
pub mod verdict;
pub mod webhook;
