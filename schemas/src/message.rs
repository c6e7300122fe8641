//! A message: what Telex looks at of what a client wrote. The only ways to obtain one are the records of the
//! topic, which the processor does not trust, and [`Posted`], a producer's body.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::{
    address::Address,
    edge,
    fields::{ALIASES_MAX, Field, Fields, Known, List, Others, optional, required},
    ids::{ExternalClientId, ExternalMessageId, MessageText, Phone},
    key::ClientId,
    reason::{Invalid, InvalidReason, Warning},
    record,
    time::Timestamp,
};

/// What a client wrote, valid in every part.
#[derive(Debug, Clone)]
pub struct Message {
    client_id: ClientId,
    own: Own,
    sent_at: Option<Timestamp>,
    aliases: Vec<Address>,
    /// Of a record of version 1: it covers the sender's members too.
    hash_of_version_1: Option<BodyHash>,
    /// Made when somebody asks, which the edge never does.
    hash_of_version_2: OnceLock<BodyHash>,
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
    /// By the rules of version 2, whichever version the record is of; version 3 has the same.
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
        let (mut fields, others) = Fields::read(body, Known::All)?;
        let sent_at = claimed(&mut fields);
        let (message, warnings) = Message::at_the_edge(fields, sent_at, received_at)?;
        Ok(Self { message, others, warnings })
    }
}

/// A hash that follows from the other fields is not compared.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.client_id == other.client_id
            && self.own == other.own
            && self.sent_at == other.sent_at
            && self.aliases == other.aliases
            && self.hash_of_version_1 == other.hash_of_version_1
    }
}

impl Eq for Message {}

impl Message {
    /// Parses a JSON object by the rules of version 3. Members that Telex does not know are passed over.
    ///
    /// `received_at` bounds `sent_at`; it is an argument so that the processor, replaying the
    /// topic in ten years, comes to the same answer as the edge did.
    ///
    /// # Errors
    /// The first violated rule: syntax before content, then the fields in the order of the contract
    /// (`external_client_id`, `client_phone` or `client_address`, `external_message_id`, `text`, `sent_at`,
    /// `aliases`).
    pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Self, Invalid> {
        Self::read(body, Known::All, received_at)
    }

    /// Parses a JSON object by the rules of version 2, to which `client_address` and `aliases` are members that
    /// Telex does not know.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub fn parse_of_version_2(body: &[u8], received_at: Timestamp) -> Result<Self, Invalid> {
        Self::read(body, Known::Five, received_at)
    }

    fn read(body: &[u8], known: Known, received_at: Timestamp) -> Result<Self, Invalid> {
        let (mut fields, _) = Fields::read(body, known)?;
        let sent_at = claimed(&mut fields);
        Self::from_fields(fields, sent_at, received_at).map(|(message, _)| message)
    }

    /// By the rules of the contract, then by those of the edge.
    pub(crate) fn at_the_edge(
        fields: Fields<'_>,
        sent_at: Result<Option<Timestamp>, Invalid>,
        received_at: Timestamp,
    ) -> Result<(Self, Vec<Warning>), Invalid> {
        let refused = edge::check(&fields);
        let read = Self::from_fields(fields, sent_at, received_at)?;
        refused.map(|()| read)
    }

    fn from_fields(
        mut fields: Fields<'_>,
        sent_at: Result<Option<Timestamp>, Invalid>,
        received_at: Timestamp,
    ) -> Result<(Self, Vec<Warning>), Invalid> {
        let aliases = std::mem::take(&mut fields.aliases);
        let (own, text_is_mended) = Own::parse(fields)?;
        let claimed = sent_at?;
        let sent_at = claimed.and_then(|time| time.check_sent_at(received_at).ok());
        let (aliases, has_left_out) = read_aliases(aliases, &own.address)?;
        let warnings = [
            (text_is_mended, Warning::HalfCharacter),
            (sent_at != claimed, Warning::SentAtOutOfRange),
            (has_left_out, Warning::AliasLeftOut),
        ];
        let warnings = warnings.into_iter().filter_map(|(holds, warning)| holds.then_some(warning));
        Ok((Self { aliases, ..own.into_message(sent_at) }, warnings.collect()))
    }

    pub const fn client_id(&self) -> ClientId {
        self.client_id
    }

    pub const fn external_client_id(&self) -> &ExternalClientId {
        &self.own.external_client_id
    }

    /// What the client is reached by: the other half of its identity.
    pub const fn address(&self) -> &Address {
        &self.own.address
    }

    /// The source's id of the message, unique per client.
    pub const fn external_message_id(&self) -> &ExternalMessageId {
        &self.own.external_message_id
    }

    pub const fn text(&self) -> &MessageText {
        &self.own.text
    }

    /// The producer's claim about when it was sent: to show, never to order by.
    pub const fn sent_at(&self) -> Option<Timestamp> {
        self.sent_at
    }

    /// Other addresses of the same person, each once, without the one that is the client's. What they say of
    /// people is not part of what the message says: they are not in its hash.
    pub fn aliases(&self) -> &[Address] {
        &self.aliases
    }

    pub fn body(&self) -> Body {
        let own = *self.hash_of_version_2.get_or_init(|| BodyHash::of_version_2(self));
        Body { hash: self.hash_of_version_1.unwrap_or(own), own }
    }

    pub(crate) fn of_version_1(self, hash: BodyHash) -> Self {
        Self { hash_of_version_1: Some(hash), ..self }
    }

    /// What the message takes on the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let Own { external_client_id, address, external_message_id, text } = &self.own;
        let texts =
            [external_client_id.as_str(), address.as_str(), external_message_id.as_str(), text.as_str()];
        let aliases = self.aliases.iter().map(|alias| alias.as_str().len() + size_of::<Address>());
        texts.map(str::len).iter().sum::<usize>() + aliases.sum::<usize>()
    }
}

