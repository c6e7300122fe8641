//! The aliases of each client: those that its messages name, each with the first message that names it, against the
//! rows of `client_aliases`.

use std::{
    collections::{BTreeMap, HashSet},
    io,
};

use schemas::{ClientId, Message, Partition, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Proof,
    columns::failed,
    copy::Fields,
    entries::{Coordinates, Fixed, GoneMessage, Keys, Place, entry},
    log::LogRecord,
    report::{About, Findings, Scope},
    spill::Spill,
};
use crate::domain::position::{Offset, TopicRef};

/// Clients looked up at a time.
const CLIENTS_MAX: usize = 1_000;

entry! {
    /// An alias that a record names, should the record turn out to be a message.
    NamedAlias {
        client: ClientId,
        partition: Partition,
        offset: Offset,
        appended_at: Timestamp,
        /// A digest.
        alias: [u8; 16],
    }
}

impl NamedAlias {
    /// The order in which a client's records are folded.
    pub const fn order(&self) -> (ClientId, Partition, Offset) {
        (self.client, self.partition, self.offset)
    }

    const fn place(&self) -> Place {
        (self.partition, self.offset)
    }
}

entry! {
    /// A row of `client_aliases`.
    AliasRow {
        client: ClientId,
        partition: Partition,
        offset: Offset,
        topic_ref: i16,
        /// Microseconds since 1970.
        named_at: i64,
        /// A digest.
        alias: [u8; 16],
    }
}

impl AliasRow {
    /// The columns in the order in which [`AliasRow::of`] takes them.
    pub const COLUMNS: &str = "client_id, partition, record_offset, topic_ref, named_at, alias";

    /// Takes a row of the table.
    ///
    /// # Errors
    /// A column has another type than the migrations give it.
    pub fn of(keys: &Keys, mut row: Fields<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            client: ClientId::from_uuid(row.uuid()?),
            partition: Partition(row.i32()?),
            offset: Offset(row.i64()?),
            topic_ref: row.i16()?,
            named_at: row.micros()?.unwrap_or_default(),
            alias: keys.wide_digest(row.take()?.unwrap_or_default()),
        })
    }

    const fn coordinates(&self) -> Coordinates {
        (TopicRef(self.topic_ref), self.partition, self.offset)
    }
}

/// Keeps the aliases that a record names for the history of its client.
pub fn keep(
    named: &mut Spill<NamedAlias>,
    proof: &Proof<'_>,
    record: &LogRecord<'_>,
    message: &Message,
) -> io::Result<()> {
    let client = message.client_id();
    for alias in message.aliases() {
        let alias = NamedAlias {
            client,
            partition: record.partition,
            offset: record.offset,
            appended_at: record.appended_at(),
            alias: proof.keys.wide_digest(alias.as_str().as_bytes()),
        };
        named.push(proof.bucket(client), &alias, proof.directory)?;
    }
    Ok(())
}

/// The rows of some clients. Index: `client_aliases_pkey`.
pub async fn of_clients(
    connection: &mut PgConnection,
    keys: &Keys,
    clients: &[Uuid],
) -> anyhow::Result<Vec<AliasRow>> {
    let mut found = Vec::new();
    for some in clients.chunks(CLIENTS_MAX) {
        let rows = sqlx::query!(
            "select client_id, alias, named_at, topic_ref, partition, record_offset
             from client_aliases where client_id = any($1)",
            some,
        );
        let rows = rows.fetch_all(&mut *connection).await?;
        found.extend(rows.into_iter().map(|row| AliasRow {
            client: ClientId::from_uuid(row.client_id),
            partition: Partition(row.partition),
            offset: Offset(row.record_offset),
            topic_ref: row.topic_ref,
            named_at: row.named_at.timestamp_micros(),
            alias: keys.wide_digest(row.alias.as_bytes()),
        }));
    }
    Ok(found)
}

/// What there is of a client's aliases.
pub struct Aliases<'a> {
    /// What its records name, in their order.
    pub named: &'a [NamedAlias],
    /// The places of those of its records that are messages; of a client whose records name none it is not asked.
    pub filed: &'a HashSet<Place>,
    pub rows: &'a [AliasRow],
    /// Its messages whose records are gone, in their order.
    pub gone: &'a [GoneMessage],
}

/// Compares the rows of a client with what its messages name.
pub fn compare(proof: &Proof<'_>, client: &Aliases<'_>, findings: &mut Findings) {
    let mut expected: BTreeMap<[u8; 16], &NamedAlias> = BTreeMap::new();
    for named in client.named.iter().filter(|named| client.filed.contains(&named.place())) {
        expected.entry(named.alias).or_insert(named);
    }
    for row in client.rows {
        let (coordinates, named) = (row.coordinates(), expected.remove(&row.alias));
        let mut tell = |kind, detail: String| {
            let detail = proof.of_topic(coordinates.0, &detail);
            findings.push(About::Client, (row.partition.0, Some(row.offset.0)), kind, detail);
        };
        if proof.is_taken(coordinates) {
            // Named by a message that is not looked at; of one whose record is gone the row tells that it was there.
            let is_filed =
                || client.gone.binary_search_by_key(&coordinates, GoneMessage::coordinates).is_ok();
            if proof.scope == Scope::Full && !is_filed() {
                tell("alias_unexpected", "no message names it".to_owned());
            }
            continue;
        }
        let Some(named) = named else {
            tell("alias_unexpected", "no message names it, or an earlier one does".to_owned());
            continue;
        };
        let differences = failed([
            ("partition", row.partition == named.partition),
            ("record_offset", row.offset == named.offset),
            ("topic_ref", row.topic_ref == proof.topic.topic_ref.0),
            ("named_at", row.named_at == named.appended_at.as_micros()),
        ]);
        if !differences.is_empty() {
            tell("alias_differs", differences.join(", "));
        }
    }
    for named in expected.values() {
        let place = (named.partition.0, Some(named.offset.0));
        findings.push(About::Client, place, "alias_missing", "the record names it, its row is not there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_way_to_disk_and_back() {
        let client = ClientId::from_uuid(Uuid::from_u128(1));
        let (partition, offset, alias) = (Partition(3), Offset(4), [7; 16]);
        let appended_at = Timestamp::from_millis(5).unwrap();
        let named = NamedAlias { client, partition, offset, appended_at, alias };
        let row = AliasRow { client, partition, offset, topic_ref: -1, named_at: -2, alias };
        let mut bytes = Vec::new();
        named.write(&mut bytes);
        row.write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!((NamedAlias::read(&mut rest), AliasRow::read(&mut rest)), (named, row));
        assert!(rest.is_empty() && bytes.len() == NamedAlias::SIZE + AliasRow::SIZE);
    }
}
