//! Other addresses of a client, as its messages name them. Only a message that is filed names any: what repeats one
//! has no effect here either, so that a replay gives the same rows.

use schemas::{Address, ClientId, Partition};

use crate::domain::{
    decode::{Received, Record},
    position::Offset,
    record::RawRecord,
};

/// An alias to be written, if it is not there.
#[derive(Debug, Clone, Copy)]
pub struct NewAlias<'a> {
    pub client_id: ClientId,
    pub alias: &'a Address,
    /// The record that names it.
    pub raw: &'a RawRecord,
}

impl<'a> NewAlias<'a> {
    /// Those of a message.
    pub fn of(record: &'a Record, received: &'a Received) -> impl Iterator<Item = Self> {
        let client_id = received.message.client_id();
        received.message.aliases().iter().map(move |alias| Self { client_id, alias, raw: &record.raw })
    }

    /// In the order of the table's key.
    fn key(&self) -> (ClientId, &'a str) {
        (self.client_id, self.alias.as_str())
    }

    fn order(&self) -> (ClientId, &'a str, Partition, Offset) {
        (self.client_id, self.alias.as_str(), self.raw.partition, self.raw.offset)
    }
}

/// Each alias once, named by the first record of those that name it, in the order of the table's key.
pub fn first_named(mut named: Vec<NewAlias<'_>>) -> Vec<NewAlias<'_>> {
    named.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    named.dedup_by(|later, first| later.key() == first.key());
    named
}
