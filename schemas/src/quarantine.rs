//! The quarantine: what a provider sent as a message and what can never be one, as its hook is described. It lies in
//! a topic of its own for a person to look at, and is read again once the description is mended.
//!
//! A record's value is what came, cut down to the one item; its headers are CloudEvents 1.0 in binary mode, as
//! those of the [topic of messages](crate::record).

use std::borrow::Cow;

use crate::{
    ids::RequestId,
    key::ClientId,
    record::{EncodedRecord, header},
    time::Timestamp,
};

/// `ce_type` of an item in quarantine.
pub const ITEM_QUARANTINED: &str = "telex.item.quarantined.v1";

/// The names of the headers that only these records have.
pub mod headers {
    /// The hook that read it.
    pub const HOOK: &str = "telex_hook";
    /// The producer that the hook belongs to.
    pub const PRODUCER: &str = "telex_producer";
    /// Why it is no message: a stable code.
    pub const REASON: &str = "telex_reason";
    /// The same in words; never holds a value of the item.
    pub const DETAIL: &str = "telex_detail";
}

/// An item that can never be a message as its hook is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The client, if the item says who it is.
    pub client_id: Option<ClientId>,
    pub hook: String,
    pub producer: String,
    /// A stable code.
    pub reason: String,
    /// In words.
    pub detail: String,
    /// What came, without the request's other items.
    pub document: Vec<u8>,
    /// What the document is: a media type.
    pub content_type: String,
    /// When the ingest API had the whole request.
    pub received_at: Timestamp,
    pub request_id: RequestId,
    /// Which of the request's items it is, from 0.
    pub item: usize,
}

/// A record that is no item in quarantine: another program wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} is missing or malformed")]
pub struct Foreign(pub &'static str);

impl Quarantined {
    /// The record: its key is the client id, or the hook's name where nobody knows whose it is.
    pub fn encode(self) -> EncodedRecord {
        let source = format!("urn:telex:hook:{}", self.hook);
        let id = format!("{}/{}", self.request_id, self.item);
        EncodedRecord {
            key: self.client_id.map_or_else(|| self.hook.clone(), ClientId::key),
            value: self.document,
            headers: vec![
                (header::SPEC_VERSION, Cow::Borrowed("1.0")),
                (header::ID, id.into()),
                (header::SOURCE, source.into()),
                (header::TYPE, ITEM_QUARANTINED.into()),
                (header::TIME, self.received_at.to_string().into()),
                (header::CONTENT_TYPE, self.content_type.into()),
                (header::REQUEST_ID, self.request_id.to_string().into()),
                (headers::HOOK, self.hook.into()),
                (headers::PRODUCER, self.producer.into()),
                (headers::REASON, self.reason.into()),
                (headers::DETAIL, self.detail.into()),
            ],
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Foreign`]: the first header that is not as [`Self::encode`] writes it.
    pub fn decode<'a>(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone,
    ) -> Result<Self, Foreign> {
        let text = |name: &'static str| {
            let value = headers.clone().find(|(known, _)| *known == name).and_then(|(_, value)| value);
            value.and_then(|value| std::str::from_utf8(value).ok()).map(str::to_owned).ok_or(Foreign(name))
        };
        if text(header::TYPE)? != ITEM_QUARANTINED {
            return Err(Foreign(header::TYPE));
        }
        let request_id =
            RequestId::parse(text(header::REQUEST_ID)?).map_err(|_| Foreign(header::REQUEST_ID))?;
        let id = text(header::ID)?;
        let item = id.rsplit_once('/').and_then(|(_, item)| item.parse().ok());
        Ok(Self {
            client_id: key.and_then(ClientId::parse),
            hook: text(self::headers::HOOK)?,
            producer: text(self::headers::PRODUCER)?,
            reason: text(self::headers::REASON)?,
            detail: text(self::headers::DETAIL)?,
            document: value.unwrap_or_default().to_vec(),
            content_type: text(header::CONTENT_TYPE)?,
            received_at: Timestamp::parse(&text(header::TIME)?).map_err(|_| Foreign(header::TIME))?,
            request_id,
            item: item.ok_or(Foreign(header::ID))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarantined(client_id: Option<ClientId>) -> Quarantined {
        Quarantined {
            client_id,
            hook: "whatsapp".to_owned(),
            producer: "meta".to_owned(),
            reason: "no_address".to_owned(),
            detail: "no place of phone or address holds something".to_owned(),
            document: b"{\"entry\":[]}".to_vec(),
            content_type: "application/json".to_owned(),
            received_at: Timestamp::parse("2026-11-24T04:35:00Z").unwrap(),
            request_id: RequestId::parse("r-1").unwrap(),
            item: 3,
        }
    }

    fn decode(record: &EncodedRecord) -> Result<Quarantined, Foreign> {
        let headers = record.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        Quarantined::decode(Some(record.key.as_bytes()), Some(&record.value), headers)
    }

    #[test]
    fn an_item_comes_back_as_it_was_written() {
        let client_id = ClientId::parse(b"e60660c7-bd8f-5ba9-b814-6dbee9550932");
        for item in [quarantined(client_id), quarantined(None)] {
            assert_eq!(decode(&item.clone().encode()), Ok(item));
        }
        assert_eq!(quarantined(None).encode().key, "whatsapp");
    }

    #[test]
    fn a_record_of_another_kind_is_named_by_the_header_that_is_wrong() {
        let mut record = quarantined(None).encode();
        record.headers.retain(|(name, _)| *name != headers::REASON);
        assert_eq!(decode(&record), Err(Foreign(headers::REASON)));
        record.headers.retain(|(name, _)| *name != header::TYPE);
        assert_eq!(decode(&record), Err(Foreign(header::TYPE)));
    }
}
