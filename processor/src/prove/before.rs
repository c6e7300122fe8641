//! What a proof that does not look at all records takes from the tables: the state of the clients whose
//! records it meets, and the bodies of the messages that these repeat. The last proof has proved it, or the log
//! no longer holds the records and the rows are checked by structure. Rows of former topics come before all others.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt as _;
use schemas::{Body, BodyHash, ClientId, ExternalClientId, Partition, Timestamp};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Proof,
    entries::{ClientRecord, ClientRow, Coordinates, DialogRow, Keys, NULL, Said},
    model::{self, Dialog, IDLE_GAP},
    structure,
};
use crate::domain::position::{Offset, TopicRef};

/// Clients looked up at a time.
const CLIENTS_MAX: usize = 1_000;

/// A message that is in the table.
#[derive(Debug)]
pub struct Stored {
    pub coordinates: Coordinates,
    /// Tells a duplicate from a reused id.
    pub body: Body,
}

/// The messages that are stored under some keys, by the places of the keys. Index: `messages_pkey`.
pub async fn messages(
    connection: &mut PgConnection,
    keys: &[(Uuid, &str)],
) -> anyhow::Result<HashMap<usize, Stored>> {
    let (clients, ids): (Vec<Uuid>, Vec<&str>) = keys.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select wanted.position as "position!", messages.client_id, messages.external_message_id, messages.body_hash,
                  messages.topic_ref, messages.partition, messages.record_offset, messages.sent_at, messages.text
           from unnest($1::uuid[], $2::text[]) with ordinality as wanted (client_id, external_message_id, position)
           join messages on messages.client_id = wanted.client_id
                        and messages.external_message_id = wanted.external_message_id"#,
        &clients,
        &ids as &[&str],
    );
    let rows = rows.fetch_all(connection).await?;
    let stored = rows.into_iter().filter_map(|row| {
        let sent_at = row.sent_at.and_then(|at| Timestamp::from_micros(at.timestamp_micros()));
        let own = own_hash(row.client_id, &row.external_message_id, &row.text, sent_at);
        let hash = BodyHash(row.body_hash.try_into().ok()?);
        let stored = Stored {
            coordinates: (TopicRef(row.topic_ref), Partition(row.partition), Offset(row.record_offset)),
            body: Body { hash, own },
        };
        Some((usize::try_from(row.position - 1).ok()?, stored))
    });
    Ok(stored.collect())
}

/// What the contract says that version 2 hashes, of a row's columns: written a second time.
fn own_hash(client_id: Uuid, id: &str, text: &str, sent_at: Option<Timestamp>) -> BodyHash {
    let sent_at = sent_at.map(|at| at.to_string()).unwrap_or_default();
    let said =
        ["telex.message.received.v2", &client_id.hyphenated().to_string(), id, text, &sent_at].join("\0");
    let mut hash = [0; 16];
    for (byte, of_digest) in hash.iter_mut().zip(Sha256::digest(said)) {
        *byte = of_digest;
    }
    BodyHash(hash)
}

/// Some clients and their dialogs. Index: `clients_pkey`, `dialogs_pkey`.
pub async fn clients(
    connection: &mut PgConnection,
    keys: &Keys,
    clients: &[Uuid],
) -> anyhow::Result<(Vec<ClientRow>, Vec<DialogRow>)> {
    let (mut client_rows, mut dialog_rows) = (Vec::new(), Vec::new());
    for some in clients.chunks(CLIENTS_MAX) {
        let rows = sqlx::query!(
            "select id, external_client_id, client_phone, created_at from clients where id = any($1)",
            some,
        );
        let rows = rows.fetch_all(&mut *connection).await?;
        client_rows.extend(rows.into_iter().map(|row| ClientRow {
            id: ClientId::from_uuid(row.id),
            external_client_id: keys.digest(row.external_client_id.as_bytes()),
            address: keys.digest(row.client_phone.as_bytes()),
            of_pair: structure::of_pair(&row.external_client_id, &row.client_phone),
            created_at: row.created_at.timestamp_micros(),
        }));
        let rows = sqlx::query!(
            "select client_id, id, opened_at, closed_at, close_reason, last_message_at, topic_ref, partition,
                    opened_offset
             from dialogs where client_id = any($1)",
            some,
        );
        let rows = rows.fetch_all(&mut *connection).await?;
        dialog_rows.extend(rows.into_iter().map(|row| DialogRow {
            client_id: ClientId::from_uuid(row.client_id),
            id: row.id,
            opened_at: row.opened_at.timestamp_micros(),
            closed_at: row.closed_at.map_or(NULL, |at| at.timestamp_micros()),
            close_reason: row.close_reason.map_or(0, |reason| keys.digest(reason.as_bytes())),
            last_message_at: row.last_message_at.map_or(NULL, |at| at.timestamp_micros()),
            topic_ref: row.topic_ref,
            partition: row.partition,
            opened_offset: row.opened_offset,
        }));
    }
    Ok((client_rows, dialog_rows))
}

