//! Clients that are not the product's: a minimal Kafka client and a minimal PostgreSQL client, blocking, over
//! sockets with deadlines.

pub mod batch;
mod broker;
pub mod bytes;
pub mod kafka;
mod metadata;
pub mod postgres;
mod transaction;
