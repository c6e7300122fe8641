//! The topic's records, encode beside decode: the data team's contract.
//!
//! A record's value is the event's data as JSON: Telex's own fields in one spelling and order, then the
//! sender's other members as they came. Its headers are CloudEvents 1.0 in
//! binary content mode (Kafka protocol binding), with `content-type`, `x-request-id` and
//! `traceparent`. The pair (`ce_source`, `ce_id`) is equal exactly for copies of one message, as
//! CloudEvents asks.

use std::borrow::Cow;

use crate::{
    address::Address,
    close,
    fields::Others,
    ids::{RequestId, TraceParent},
    key::{ClientId, Partition, PartitionCount},
    message::Message,
    reason::Invalid,
    time::Timestamp,
    v1,
};

/// `ce_type` of a message of a client with a phone, without aliases.
pub const MESSAGE_RECEIVED_V2: &str = "telex.message.received.v2";
/// `ce_type` of a message with `client_address` or `aliases`. A type of its own: a sender's members of these
/// names in older records go on to mean nothing.
pub const MESSAGE_RECEIVED_V3: &str = "telex.message.received.v3";
/// `ce_type` of a message in records that were written before version 2: read, and written no more.
pub const MESSAGE_RECEIVED_V1: &str = "telex.message.received.v1";
/// `ce_type` of the command that closes a client's active dialog.
pub const DIALOG_CLOSE: &str = "telex.dialog.close.v1";

const CONTENT_TYPE: &str = "application/json";
/// What `ce_source` begins with.
const CLIENT_URN: &str = "urn:telex:client:";

pub mod header {
    /// Always `1.0`.
    pub const SPEC_VERSION: &str = "ce_specversion";
    /// The event's id within its source.
    pub const ID: &str = "ce_id";
    /// The client, as `urn:telex:client:{client_id}`.
    pub const SOURCE: &str = "ce_source";
    /// One of the event types, with its major version.
    pub const TYPE: &str = "ce_type";
    /// When the ingest API received it.
    pub const TIME: &str = "ce_time";
    /// The media type of the value.
    pub const CONTENT_TYPE: &str = "content-type";
    /// The HTTP request (the attempt) that brought it.
    pub const REQUEST_ID: &str = "x-request-id";
    /// W3C trace context.
    pub const TRACE_PARENT: &str = "traceparent";
}

/// What stands on a record besides the event itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// When the ingest API had the whole request.
    pub received_at: Timestamp,
    /// The request; absent only in records that another producer wrote.
    pub request_id: Option<RequestId>,
    /// The trace it belongs to.
    pub trace_parent: Option<TraceParent>,
}

/// Closes the active dialog of a client, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogClose {
    pub client_id: ClientId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    MessageReceived(Box<Message>),
    /// A client's dialog is to be closed.
    DialogClose(DialogClose),
}

