//! The rows, read once from each table in the order in which they lie there and put into buckets: those
//! that stand for a record by its slice, clients and their dialogs by client.

use anyhow::Context as _;
use schemas::{ClientId, Partition};
use uuid::Uuid;

use super::{
    Proof, Worker,
    aliases::AliasRow,
    columns::unexpected,
    copy::{self, Expected, Fields},
    entries::{ClientRow, Coordinates, DialogRow, GoneMessage, Kind, NULL, PlacedRow},
    report::{Findings, FormerRows, Rows, Scope},
    scope::{Location, Span},
    spill::Spill,
    structure,
};
use crate::domain::position::{Offset, TopicRef};

/// The reason that no record tells: the database gave it.
pub const REJECTED: &str = "rejected_by_database";
/// Pages of a table that one worker reads at a time: 32 MiB.
const PIECE_PAGES: i64 = 4_096;

/// The tables in the order in which they are read.
pub const TABLES: [Table; 5] =
    [Table::Messages, Table::Dialogs, Table::Clients, Table::Aliases, Table::DeadLetters];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Messages,
    DeadLetters,
    Dialogs,
    Clients,
    Aliases,
}

impl Table {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::DeadLetters => "dead_letters",
            Self::Dialogs => "dialogs",
            Self::Clients => "clients",
            Self::Aliases => "client_aliases",
        }
    }

    /// Where the row's record is and where the row lies, then the columns that the record tells.
    const fn columns(self) -> &'static str {
        match self {
            Self::Messages => {
                "record_offset, partition, messages.ctid, dialog_id, topic_ref, client_id, appended_at, received_at,
                 sent_at, body_hash, external_message_id, request_id, text"
            }
            Self::DeadLetters => {
                "record_offset, partition, dead_letters.ctid, reason, topic_ref, appended_at, key, value, headers"
            }
            Self::Dialogs => {
                "client_id, id, opened_at, closed_at, close_reason, last_message_at, topic_ref, partition, opened_offset"
            }
            Self::Clients => "id, created_at, external_client_id, client_phone",
            Self::Aliases => AliasRow::COLUMNS,
        }
    }
}

/// Pages of a table. The last piece has no end: the table may be longer than it was when it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    table: Table,
    first_page: i64,
    end_page: Option<i64>,
}

/// A table of so many pages in pieces.
pub fn pieces(table: Table, pages: i64) -> impl Iterator<Item = Piece> {
    let count = (pages / PIECE_PAGES).max(1);
    (0..count).map(move |at| Piece {
        table,
        first_page: at * PIECE_PAGES,
        end_page: (at + 1 < count).then_some((at + 1) * PIECE_PAGES),
    })
}

/// What one worker has read.
pub struct TableRows {
    /// Messages and dead letters, by slice.
    pub placed: Spill<PlacedRow>,
    /// Dialogs, by client.
    pub dialogs: Spill<DialogRow>,
    pub clients: Spill<ClientRow>,
    /// By client.
    pub aliases: Spill<AliasRow>,
    /// Messages whose records are gone, by client.
    pub gone: Spill<GoneMessage>,
    pub rows: Rows,
    /// Those of them that are of former topics.
    pub former: FormerRows,
    /// Rows that no record stands for.
    pub findings: Findings,
    buffer: Expected,
}

impl TableRows {
    pub fn new(proof: &Proof<'_>) -> Self {
        Self {
            placed: Spill::new(proof.spans.slices, proof.memory.placed),
            dialogs: Spill::new(proof.buckets, proof.memory.dialogs),
            clients: Spill::new(proof.buckets, proof.memory.clients),
            aliases: Spill::new(proof.buckets, proof.memory.aliases),
            gone: Spill::new(proof.buckets, proof.memory.gone),
            rows: Rows::default(),
            former: FormerRows::default(),
            findings: Findings::default(),
            buffer: Expected::default(),
        }
    }

    /// Reads a piece of a table.
    pub fn read(&mut self, proof: &Proof<'_>, worker: &mut Worker, piece: Piece) -> anyhow::Result<()> {
        let Piece { table, first_page, end_page } = piece;
        let name = table.as_str();
        let mut select = format!("select {} from {name}", table.columns());
        if proof.scope == Scope::SinceLast {
            let (former, spans): (Vec<&Span>, Vec<&Span>) =
                proof.spans.spans.iter().partition(|span| span.applied.is_former);
            let (partitions, offsets): (Vec<String>, Vec<String>) = spans
                .iter()
                .map(|span| (span.partition().to_string(), span.proved.proved_to.to_string()))
                .unzip();
            let mut former: Vec<String> = former.iter().map(|span| span.topic_ref().to_string()).collect();
            former.dedup();
            select.push_str(&format!(
                " join unnest('{{{}}}'::integer[], '{{{}}}'::bigint[]) as proved (of_partition, proved_to)
                  on partition = of_partition and record_offset >= proved_to
                     and topic_ref <> all ('{{{}}}'::smallint[])",
                partitions.join(","),
                offsets.join(","),
                former.join(",")
            ));
        }
        select.push_str(&format!(" where {name}.ctid >= '({first_page},0)'"));
        if let Some(end) = end_page {
            select.push_str(&format!(" and {name}.ctid < '({end},0)'"));
        }
        let Worker { runtime, connection, .. } = worker;
        let rows = copy::rows(connection, &select, |fields| {
            proof.advance(1);
            self.row(proof, table, fields)
        });
        runtime.block_on(rows).context(name)
    }

