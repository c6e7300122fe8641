//! From a body to its items: messages, what is none, and what can never be one.

use std::collections::BTreeMap;

use schemas::{
    ALIASES_MAX, Address, ClientId, Draft, ExternalClientId, Invalid, InvalidReason, Message, Phone,
    Timestamp, Warning,
};

use crate::{
    decode::{BodyKind, Fields, fields},
    description::Identity,
    field::Maker,
    hook::Hook,
    request::Request,
    walk::{Found, FoundItem, Lost},
};

/// What a request holds.
#[derive(Debug, Default)]
pub struct Reading {
    /// In the order in which they stand there.
    pub items: Vec<Item>,
    /// What is no message, by the name of the `skip` that says so; [`NO_MESSAGE`] where a request has no item.
    pub skipped: BTreeMap<String, u64>,
}

/// The name under which a request without an item is counted.
pub const NO_MESSAGE: &str = "no_message";

/// One item of a request.
#[derive(Debug)]
pub enum Item {
    Message {
        message: Box<Message>,
        /// What of it is kept otherwise than it came.
        warnings: Vec<Warning>,
        /// Its time could not be read, and is left out.
        is_time_unreadable: bool,
    },
    /// It can never be a message as the description stands.
    Bad(Bad),
}

/// An item that can never be a message, for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub reason: Reason,
    /// The client, if the item says who it is.
    pub client_id: Option<ClientId>,
    /// The request without its other items; read again by a mended description, it is this item.
    pub document: String,
}

/// Why an item is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing says which source it is from.
    NoSource,
    /// Nothing says who wrote it.
    NoAddress,
    /// Nothing tells it from other messages.
    NoId,
    /// There is no text, not even an empty one.
    NoText,
    /// Something else stands where a list of items has to be.
    NoList,
    /// A member that the hook reads stands twice in one of its objects: nobody knows which of the two is meant.
    Twice,
    /// The hook's producer may not write messages of this source.
    SourceNotAllowed,
    /// A field breaks a rule of the contract.
    Invalid(Invalid),
}

impl Reason {
    /// The stable code.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoSource => "no_source",
            Self::NoAddress => "no_address",
            Self::NoId => "no_message_id",
            Self::NoText => "no_text",
            Self::NoList => "no_list",
            Self::Twice => InvalidReason::DuplicateKey.as_str(),
            Self::SourceNotAllowed => "source_not_allowed",
            Self::Invalid(invalid) => invalid.reason.as_str(),
        }
    }

    /// In words; never holds a value.
    pub fn detail(&self) -> String {
        match self {
            Self::NoSource => "no place of source holds something".to_owned(),
            Self::NoAddress => "no place of phone or address holds something".to_owned(),
            Self::NoId => "no place of id holds something".to_owned(),
            Self::NoText => "no place of text holds something".to_owned(),
            Self::NoList => "there is no list at the place that items names".to_owned(),
            Self::Twice => "a member that the hook reads stands twice in one object".to_owned(),
            Self::SourceNotAllowed => {
                "the producer may not write messages of this external_client_id".to_owned()
            }
            Self::Invalid(invalid) => invalid.to_string(),
        }
    }
}

