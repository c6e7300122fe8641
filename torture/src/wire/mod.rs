//! Clients that are not the product's: a minimal Kafka client and a minimal PostgreSQL client, blocking, over
//! sockets with deadlines.

pub mod batch;
mod broker;
pub mod kafka;
pub mod postgres;
mod transaction;

use anyhow::{Context as _, Result};

/// The next bytes of a message, of a number or of what is passed over.
fn next<const N: usize>(from: &mut &[u8]) -> Result<[u8; N]> {
    Ok(from.split_off(..N).context("the message is cut short")?.try_into()?)
}