    fn row(&mut self, proof: &Proof<'_>, table: Table, mut row: Fields<'_>) -> anyhow::Result<()> {
        match table {
            Table::Messages => {
                self.rows.messages += 1;
                let (offset, partition) = (Offset(row.i64()?), Partition(row.i32()?));
                let (tid, dialog) = (row.tid()?, row.uuid()?);
                let digest = proof.keys.digest(row.rest());
                let (topic_ref, client) = (TopicRef(row.i16()?), ClientId::from_uuid(row.uuid()?));
                let place = (topic_ref, partition, offset);
                self.former.messages += i64::from(proof.is_former(topic_ref));
                self.gone(proof, place, client, dialog)?;
                self.placed(proof, place, (Kind::Message, tid, dialog, digest))
            }
            Table::DeadLetters => {
                self.rows.dead_letters += 1;
                let (offset, partition) = (Offset(row.i64()?), Partition(row.i32()?));
                let tid = row.tid()?;
                let (kind, digest) = self.dead_letter(proof, row)?;
                let _reason = row.take()?;
                let topic_ref = TopicRef(row.i16()?);
                let place = (topic_ref, partition, offset);
                self.former.dead_letters += i64::from(proof.is_former(topic_ref));
                self.placed(proof, place, (kind, tid, Uuid::nil(), digest))
            }
            Table::Dialogs => {
                let dialog = dialog(proof, row)?;
                self.rows.dialogs += 1;
                self.rows.active_dialogs += i64::from(dialog.closed_at == NULL);
                self.former.dialogs += i64::from(proof.is_former(TopicRef(dialog.topic_ref)));
                Ok(self.dialogs.push(proof.bucket(dialog.client_id), &dialog, proof.directory)?)
            }
            Table::Clients => {
                self.rows.clients += 1;
                let client = client(proof, row)?;
                Ok(self.clients.push(proof.bucket(client.id), &client, proof.directory)?)
            }
            Table::Aliases => {
                self.rows.client_aliases += 1;
                let alias = AliasRow::of(&proof.keys, row)?;
                self.former.client_aliases += i64::from(proof.is_former(TopicRef(alias.topic_ref)));
                Ok(self.aliases.push(proof.bucket(alias.client), &alias, proof.directory)?)
            }
        }
    }

    /// Keeps a message whose record is gone for the comparison with the other rows of its client.
    fn gone(
        &mut self,
        proof: &Proof<'_>,
        place: Coordinates,
        client: ClientId,
        dialog: Uuid,
    ) -> anyhow::Result<()> {
        if !matches!(proof.spans.locate(place), Location::Gone(_)) {
            return Ok(());
        }
        let (topic_ref, partition, offset) = place;
        let message = GoneMessage { client, topic_ref, partition, offset, dialog };
        Ok(self.gone.push(proof.bucket(client), &message, proof.directory)?)
    }

    fn placed(
        &mut self,
        proof: &Proof<'_>,
        place: Coordinates,
        (kind, tid, dialog, digest): (Kind, [u8; 6], Uuid, u64),
    ) -> anyhow::Result<()> {
        let (topic_ref, partition, offset) = place;
        match proof.spans.locate(place) {
            Location::Slice(slice) | Location::Gone(slice) => {
                let row = PlacedRow { offset, kind, tid, dialog, digest };
                self.placed.push(slice, &row, proof.directory)?;
            }
            Location::Outside => {}
            Location::Nowhere => {
                let why = proof.of_topic(topic_ref, "no record stands for it");
                unexpected(&mut self.findings, kind, partition, offset, &why);
            }
        }
        Ok(())
    }

    /// What kind of dead letter it is, and its digest. The server spells jsonb in its own way: the headers
    /// are spelt again in ours.
    fn dead_letter(&mut self, proof: &Proof<'_>, mut row: Fields<'_>) -> anyhow::Result<(Kind, u64)> {
        let reason = row.take()?;
        let kind = if reason == Some(REJECTED.as_bytes()) { Kind::Rejected } else { Kind::DeadLetter };
        self.buffer.clear();
        self.buffer.field(reason);
        // topic_ref, appended_at, key, value
        for _ in 0..4 {
            self.buffer.field(row.take()?);
        }
        // The binary format of jsonb is its text after a version, 1.
        let text = row.take()?.and_then(|headers| headers.strip_prefix(b"\x01")).unwrap_or_default();
        let headers: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
        self.buffer.text(Some(&headers.to_string()));
        Ok((kind, proof.keys.digest(self.buffer.bytes())))
    }
}

fn dialog(proof: &Proof<'_>, mut row: Fields<'_>) -> anyhow::Result<DialogRow> {
    Ok(DialogRow {
        client_id: ClientId::from_uuid(row.uuid()?),
        id: row.uuid()?,
        opened_at: row.micros()?.unwrap_or_default(),
        closed_at: row.micros()?.unwrap_or(NULL),
        close_reason: row.take()?.map_or(0, |reason| proof.keys.digest(reason)),
        last_message_at: row.micros()?.unwrap_or(NULL),
        topic_ref: row.i16()?,
        partition: row.i32()?,
        opened_offset: row.i64()?,
    })
}

fn client(proof: &Proof<'_>, mut row: Fields<'_>) -> anyhow::Result<ClientRow> {
    let (id, created_at) = (ClientId::from_uuid(row.uuid()?), row.micros()?.unwrap_or_default());
    let (source, phone) = (row.take()?.unwrap_or_default(), row.take()?.unwrap_or_default());
    Ok(ClientRow {
        id,
        created_at,
        external_client_id: proof.keys.digest(source),
        address: proof.keys.digest(phone),
        // Computed only where no record tells.
        of_pair: if proof.takes_anything() {
            structure::of_pair(&String::from_utf8_lossy(source), &String::from_utf8_lossy(phone))
        } else {
            id
        },
    })
}