/// The time when it was sent, as it was written.
fn claimed(fields: &mut Fields<'_>) -> Result<Option<Timestamp>, Invalid> {
    optional("/sent_at", std::mem::take(&mut fields.sent_at), |text| Timestamp::parse(&text))
}

/// The aliases of the client with this address, and whether some were left out because they are no address: a
/// user name that breaks a rule is not worth losing the message.
fn read_aliases(aliases: List<'_>, address: &Address) -> Result<(Vec<Address>, bool), Invalid> {
    let invalid = |reason, rule| Err(Invalid::new(reason, "/aliases", rule));
    let items = match aliases {
        List::Absent | List::Null => return Ok((Vec::new(), false)),
        List::Items(items) if items.len() > ALIASES_MAX => {
            return invalid(InvalidReason::TooLong, "must have at most 4 items");
        }
        List::Items(items) => items,
        List::OtherType => return invalid(InvalidReason::WrongType, "must be an array of strings"),
    };
    let (mut read, mut has_left_out) = (Vec::new(), false);
    for item in items {
        let alias = match item {
            Field::Text(text) => Address::parse_alias(&text).ok(),
            Field::Mended(_) => None,
            Field::Absent | Field::Null | Field::OtherType => {
                return invalid(InvalidReason::WrongType, "must be an array of strings");
            }
        };
        match alias {
            Some(alias) if alias == *address || read.contains(&alias) => {}
            Some(alias) => read.push(alias),
            None => has_left_out = true,
        }
    }
    Ok((read, has_left_out))
}

/// The one address of the two fields that may hold it.
fn read_address<'a>(phone: Field<'a>, address: Field<'a>) -> Result<Address, Invalid> {
    let is_empty = |field: &Field<'_>| matches!(field, Field::Absent | Field::Null);
    match (is_empty(&phone), is_empty(&address)) {
        (_, true) => required("/client_phone", phone, |v| Phone::parse(&v)).map(Address::Phone),
        (true, false) => required("/client_address", address, |v| Address::parse_identity(&v)),
        (false, false) => {
            let rule = "must not stand beside client_phone: what a client has besides belongs into aliases";
            Err(Invalid::new(InvalidReason::TwoAddresses, "/client_address", rule))
        }
    }
}

/// The fields that decide who wrote what, each valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub external_client_id: ExternalClientId,
    pub address: Address,
    pub external_message_id: ExternalMessageId,
    pub text: MessageText,
}

impl Own {
    /// Parses them in their order; whether something stands in the text for a half of a surrogate pair.
    pub fn parse(fields: Fields<'_>) -> Result<(Self, bool), Invalid> {
        let external_client_id =
            required("/external_client_id", fields.external_client_id, ExternalClientId::parse)?;
        let address = read_address(fields.client_phone, fields.client_address)?;
        let external_message_id =
            required("/external_message_id", fields.external_message_id, ExternalMessageId::parse)?;
        let (text, is_mended) = match fields.text {
            Field::Mended(text) => (Field::Text(text.into()), true),
            text => (text, false),
        };
        let text = required("/text", text, MessageText::parse)?;
        Ok((Self { external_client_id, address, external_message_id, text }, is_mended))
    }

    pub fn into_message(self, sent_at: Option<Timestamp>) -> Message {
        let client_id = ClientId::of(&self.external_client_id, &self.address);
        Message {
            client_id,
            own: self,
            sent_at,
            aliases: Vec::new(),
            hash_of_version_1: None,
            hash_of_version_2: OnceLock::new(),
        }
    }
}

impl BodyHash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).into())
    }

    /// Over the event type, the client id, the message's id, the text and `sent_at` (empty without one), with
    /// a zero byte between them: none of them can hold one. The client id stands for source and address, and
    /// aliases are not covered: so it is the rule of version 3 as well, and a message that is sent again with
    /// aliases, or without, is the same.
    fn of_version_2(message: &Message) -> Self {
        let Message { client_id, own: Own { external_message_id: id, text, .. }, sent_at, .. } = message;
        let (mut client_text, mut time_text) = ([0; ClientId::TEXT_BYTES], [0; Timestamp::TEXT_BYTES]);
        let sent_at = sent_at.map_or("", |time| time.encode(&mut time_text));
        let mut hasher = Sha256::new_with_prefix(record::MESSAGE_RECEIVED_V2);
        for part in [client_id.encode(&mut client_text), id.as_str(), text.as_str(), sent_at] {
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
pub(crate) mod tests;
