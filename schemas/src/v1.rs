//! Version 1 of a message's record, `telex.message.received.v1`: written no more, read forever by the rules
//! that were in force when it was written. What of it was a message, a duplicate or a dead letter stays so.
//!
//! Its body hash covers the sender's members too, as values: they are made into a tree here, which is dropped
//! before the next record is looked at.

mod json;

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use self::json::RawMessage;
use crate::{
    fields::optional,
    message::{BodyHash, Message, Own},
    reason::Invalid,
    time::Timestamp,
};

/// Reads the value of a record whose `ce_type` is version 1. `received_at` bounds `sent_at`.
///
/// # Errors
/// The first violated rule: syntax before content, then the fields in the order of the contract
/// (`external_client_id`, `client_phone`, `external_message_id`, `text`, `sent_at`).
pub fn parse(value: &[u8], received_at: Timestamp) -> Result<Message, Invalid> {
    let (message, canonical) = read(value, received_at)?;
    Ok(message.of_version_1(BodyHash::of(&canonical)))
}

/// The message, and the bytes that its hash covers.
fn read(value: &[u8], received_at: Timestamp) -> Result<(Message, Vec<u8>), Invalid> {
    let RawMessage { mut fields, extra } = RawMessage::read(value)?;
    let sent_at = std::mem::take(&mut fields.sent_at);
    let (own, _) = Own::parse(fields)?;
    let sent_at = optional("/sent_at", sent_at, |v| Timestamp::parse_sent_at(&v, received_at))?;
    // Writing to memory cannot fail, and every key is a string.
    let canonical = serde_json::to_vec(&Canonical { own: &own, sent_at, extra: &extra }).unwrap_or_default();
    Ok((own.into_message(sent_at), canonical))
}

/// The bytes that the body hash covers: one object, known and unknown fields merged in the order of their
/// keys by code point, no white space, times in UTC with microseconds.
struct Canonical<'a> {
    own: &'a Own,
    sent_at: Option<Timestamp>,
    extra: &'a BTreeMap<String, Value>,
}

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sent_at = [0; Timestamp::TEXT_BYTES];
        let sent_at = self.sent_at.map(|time| time.encode(&mut sent_at));
        let known = [
            ("client_phone", Some(self.own.address.as_str())),
            ("external_client_id", Some(self.own.external_client_id.as_str())),
            ("external_message_id", Some(self.own.external_message_id.as_str())),
            ("sent_at", sent_at),
            ("text", Some(self.own.text.as_str())),
        ];
        let mut extra = self.extra.iter().peekable();
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in known {
            while let Some((name, value)) = extra.next_if(|(name, _)| name.as_str() < key) {
                map.serialize_entry(name, value)?;
            }
            if let Some(value) = value {
                map.serialize_entry(key, value)?;
            }
        }
        for (name, value) in extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
