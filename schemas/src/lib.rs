//! The wire contract of Telex: what a message is, which client it belongs to, where its record
//! goes and what the record looks like.
//!
//! Both services use this crate, so that the edge and the processor can never disagree. It knows
//! neither HTTP, Kafka nor PostgreSQL: every function here is pure.
//!
//! Read in the order in which a message travels: [`batch`] (a body to its items), [`message`] (bytes to
//! [`Message`], by way of `fields` and `scan`), [`draft`] (fields found elsewhere to the same), `edge` (what is refused there only), [`ids`] and [`address`] (the types it is made of), [`key`] (client id and partition), [`record`] (the
//! topic's format, with [`v1`], which is read only). [`placement`] is what processors say to ingest APIs of the topic as a whole. [`contract`] says the same
//! to readers and to producers in other languages.
#![forbid(unsafe_code)]

pub mod address;
pub mod batch;
mod close;
pub mod contract;
pub mod draft;
mod edge;
mod fields;
pub mod ids;
pub mod key;
pub mod message;
pub mod placement;
pub mod quarantine;
pub mod reason;
pub mod record;
pub mod scan;
pub mod time;
pub mod v1;

pub use address::{Address, AddressId, Scheme};
pub use draft::Draft;
pub use fields::{ALIASES_MAX, Others, unescape};
pub use ids::{ExternalClientId, ExternalMessageId, MessageText, Phone, RequestId, TraceParent};
pub use key::{ClientId, Partition, PartitionCount};
pub use message::{Body, BodyHash, Message, Posted};
pub use placement::Placement;
pub use quarantine::Quarantined;
pub use reason::{Invalid, InvalidReason, Warning};
pub use record::{DialogClose, EncodedRecord, Envelope, Event, RecordFault, RecordView};
pub use scan::DEPTH_MAX;
pub use time::Timestamp;