impl Event {
    /// The client it is about: the record's key.
    pub fn client_id(&self) -> ClientId {
        match self {
            Self::MessageReceived(message) => message.client_id(),
            Self::DialogClose(close) => close.client_id,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRecord {
    /// The client id's canonical text.
    pub key: String,
    /// JSON.
    pub value: Vec<u8>,
    /// Names and values, in the order of the contract.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl EncodedRecord {
    /// Key, value and headers, in bytes: what the record costs in queues.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.len() + headers
    }
}

/// Writes the record of an event; of a message without members that Telex does not know.
pub fn encode(event: &Event, envelope: &Envelope) -> EncodedRecord {
    match event {
        Event::MessageReceived(message) => encode_message(message, &Others::default(), envelope),
        Event::DialogClose(close) => {
            let client_id = close.client_id;
            let id = match &envelope.request_id {
                Some(id) => id.to_string(),
                None => envelope.received_at.to_string(),
            };
            let value = format!(r#"{{"client_id":"{client_id}"}}"#).into_bytes();
            let key = client_id.key();
            EncodedRecord { value, headers: headers(&key, DIALOG_CLOSE, id, envelope), key }
        }
    }
}

/// Writes the record of a message, with the members that came with it.
pub fn encode_message(message: &Message, others: &Others<'_>, envelope: &Envelope) -> EncodedRecord {
    let key = message.client_id().key();
    let id = message.external_message_id().as_str().to_owned();
    EncodedRecord {
        value: message_value(message, others),
        headers: headers(&key, event_type(message), id, envelope),
        key,
    }
}

fn event_type(message: &Message) -> &'static str {
    match message.address().phone().is_some() && message.aliases().is_empty() {
        true => MESSAGE_RECEIVED_V2,
        false => MESSAGE_RECEIVED_V3,
    }
}

fn message_value(message: &Message, others: &Others<'_>) -> Vec<u8> {
    let mut sent_at = [0; Timestamp::TEXT_BYTES];
    let sent_at = message.sent_at().map(|time| time.encode(&mut sent_at));
    let address_name = if message.address().phone().is_some() { "client_phone" } else { "client_address" };
    let own = [
        ("external_client_id", Some(message.external_client_id().as_str())),
        (address_name, Some(message.address().as_str())),
        ("external_message_id", Some(message.external_message_id().as_str())),
        ("text", Some(message.text().as_str())),
        ("sent_at", sent_at),
    ];
    // The names with what stands around them take some 100 bytes.
    let room = 160 + message.heap_bytes() + others.pieces().map(|piece| piece.len() + 1).sum::<usize>();
    let mut value = Vec::with_capacity(room);
    for (name, text) in own.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        value.extend_from_slice(if value.is_empty() { b"{\"" } else { b",\"" });
        value.extend_from_slice(name.as_bytes());
        value.extend_from_slice(b"\":");
        // Writing a string to memory cannot fail.
        let _always = serde_json::to_writer(&mut value, text).is_ok();
    }
    if !message.aliases().is_empty() {
        value.extend_from_slice(b",\"aliases\":");
        let aliases: Vec<&str> = message.aliases().iter().map(Address::as_str).collect();
        let _always = serde_json::to_writer(&mut value, &aliases).is_ok();
    }
    for piece in others.pieces() {
        value.push(b',');
        value.extend_from_slice(piece.as_bytes());
    }
    value.push(b'}');
    value
}

fn headers(
    key: &str,
    event_type: &'static str,
    id: String,
    envelope: &Envelope,
) -> Vec<(&'static str, Cow<'static, str>)> {
    let mut headers = Vec::with_capacity(8);
    headers.extend([
        (header::SPEC_VERSION, Cow::from("1.0")),
        (header::ID, id.into()),
        (header::SOURCE, [CLIENT_URN, key].concat().into()),
        (header::TYPE, event_type.into()),
        (header::TIME, envelope.received_at.to_string().into()),
        (header::CONTENT_TYPE, CONTENT_TYPE.into()),
    ]);
    let text = |name, value: &str| (name, Cow::from(value.to_owned()));
    headers.extend(envelope.request_id.as_ref().map(|id| text(header::REQUEST_ID, id.as_str())));
    headers.extend(envelope.trace_parent.as_ref().map(|parent| text(header::TRACE_PARENT, parent.as_str())));
    headers
}

/// A record as it was read, borrowed from wherever it lies.
pub struct RecordView<'a, H> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// The headers in their order; of a repeated name the first counts.
    pub headers: H,
}

/// Why a record can never be applied: the reason of its dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// No value (a tombstone): the topic is not compacted.
    #[error("the record has no value")]
    NullValue,
    /// No key, or an empty one.
    #[error("the record has no key")]
    NullKey,
    /// A header of the contract is absent or not what the contract says.
    #[error("header {0} is absent or malformed")]
    BadHeader(&'static str),
    /// A `ce_type` that this version does not know.
    #[error("the event type is unknown")]
    UnknownType,
    /// The value breaks the event's rules.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The key is not the client id of the value.
    #[error("the key is not the client id of the value")]
    KeyMismatch,
    /// The record lies in another partition than its key belongs to.
    #[error("the key belongs to another partition")]
    WrongPartition,
}

