//! From a record as it was read to what it says: total, whatever the bytes are.

use schemas::{ClientId, Event, Message, RequestId, Timestamp};

use crate::domain::{
    dead_letter::DeadLetterReason,
    record::RawRecord,
    rules::{IdleGap, PartitionRules},
};

/// A record with its meaning. The bytes stay with it: as a dead letter it is kept as it was.
#[derive(Debug, Clone)]
pub struct Record {
    /// The record as it was read.
    pub raw: RawRecord,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Message(Box<Received>),
    /// A client's active dialog is to be closed.
    Close(ClientId),
    /// Nothing that can be applied.
    DeadLetter(DeadLetterReason),
}

/// A message, with what stands on its record.
#[derive(Debug, Clone)]
pub struct Received {
    pub message: Message,
    /// When the ingest API had the request.
    pub received_at: Timestamp,
    /// The request that brought it.
    pub request_id: Option<RequestId>,
    /// After which silence it opens a new dialog, by the rule in force at its offset.
    pub idle_gap: Option<IdleGap>,
}

impl Record {
    /// Reads the meaning of a record by the `rules` of its partition.
    pub fn decode(raw: RawRecord, rules: &PartitionRules) -> Self {
        let content = match raw.decode(rules.count_at(raw.offset)) {
            Ok((Event::MessageReceived(message), envelope)) => Content::Message(Box::new(Received {
                idle_gap: rules.idle_gap_at(raw.offset, message.external_client_id()),
                message: *message,
                received_at: envelope.received_at,
                request_id: envelope.request_id,
            })),
            Ok((Event::DialogClose(close), _)) => Content::Close(close.client_id),
            Err(fault) => Content::DeadLetter(DeadLetterReason::Record(fault)),
        };
        Self { raw, content }
    }

    /// What the record costs while it waits: its bytes, what is made of them, and what holds both.
    pub fn size_bytes(&self) -> usize {
        let content = match &self.content {
            Content::Message(received) => size_of::<Received>() + received.message.heap_bytes(),
            Content::Close(_) | Content::DeadLetter(_) => 0,
        };
        size_of::<Self>() - size_of::<RawRecord>() + self.raw.size_bytes() + content
    }

    /// Whose record it is; nobody's if it says nothing.
    pub fn client_id(&self) -> Option<ClientId> {
        match &self.content {
            Content::Message(received) => Some(received.message.client_id()),
            Content::Close(client_id) => Some(*client_id),
            Content::DeadLetter(_) => None,
        }
    }
}
