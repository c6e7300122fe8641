//! The wire contract of Telex: what a message is, which client it belongs to, where its record
//! goes and what the record looks like.
//!
//! Both services use this crate, so that the edge and the processor can never disagree. It knows
//! neither HTTP, Kafka nor PostgreSQL: every function here is pure.
//!
//! Read in the order in which a message travels: [`batch`] (a body to its items), [`message`] (bytes to
//! [`Message`]), [`ids`] (the types it is made of), [`key`] (client id and partition), [`record`] (the
//! topic's format). [`contract`] says the same to readers in other languages.
#![forbid(unsafe_code)]

pub mod batch;
pub mod contract;
pub mod ids;
mod json;
pub mod key;
pub mod message;
pub mod reason;
pub mod record;
pub mod time;

pub use ids::{ExternalClientId, ExternalMessageId, MessageText, Phone, RequestId, TraceParent};
pub use json::{NUMBER_ABOVE, NUMBER_BELOW};
pub use key::{ClientId, Partition, PartitionCount};
pub use message::{BodyHash, Message};
pub use reason::{Invalid, InvalidReason};
pub use record::{DialogClose, EncodedRecord, Envelope, Event, RecordFault, RecordView};
pub use time::Timestamp;
