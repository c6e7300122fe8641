//! The ingest API: takes webhooks over HTTP and writes them to the topic. It needs Kafka only;
//! PostgreSQL may be away for an hour, and every webhook is still kept.
//!
//! Read in the order of a request's way: [`accept`], [`shards`] and [`tls`] (sockets, threads), [`connection`], [`heads`] and
//! [`lingering`] (deadlines, framing, ends), [`router`] (routes, request ids), [`receive`] (the body, under [`admission`] or, while
//! nobody knows who sends it, [`unproven`]; [`inflate`]d), [`producers`] with [`signature`] and [`rate`] (who
//! sends it, and how much), the handlers [`messages`], [`batch`], [`dialog_close`] and [`webhooks`], [`keep`] and [`publish`]
//! (Kafka, within [`topic_limits`]), [`error`] (every other answer). [`openapi`] tells producers of all that, [`docs`] shows it to people. [`app`] puts it together, [`commands`] are for those who describe hooks,
//! [`watch`] keeps an eye on the topic, and on its [`placement`];
//! [`files`] keeps it as new as its files.
//!
//! **202 means kept**: [`keep`] and [`batch`] answer it only with the coordinates of the delivery report that
//! [`publish`] got from the brokers (`tests/it/topic.rs`: `an_accepted_message_lies_in_the_topic`).
#![forbid(unsafe_code)]

pub mod accept;
pub mod access_log;
pub mod activity;
pub mod admission;
pub mod app;
pub mod batch;
pub mod budget;
pub mod commands;
pub mod config;
pub mod connection;
pub mod content_type;
pub mod dialog_close;
pub mod docs;
pub mod error;
pub mod files;
pub mod heads;
pub mod health;
pub mod inflate;
pub mod kafka_client;
pub mod keep;
pub mod lingering;
pub mod media;
pub mod messages;
pub mod metrics;
pub mod openapi;
pub mod placement;
pub mod producers;
pub mod publish;
pub mod rate;
pub mod receive;
pub mod router;
pub mod shards;
pub mod signature;
pub mod state;
pub mod tls;
pub mod topic_limits;
pub mod unproven;
pub mod watch;
pub mod webhooks;