impl RecordFault {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NullValue => "null_value",
            Self::NullKey => "null_key",
            Self::BadHeader(_) => "bad_header",
            Self::UnknownType => "unknown_type",
            Self::Invalid(invalid) => invalid.reason.as_str(),
            Self::KeyMismatch => "key_mismatch",
            Self::WrongPartition => "wrong_partition",
        }
    }
}

/// Reads a record that lies in `partition` of a topic with `count` partitions. Total: whatever the
/// bytes are, the answer is an event or a fault.
///
/// # Errors
/// The fault, for the dead letter.
pub fn decode<'a, H>(
    record: RecordView<'a, H>,
    partition: Partition,
    count: PartitionCount,
) -> Result<(Event, Envelope), RecordFault>
where
    H: Iterator<Item = (&'a str, Option<&'a [u8]>)>,
{
    let key = record.key.filter(|key| !key.is_empty()).ok_or(RecordFault::NullKey)?;
    let value = record.value.ok_or(RecordFault::NullValue)?;
    let headers = Headers::read(record.headers);
    let envelope = headers.envelope()?;
    let event = match headers.event_type {
        Some(b) if b == MESSAGE_RECEIVED_V3.as_bytes() => {
            Event::MessageReceived(Box::new(Message::parse(value, envelope.received_at)?))
        }
        Some(b) if b == MESSAGE_RECEIVED_V2.as_bytes() => {
            Event::MessageReceived(Box::new(Message::parse_of_version_2(value, envelope.received_at)?))
        }
        Some(b) if b == MESSAGE_RECEIVED_V1.as_bytes() => {
            Event::MessageReceived(Box::new(v1::parse(value, envelope.received_at)?))
        }
        Some(b) if b == DIALOG_CLOSE.as_bytes() => {
            Event::DialogClose(DialogClose { client_id: close::client_id(value)? })
        }
        Some(_) => return Err(RecordFault::UnknownType),
        None => return Err(RecordFault::BadHeader(header::TYPE)),
    };
    if event.client_id().encode(&mut [0; ClientId::TEXT_BYTES]).as_bytes() != key {
        return Err(RecordFault::KeyMismatch);
    }
    // A client in two partitions would have two owners; the order within one partition is what
    // keeps its dialogs apart.
    if Partition::of_key(key, count) != partition {
        return Err(RecordFault::WrongPartition);
    }
    Ok((event, envelope))
}

/// The headers that mean something to a processor.
#[derive(Default)]
struct Headers<'a> {
    event_type: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    trace_parent: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    fn read(headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let slot = match name {
                header::TYPE => &mut found.event_type,
                header::TIME => &mut found.time,
                header::REQUEST_ID => &mut found.request_id,
                header::TRACE_PARENT => &mut found.trace_parent,
                _ => continue,
            };
            *slot = slot.or(value);
        }
        found
    }

    fn envelope(&self) -> Result<Envelope, RecordFault> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let received_at = self
            .time
            .and_then(text)
            .and_then(|time| Timestamp::parse(time).ok())
            .ok_or(RecordFault::BadHeader(header::TIME))?;
        let request_id = match self.request_id {
            None => None,
            Some(bytes) => {
                let id = text(bytes).and_then(|id| RequestId::parse(id).ok());
                Some(id.ok_or(RecordFault::BadHeader(header::REQUEST_ID))?)
            }
        };
        // A broken trace context must not cost the message.
        let trace_parent = self.trace_parent.and_then(text).and_then(|p| TraceParent::parse(p).ok());
        Ok(Envelope { received_at, request_id, trace_parent })
    }
}
