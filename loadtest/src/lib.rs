//! The load tester: sends webhooks the way outside sources do, and counts what came back.
//!
//! Read in the order of a request's life: [`cli`] (what was asked for), [`plan`] (what is sent: a
//! pure function of seed and settings), [`run`] (requests to connections, pacing, the end),
//! [`send`] (one request until it is settled), [`connection`] (HTTP/1.1 on one socket), [`stats`]
//! (what came back), [`progress`] and [`report`] (what people and machines are told).
#![forbid(unsafe_code)]

pub mod cli;
pub mod connection;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod send;
pub mod stats;