/// Nothing of a request can be read: the provider has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be read: {0}")]
pub struct Unreadable(#[from] pub Lost);

impl Hook {
    /// Reads a request that is known to be from the provider. `received_at` bounds the messages' times; `may_write`
    /// says whether messages of a source may be written.
    ///
    /// # Errors
    /// [`Unreadable`]: not even its items are known.
    pub fn read(
        &self,
        request: &Request<'_>,
        body: &[u8],
        received_at: Timestamp,
        may_write: &dyn Fn(&ExternalClientId) -> bool,
    ) -> Result<Reading, Unreadable> {
        let document = match self.kind {
            BodyKind::Json | BodyKind::Form => body,
            BodyKind::Query => request.query().as_bytes(),
        };
        self.read_document(document, received_at, may_write)
    }

    /// Reads a body, or the query of a hook that is read from one.
    ///
    /// # Errors
    /// As [`Hook::read`].
    pub fn read_document(
        &self,
        document: &[u8],
        received_at: Timestamp,
        may_write: &dyn Fn(&ExternalClientId) -> bool,
    ) -> Result<Reading, Unreadable> {
        let text = std::str::from_utf8(document).map_err(|_| Lost::Syntax)?;
        // What is cut out of a document is read again without its mark; a form has none, but a field's name may begin so.
        let text = match self.kind {
            BodyKind::Json => text.strip_prefix('\u{feff}').unwrap_or(text),
            BodyKind::Form | BodyKind::Query => text,
        };
        let decoded: Fields<'_>;
        let found = match self.kind {
            BodyKind::Json => Found::in_json(&self.places, text)?,
            BodyKind::Form | BodyKind::Query => {
                decoded = fields(text.as_bytes())?;
                Found::in_fields(&self.places, &decoded, &self.json_fields)?
            }
        };
        let mut reading = Reading::default();
        if found.items().is_empty() && !found.has_no_list() {
            reading.skipped.insert(NO_MESSAGE.to_owned(), 1);
        }
        if found.has_no_list() {
            let document = self.signer().without_secrets(text.to_owned());
            reading.items.push(Item::Bad(Bad { reason: Reason::NoList, client_id: None, document }));
        }
        let mut cutter = Cutter { text, room: text.len().saturating_mul(CUT_MAX), is_whole: false };
        for &item in found.items() {
            // Of what stands twice, one may be a message's.
            let skip = self.skip.iter().find(|(_, check)| check.holds(&found, item));
            if let Some((name, _)) = skip.filter(|_| !item.is_ambiguous()) {
                *reading.skipped.entry(name.clone()).or_default() += 1;
                continue;
            }
            let item = self.item(&found, item, received_at, may_write).or_else(|(reason, client_id)| {
                let cut = || match self.kind {
                    BodyKind::Json => Some(found.cut(text, item)),
                    // There is one item in a form, or they lie within one of its fields.
                    BodyKind::Form | BodyKind::Query => None,
                };
                let Document { text, is_whole } = cutter.document(cut).ok_or(())?;
                // In the whole there are items of others, too.
                let client_id = client_id.filter(|_| !is_whole || found.items().len() == 1);
                let document = self.signer().without_secrets(text);
                Ok::<_, ()>(Item::Bad(Bad { reason, client_id, document }))
            });
            reading.items.extend(item);
        }
        Ok(reading)
    }

    /// The message, or why there is none and whose it would be.
    fn item(
        &self,
        found: &Found<'_>,
        item: FoundItem,
        received_at: Timestamp,
        may_write: &dyn Fn(&ExternalClientId) -> bool,
    ) -> Result<Item, (Reason, Option<ClientId>)> {
        if item.is_ambiguous() {
            return Err((Reason::Twice, None));
        }
        let source = self.source.make(found, item);
        let who = self.who(found, item);
        let client_id = source.as_deref().zip(who.as_ref()).and_then(|(source, who)| who.client_id(source));
        let made = self.message(found, item, source, who, received_at).and_then(|made| match &made {
            Item::Message { message, .. } if !may_write(message.external_client_id()) => {
                Err(Reason::SourceNotAllowed)
            }
            _ => Ok(made),
        });
        made.map_err(|reason| (reason, client_id))
    }

    fn who(&self, found: &Found<'_>, item: FoundItem) -> Option<Who> {
        let made =
            |(scheme, maker): &(String, Maker)| maker.make(found, item).map(|id| format!("{scheme}:{id}"));
        let phone = self.phone.as_ref().and_then(|phone| phone.make(found, item));
        let addresses: Vec<String> = self.addresses.iter().filter_map(made).collect();
        // Digits that are no phone cost no message of somebody who has another address.
        let phone = phone.filter(|phone| addresses.is_empty() || Phone::parse(phone).is_ok());
        let mut who = Who::of(self.identity(), phone, addresses)?;
        who.aliases.extend(self.aliases.iter().filter_map(made));
        who.aliases.truncate(ALIASES_MAX);
        Some(who)
    }

    fn message(
        &self,
        found: &Found<'_>,
        item: FoundItem,
        source: Option<String>,
        who: Option<Who>,
        received_at: Timestamp,
    ) -> Result<Item, Reason> {
        let external_client_id = source.ok_or(Reason::NoSource)?;
        let Who { phone, address, aliases } = who.ok_or(Reason::NoAddress)?;
        let (sent_at, is_time_unreadable) = match self.time.as_ref().map(|time| time.read(found, item)) {
            None => (None, false),
            Some(Ok(time)) => (time, false),
            Some(Err(_unreadable)) => (None, true),
        };
        let draft = Draft {
            external_client_id,
            client_phone: phone,
            client_address: address,
            aliases,
            external_message_id: self.id.make(found, item).ok_or(Reason::NoId)?,
            text: self.text.make(found, item).ok_or(Reason::NoText)?,
            sent_at,
        };
        let (message, warnings) = Message::from_draft(draft, received_at).map_err(Reason::Invalid)?;
        Ok(Item::Message { message: Box::new(message), warnings, is_time_unreadable })
    }
}

/// How often a request may be quarantined all over: what is around an item is quarantined with each, and may be large.
const CUT_MAX: usize = 2;

/// Makes the documents that are quarantined of one request.
struct Cutter<'a> {
    text: &'a str,
    /// Bytes that documents may still have.
    room: usize,
    /// The whole request is quarantined, and every item lies in it.
    is_whole: bool,
}

/// A document that is quarantined.
struct Document {
    text: String,
    is_whole: bool,
}

impl Cutter<'_> {
    /// The document of the next item; none if it lies in one already. What cannot be cut is quarantined whole.
    fn document(&mut self, cut: impl FnOnce() -> Option<String>) -> Option<Document> {
        if self.is_whole {
            return None;
        }
        let cut = cut().filter(|cut| cut.len() <= self.room);
        self.is_whole = cut.is_none();
        let text = cut.unwrap_or_else(|| self.text.to_owned());
        self.room = self.room.saturating_sub(text.len());
        Some(Document { text, is_whole: self.is_whole })
    }
}

/// The client of an item: one address that is the identity, and the others.
struct Who {
    phone: Option<String>,
    address: Option<String>,
    aliases: Vec<String>,
}

impl Who {
    fn of(identity: Identity, phone: Option<String>, addresses: Vec<String>) -> Option<Self> {
        let is_by_phone = phone.is_some() && (identity == Identity::PhoneFirst || addresses.is_empty());
        let mut addresses = addresses.into_iter();
        if is_by_phone {
            return Some(Self { phone, address: None, aliases: addresses.collect() });
        }
        let address = Some(addresses.next()?);
        Some(Self { phone: None, address, aliases: phone.into_iter().chain(addresses).collect() })
    }

    /// Whose key it is, if both halves of it are what they have to be.
    fn client_id(&self, source: &str) -> Option<ClientId> {
        let source = ExternalClientId::parse(source).ok()?;
        let address = Address::parse(self.phone.as_deref().or(self.address.as_deref())?).ok()?;
        Some(ClientId::of(&source, &address))
    }
}
