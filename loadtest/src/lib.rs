//! The load tester: sends webhooks the way outside sources do, counts what came
//! back, and compares the tables with it.
//!
//! Read in the order of a request's life: [`cli`] (what was asked for), [`plan`] (what is sent: a
//! pure function of seed and settings), [`schedule`] (when), [`run`] (requests to connections, the end),
//! [`send`] (one request, or a batch, until it is settled), [`sign`] and [`provider`], [`reach`], [`connection`] and [`wire`]
//! (HTTP/1.1 on one socket), [`answer`] (what a reply says), [`stats`], [`timeline`] and [`ledger`] (what came back),
//! [`watch`] (when it is in the tables), [`verify`] (whether all of it is, and nothing else), [`database`]
//! (what a reader asks), [`progress`], [`report`] and [`plot`] (what people and machines are told). [`tick`] is the
//! thread that all of it runs on; [`usage`] and [`noop`] say what it costs itself.
#![forbid(unsafe_code)]

pub mod answer;
pub mod cli;
pub mod connection;
pub mod database;
pub mod ledger;
pub mod noop;
pub mod plan;
pub mod plot;
pub mod progress;
pub mod provider;
pub mod reach;
pub mod report;
pub mod run;
pub mod schedule;
pub mod send;
pub mod sign;
pub mod stats;
pub mod tick;
pub mod timeline;
pub mod usage;
pub mod verify;
pub mod watch;
pub mod wire;
