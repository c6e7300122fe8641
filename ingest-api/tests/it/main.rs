//! The program as it is shipped, over a real Kafka: `make test` starts one and names it in
//! `TELEX_TEST_KAFKA`. Every test has a topic of its own, and asks the topic itself what it holds.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod batches_in_order;
mod client;
mod examples;
#[cfg(target_os = "linux")]
mod flood;
mod harness;
#[cfg(target_os = "linux")]
mod hot_client;
mod logs;
mod memory;
mod outage;
mod readiness;
mod refusals;
mod stop;
mod strangers;
mod topic;
mod topic_limit;
mod webhooks;
