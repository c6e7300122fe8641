//! From the bytes of a webhook to a [`Message`]: the only way to obtain one, at the edge and again
//! in the processor, which does not trust the topic.

use std::{borrow::Cow, collections::BTreeMap};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    ids::{ExternalClientId, ExternalMessageId, MessageText, Phone, Violation},
    json::{Field, RawMessage},
    key::ClientId,
    reason::{Invalid, InvalidReason},
    time::Timestamp,
};

/// What a client wrote, valid in every part.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    client_id: ClientId,
    external_client_id: ExternalClientId,
    client_phone: Phone,
    external_message_id: ExternalMessageId,
    text: MessageText,
    sent_at: Option<Timestamp>,
    extra: BTreeMap<String, Value>,
}

/// The first 128 bits of SHA-256 over the message's canonical JSON: tells a duplicate (equal) from
/// a conflicting duplicate (same id, another body).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyHash(pub [u8; 16]);

impl Message {
    /// Parses a JSON object. Fields that this version does not know are kept.
    ///
    /// `received_at` bounds `sent_at`; it is an argument so that the processor, replaying the
    /// topic in ten years, comes to the same answer as the edge did.
    ///
    /// # Errors
    /// The first violated rule: syntax before content, then the fields in the order of the
    /// contract (`external_client_id`, `client_phone`, `external_message_id`, `text`, `sent_at`).
    pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Self, Invalid> {
        let raw = RawMessage::read(body)?;
        let external_client_id =
            required("/external_client_id", raw.external_client_id, ExternalClientId::parse)?;
        let client_phone = required("/client_phone", raw.client_phone, |v| Phone::parse(&v))?;
        let external_message_id =
            required("/external_message_id", raw.external_message_id, ExternalMessageId::parse)?;
        let text = required("/text", raw.text, MessageText::parse)?;
        let sent_at = optional("/sent_at", raw.sent_at, |v| Timestamp::parse_sent_at(&v, received_at))?;
        Ok(Self {
            client_id: ClientId::of(&external_client_id, &client_phone),
            external_client_id,
            client_phone,
            external_message_id,
            text,
            sent_at,
            extra: raw.extra,
        })
    }

    /// The client who wrote it.
    #[must_use]
    pub const fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// The source it came from.
    #[must_use]
    pub const fn external_client_id(&self) -> &ExternalClientId {
        &self.external_client_id
    }

    /// The client's phone, normalised.
    #[must_use]
    pub const fn client_phone(&self) -> &Phone {
        &self.client_phone
    }

    /// The source's id of the message, unique per client.
    #[must_use]
    pub const fn external_message_id(&self) -> &ExternalMessageId {
        &self.external_message_id
    }

    /// The words.
    #[must_use]
    pub const fn text(&self) -> &MessageText {
        &self.text
    }

    /// The producer's claim about when it was sent: to show, never to order by.
    #[must_use]
    pub const fn sent_at(&self) -> Option<Timestamp> {
        self.sent_at
    }

    /// The record's value: one object, keys sorted by code point, no white space, times in UTC with
    /// microseconds. Equal messages have equal bytes.
    #[must_use]
    pub fn to_canonical_json(&self) -> Vec<u8> {
        // Writing to memory cannot fail, and every key is a string.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Over [`to_canonical_json`](Self::to_canonical_json).
    #[must_use]
    pub fn body_hash(&self) -> BodyHash {
        let digest: [u8; 32] = Sha256::digest(self.to_canonical_json()).into();
        let [hash @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
        BodyHash(hash)
    }
}

/// The canonical form: known and unknown fields merged in the order of their keys.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sent_at = self.sent_at.map(|time| time.to_string());
        let known = [
            ("client_phone", Some(self.client_phone.as_str())),
            ("external_client_id", Some(self.external_client_id.as_str())),
            ("external_message_id", Some(self.external_message_id.as_str())),
            ("sent_at", sent_at.as_deref()),
            ("text", Some(self.text.as_str())),
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

fn optional<'a, T>(
    pointer: &'static str,
    field: Field<'a>,
    parse: impl FnOnce(Cow<'a, str>) -> Result<T, Violation>,
) -> Result<Option<T>, Invalid> {
    let violated = |(reason, rule)| Invalid::new(reason, pointer, rule);
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Text(text) => parse(text).map(Some).map_err(violated),
        Field::OtherType => Err(violated((InvalidReason::WrongType, "must be a string"))),
    }
}

fn required<'a, T>(
    pointer: &'static str,
    field: Field<'a>,
    parse: impl FnOnce(Cow<'a, str>) -> Result<T, Violation>,
) -> Result<T, Invalid> {
    if let Field::Null = field {
        return Err(Invalid::new(InvalidReason::WrongType, pointer, "must be a string"));
    }
    optional(pointer, field, parse)?
        .ok_or_else(|| Invalid::new(InvalidReason::MissingField, pointer, "is required"))
}

#[cfg(test)]
mod tests;