/// The dialog that was active when the last proof ended, given a client's dialogs that were opened `earlier`
/// and `later`, and the records since. It is the last of the earlier ones, if it is open, or if what closed
/// it is among the records: the message that found it idle, which would have opened an earlier one
/// otherwise; or a command, of which the row has the time. Of two commands at one time the first has
/// closed it, unless another dialog was opened between them.
pub fn active(
    proof: &Proof<'_>,
    records: &[ClientRecord],
    earlier: &[DialogRow],
    later: &[DialogRow],
    latest: &HashMap<Uuid, Option<Timestamp>>,
) -> Option<Dialog> {
    let row = earlier.last()?;
    let opened = later.first().map(DialogRow::coordinates);
    let is_before = |record: &ClientRecord| {
        let (partition, offset) = record.place();
        opened.is_none_or(|at| (proof.topic.topic_ref, partition, offset) < at)
    };
    let was_closed_since = || {
        let mut records = records.iter().take_while(|record| is_before(record));
        records.any(|record| record.said == Said::Close && record.appended_at.as_micros() == row.closed_at)
    };
    let is_idle = row.close_reason == proof.keys.digest(IDLE_GAP.as_bytes());
    (row.closed_at == NULL || is_idle || was_closed_since()).then(|| Dialog {
        id: row.id,
        partition: Partition(row.partition),
        opened_offset: Offset(row.opened_offset),
        opened_at: time(row.opened_at).unwrap_or(Timestamp::EPOCH),
        closed: None,
        last_message_at: latest.get(&row.id).copied().unwrap_or_else(|| time(row.last_message_at)),
    })
}

/// When the latest message of each client's last dialog before the records was appended, if an idle gap
/// applies or did: the row may have moved on since. Index: `messages_pkey`.
pub async fn latest(
    connection: &mut PgConnection,
    proof: &Proof<'_>,
    records: &[ClientRecord],
    dialogs: &[DialogRow],
) -> anyhow::Result<HashMap<Uuid, Option<Timestamp>>> {
    let has_gap = |record: &ClientRecord| matches!(record.said, Said::Message { idle_gap: 1.., .. });
    let under_gap: HashSet<ClientId> =
        records.iter().filter(|record| has_gap(record)).map(|record| record.client).collect();
    let earlier = |group: &[DialogRow]| group.iter().rfind(|row| proof.is_taken(row.coordinates())).copied();
    let (clients, ids): (Vec<Uuid>, Vec<Uuid>) = dialogs
        .chunk_by(|a, b| a.client_id == b.client_id)
        .filter_map(earlier)
        .filter(|row| row.last_message_at != NULL || under_gap.contains(&row.client_id))
        .map(|row| (row.client_id.as_uuid(), row.id))
        .unzip();
    let mut latest: HashMap<Uuid, Option<Timestamp>> = HashMap::new();
    for (clients, ids) in clients.chunks(CLIENTS_MAX).zip(ids.chunks(CLIENTS_MAX)) {
        let mut messages = sqlx::query!(
            "select dialog_id, topic_ref, partition, record_offset, appended_at, external_client_id
             from messages join clients on clients.id = client_id
             where client_id = any($1) and dialog_id = any($2)
             order by topic_ref, partition, record_offset",
            clients,
            ids,
        )
        .fetch(&mut *connection);
        while let Some(row) = messages.try_next().await? {
            let (topic_ref, partition) = (TopicRef(row.topic_ref), Partition(row.partition));
            let offset = Offset(row.record_offset);
            let span = proof.spans.of(topic_ref, partition).filter(|(_, span)| span.is_taken(offset));
            let Some((_, span)) = span else { continue };
            let source = ExternalClientId::parse(row.external_client_id).ok();
            let gap = source.and_then(|source| span.applied.rules.idle_gap_at(offset, &source));
            let last = latest.entry(row.dialog_id).or_default();
            *last = time(row.appended_at.timestamp_micros())
                .and_then(|appended_at| model::latest(*last, appended_at, gap.is_some()));
        }
    }
    Ok(latest)
}

fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_micros(micros).filter(|_| micros != NULL)
}
