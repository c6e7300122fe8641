//! The ingest API: takes webhooks over HTTP and writes them to the topic. It needs Kafka only;
//! PostgreSQL may be away for an hour, and every webhook is still kept.
//!
//! Read in the order of a request's way: [`accept`] (sockets, deadlines), [`router`] (routes, request
//! ids), [`admission`] (how much may be in flight), [`messages`] (the handler), [`publish`] (Kafka),
//! [`error`] (every other answer). [`app`] puts it together.
//!
//! **202 means kept**: [`messages`] answers it only with the coordinates of the delivery report that
//! [`publish`] got from the brokers (`tests/http.rs`: `an_accepted_message_lies_in_the_topic`).
#![forbid(unsafe_code)]

pub mod accept;
pub mod admission;
pub mod app;
pub mod config;
pub mod error;
pub mod health;
pub mod messages;
pub mod metrics;
pub mod publish;
pub mod router;
