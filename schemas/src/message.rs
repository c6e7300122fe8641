//! A message: what Telex looks at of what a client wrote. The only ways to obtain one are the records of the
//! topic, which the processor does not trust, and [`Posted`], a producer's body.

use sha2::{Digest, Sha256};

use crate::{
    edge,
    fields::{Field, Fields, Others, optional, required},
    ids::{ExternalClientId, ExternalMessageId, MessageText, Phone},
    key::ClientId,
    reason::{Invalid, InvalidReason, Warning},
    record,
    time::Timestamp,
};

/// What a client wrote, valid in every part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    client_id: ClientId,
    external_client_id: ExternalClientId,
    client_phone: Phone,
    external_message_id: ExternalMessageId,
    text: MessageText,
    sent_at: Option<Timestamp>,
    body: Body,
}

/// The first 128 bits of a SHA-256 over what a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyHash(pub [u8; 16]);

/// Tells a duplicate from a conflicting duplicate (the same id, another body), also where one of the two
/// records is of version 1, whose hash covers members that version 2 does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// By the rules of the record's version: what the row keeps.
    pub hash: BodyHash,
    /// By the rules of version 2, whichever version the record is of.
    pub own: BodyHash,
}

/// A message as its producer sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted<'a> {
    pub message: Message,
    /// The members that Telex does not look at.
    pub others: Others<'a>,
    /// What of the message is kept otherwise than it came.
    pub warnings: Vec<Warning>,
}

impl<'a> Posted<'a> {
    /// Parses a JSON object by the rules of the contract and those that are in force at the edge only.
    ///
    /// # Errors
    /// The first violated rule, as [`Message::parse`] has it; then what `edge` refuses.
    pub fn parse(body: &'a [u8], received_at: Timestamp) -> Result<Self, Invalid> {
        let (fields, others) = Fields::read(body)?;
        let refused = edge::check(&fields);
        let (message, warnings) = Message::from_fields(fields, received_at)?;
        refused?;
        Ok(Self { message, others, warnings })
    }
}

impl Message {
    /// Parses a JSON object by the rules of version 2. Members that Telex does not know are passed over.
    ///
    /// `received_at` bounds `sent_at`; it is an argument so that the processor, replaying the
    /// topic in ten years, comes to the same answer as the edge did.
    ///
    /// # Errors
    /// The first violated rule: syntax before content, then the fields in the order of the
    /// contract (`external_client_id`, `client_phone`, `external_message_id`, `text`, `sent_at`).
    pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Self, Invalid> {
        let (fields, _) = Fields::read(body)?;
        Self::from_fields(fields, received_at).map(|(message, _)| message)
    }

    fn from_fields(mut fields: Fields<'_>, received_at: Timestamp) -> Result<(Self, Vec<Warning>), Invalid> {
        let sent_at = std::mem::take(&mut fields.sent_at);
        let (own, text_is_mended) = Own::parse(fields)?;
        let sent_at = optional("/sent_at", sent_at, |v| Timestamp::parse_sent_at(&v, received_at));
        let mut warnings: Vec<Warning> =
            text_is_mended.then_some(Warning::HalfCharacter).into_iter().collect();
        let sent_at = match sent_at {
            Err(Invalid { reason: InvalidReason::TimestampOutOfRange, .. }) => {
                warnings.push(Warning::SentAtOutOfRange);
                None
            }
            read => read?,
        };
        Ok((own.into_message(sent_at), warnings))
    }

    /// The client who wrote it.
    pub const fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// The source it came from.
    pub const fn external_client_id(&self) -> &ExternalClientId {
        &self.external_client_id
    }

    /// The client's phone, normalised.
    pub const fn client_phone(&self) -> &Phone {
        &self.client_phone
    }

    /// The source's id of the message, unique per client.
    pub const fn external_message_id(&self) -> &ExternalMessageId {
        &self.external_message_id
    }

    pub const fn text(&self) -> &MessageText {
        &self.text
    }

    /// The producer's claim about when it was sent: to show, never to order by.
    pub const fn sent_at(&self) -> Option<Timestamp> {
        self.sent_at
    }

    pub const fn body(&self) -> Body {
        self.body
    }

    pub(crate) const fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// What the message takes on the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let texts = [
            self.external_client_id.as_str(),
            self.client_phone.as_str(),
            self.external_message_id.as_str(),
            self.text.as_str(),
        ];
        texts.map(str::len).iter().sum()
    }
}

/// The fields that decide who wrote what, each valid.
pub(crate) struct Own {
    pub external_client_id: ExternalClientId,
    pub client_phone: Phone,
    pub external_message_id: ExternalMessageId,
    pub text: MessageText,
}

impl Own {
    /// Parses them in their order; whether something stands in the text for a half of a surrogate pair.
    pub fn parse(fields: Fields<'_>) -> Result<(Self, bool), Invalid> {
        let external_client_id =
            required("/external_client_id", fields.external_client_id, ExternalClientId::parse)?;
        let client_phone = required("/client_phone", fields.client_phone, |v| Phone::parse(&v))?;
        let external_message_id =
            required("/external_message_id", fields.external_message_id, ExternalMessageId::parse)?;
        let (text, is_mended) = match fields.text {
            Field::Mended(text) => (Field::Text(text.into()), true),
            text => (text, false),
        };
        let text = required("/text", text, MessageText::parse)?;
        Ok((Self { external_client_id, client_phone, external_message_id, text }, is_mended))
    }

    pub fn into_message(self, sent_at: Option<Timestamp>) -> Message {
        let Self { external_client_id, client_phone, external_message_id, text } = self;
        let client_id = ClientId::of(&external_client_id, &client_phone);
        let hash = BodyHash::of_version_2(client_id, &external_message_id, &text, sent_at);
        let body = Body { hash, own: hash };
        Message { client_id, external_client_id, client_phone, external_message_id, text, sent_at, body }
    }
}

impl BodyHash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).into())
    }

    /// Over the event type, the client id, the message's id, the text and `sent_at` (empty without one), with
    /// a zero byte between them: none of them can hold one. The client id stands for source and phone.
    fn of_version_2(
        client_id: ClientId,
        id: &ExternalMessageId,
        text: &MessageText,
        sent_at: Option<Timestamp>,
    ) -> Self {
        let (client_id, sent_at) =
            (client_id.key(), sent_at.map(|time| time.to_string()).unwrap_or_default());
        let mut hasher = Sha256::new_with_prefix(record::MESSAGE_RECEIVED);
        for part in [client_id.as_str(), id.as_str(), text.as_str(), &sent_at] {
            hasher.update([0_u8]);
            hasher.update(part);
        }
        Self::from_digest(hasher.finalize().into())
    }

    const fn from_digest(digest: [u8; 32]) -> Self {
        let [hash @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
        Self(hash)
    }
}

impl Body {
    /// Whether two records with one message id say the same. Two of one version do if their hashes are
    /// equal; two of different versions if Telex's own fields are.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let is_version_1 = |body: &Self| body.hash != body.own;
        self.hash == other.hash || is_version_1(self) != is_version_1(other) && self.own == other.own
    }
}

#[cfg(test)]
mod tests;
