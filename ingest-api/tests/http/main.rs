//! What producers see, without a Kafka: the router driven request by request, over a publisher that
//! remembers what it was given. Each test says what was answered *and* what would have reached the topic.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod authentication;
mod batches;
mod bodies;
mod contract;
mod corpus;
mod dialog_close;
mod encodings;
mod harness;
mod hooks_command;
mod provider_answers;
mod server;
mod tls;
mod unavailable;
mod webhooks;
mod wire;

/// Where the fuzz target has the same module.
use ingest_api::signature;
