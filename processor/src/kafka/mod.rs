//! Everything that talks to Kafka, in the order of a record's way: [`client`] (settings),
//! [`topic`] (is it the topic that we think it is?), [`reading`] (does the consumer still read that topic?),
//! [`context`] (callbacks become events),
//! [`poller`] (the thread that reads), [`continuity`] (offsets that no record has), [`transactions`] (of Kafka, that do
//! not end). [`producer`] writes what a person replays, and for [`placement`] what ingest APIs have to know, [`tail`] shows
//! the topic, [`window`] finds what was appended when. The package `kafka-ffi` fills the holes of rust-rdkafka.

pub mod client;
pub mod context;
pub mod continuity;
pub mod placement;
pub mod poller;
pub mod producer;
pub mod reading;
pub mod tail;
pub mod topic;
pub mod transactions;
pub mod window;
