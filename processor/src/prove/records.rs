//! The records, each compared with what stands at its place. What only the history of its client can
//! decide (is it a duplicate, which is its dialog) goes into that client's bucket.

use std::collections::{BTreeMap, HashMap};

use schemas::{ClientId, Envelope, Event, Message, Partition};
use sqlx::PgConnection;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{
    Proof, Worker,
    aliases::{self, NamedAlias},
    before,
    columns::{self, Recorded, unexpected},
    copy::Expected,
    entries::{ClientRecord, Found, Kind, Place, PlacedRow, Said},
    log::LogRecord,
    model::is_same,
    report::{About, Findings},
    scope::{Span, Stretch},
    spill::Spill,
    structure::{self, Standing},
    tables::{REJECTED, TableRows},
};
use crate::{
    domain::{
        dead_letter::DeadLetterReason,
        position::{Offset, RecordDigest},
        rules::IdleGap,
    },
    kafka::topic,
    store::statements::headers_as_json,
};

/// Why a row should, or should not, be there.
pub const MISSING: &str = "the record is applied, its row is not there";
pub const UNWANTED: &str = "the record says nothing that makes such a row";

/// Rows of which the differing columns are looked up; beyond it, rows are only told to differ.
const NAMED_MAX: usize = 1_000;
/// Messages looked up at a time.
const LOOKUPS_MAX: usize = 500;

/// A row that a record may stand for.
pub type RowOf = (Place, Kind);

/// What one worker has found out.
pub struct Records {
    /// What the clients' histories have to decide.
    pub clients: Spill<ClientRecord>,
    /// What the records name, by client.
    pub aliases: Spill<NamedAlias>,
    /// The columns in which a row differs from its record, should it turn out that the record wants it.
    pub differing: HashMap<RowOf, Vec<&'static str>>,
    /// By reason.
    pub dead_letters: BTreeMap<&'static str, i64>,
    /// By span.
    pub dead_letters_of: Vec<i64>,
    /// Offsets that no record has, by span.
    pub control_of: Vec<i64>,
    /// Rows whose records are gone, by span.
    pub standing_of: Vec<Standing>,
    /// The digest of the record that each partition's row names as its last, if it is among those that were read.
    pub last_digests: HashMap<Partition, RecordDigest>,
    /// The last record of each partition that was read.
    pub last_offsets: HashMap<Partition, Offset>,
    pub records: i64,
    pub findings: Findings,
    expected: Expected,
    /// Messages without a row, whose ids may have come before the records that are looked at.
    lookups: Vec<(Uuid, String, ClientRecord)>,
}

impl Records {
    pub fn new(proof: &Proof<'_>) -> Self {
        Self {
            clients: Spill::new(proof.buckets, proof.memory.records),
            aliases: Spill::new(proof.buckets, proof.memory.aliases),
            differing: HashMap::new(),
            dead_letters: BTreeMap::new(),
            dead_letters_of: vec![0; proof.spans.spans.len()],
            control_of: vec![0; proof.spans.spans.len()],
            standing_of: vec![Standing::default(); proof.spans.spans.len()],
            last_digests: HashMap::new(),
            last_offsets: HashMap::new(),
            records: 0,
            findings: Findings::default(),
            expected: Expected::default(),
            lookups: Vec::new(),
        }
    }

    /// Compares the records of a slice with the rows at their places.
    pub fn compare(
        &mut self,
        proof: &Proof<'_>,
        worker: &mut Worker,
        tables: &[TableRows],
        slice: usize,
        stretch: Stretch,
    ) -> anyhow::Result<()> {
        let Some((at, span)) = proof.spans.of_slice(slice) else {
            return Ok(());
        };
        let mut rows = Vec::new();
        tables.iter().try_for_each(|table| table.placed.read(slice, &mut rows))?;
        rows.sort_unstable_by_key(|row| (row.offset, row.kind));
        let mut rows = rows.as_slice();
        if stretch.to <= span.gone.to {
            let standing = structure::count(proof, span, stretch, rows, &mut self.findings);
            if let Some(sum) = self.standing_of.get_mut(at) {
                *sum += standing;
            }
            return Ok(());
        }
        let mut next = span.applied.skipped.next(stretch.from.0);
        let Worker { runtime, connection, log } = worker;
        log.read(stretch, |record| {
            if span.is_skipped(record.offset) {
                return Ok(());
            }
            self.without_record(proof, at, span, next, record.offset.0);
            next = span.applied.skipped.next(record.offset.next().0);
            let last = self.last_offsets.entry(stretch.partition).or_insert(record.offset);
            *last = record.offset.max(*last);
            if span.progress().last_digest.is_some_and(|last| last.offset == record.offset) {
                self.last_digests.insert(stretch.partition, record.digest());
            }
            self.pass(take_before(&mut rows, record.offset), stretch);
            let here = take_before(&mut rows, record.offset.next().offset());
            let mut at = At { proof, span: (at, span), record, runtime, connection: &mut *connection };
            self.record(&mut at, here)?;
            proof.advance(1);
            Ok(())
        })?;
        self.without_record(proof, at, span, next, stretch.to.0);
        self.pass(rows, stretch);
        self.look_up(proof, runtime, connection)
    }

    /// Offsets before `offset`, from `expected` on, that no record of the log has. Kafka's own transactions explain
    /// them, unless the topic is compacted.
    fn without_record(&mut self, proof: &Proof<'_>, at: usize, span: &Span, expected: i64, offset: i64) {
        if expected >= offset {
            return;
        }
        if proof.is_compacted {
            let place = (span.partition().0, Some(expected));
            self.findings.push(About::Record, place, "record_missing", "the log has a gap");
        } else if let Some(control) = self.control_of.get_mut(at) {
            *control += span.applied.skipped.kept_between(expected, offset);
        }
    }

    /// Rows that no record stands for.
    fn pass(&mut self, rows: &[PlacedRow], stretch: Stretch) {
        for row in rows {
            let why = "no record stands for it";
            unexpected(&mut self.findings, row.kind, stretch.partition, row.offset, why);
        }
    }

    fn record(&mut self, at: &mut At<'_>, here: &[PlacedRow]) -> anyhow::Result<()> {
        self.records += 1;
        let (messages, letters) = here.split_at(here.partition_point(|row| row.kind == Kind::Message));
        let rejected = letters.iter().any(|row| row.kind == Kind::Rejected);
        match at.record.decode(at.span.1.applied.rules.count_at(at.record.offset)) {
            Ok((Event::MessageReceived(message), envelope)) if !rejected => {
                self.message(at, &message, &envelope, messages, letters)
            }
            Ok((Event::DialogClose(close), _)) if !rejected => {
                self.unwanted(at, here);
                self.keep(at.proof, &at.of_client(close.client_id, Said::Close))
            }
            // The database refused the data, which no record foresees.
            Ok((Event::MessageReceived(_) | Event::DialogClose(_), _)) => {
                self.unwanted(at, messages);
                self.dead_letter(at, REJECTED, letters)
            }
            Err(fault) => {
                self.unwanted(at, messages);
                self.dead_letter(at, fault.as_str(), letters)
            }
        }
    }

    fn message(
        &mut self,
        at: &mut At<'_>,
        message: &Message,
        envelope: &Envelope,
        messages: &[PlacedRow],
        letters: &[PlacedRow],
    ) -> anyhow::Result<()> {
        let (proof, place, body) = (at.proof, at.place(), message.body());
        aliases::keep(&mut self.aliases, proof, at.record, message)?;
        let digest = self.message_digest(at, message, envelope);
        let row = self.chosen(at, messages, digest);
        if let Some(row) = row.filter(|row| row.digest != digest && self.differing.len() < NAMED_MAX) {
            let (topic_ref, appended_at) = (proof.topic.topic_ref.0, at.record.appended_at());
            let recorded = Recorded { topic_ref, appended_at, message, envelope };
            let columns = columns::of_message(at.connection, place, row, recorded);
            self.differing.insert((place, Kind::Message), at.runtime.block_on(columns)?);
        }
        let letter_digest = self.letter_digest(at, DeadLetterReason::ConflictingDuplicate.as_str(), letters);
        let letter = self.chosen(at, letters, letter_digest);
        if let Some(letter) = letter.filter(|letter| letter.digest != letter_digest) {
            self.name_columns(at, DeadLetterReason::ConflictingDuplicate.as_str(), letter)?;
        }
        let (id, source) = (message.external_message_id().as_str(), message.external_client_id());
        let idle_gap = at.span.1.applied.rules.idle_gap_at(place.1, source).map_or(0, IdleGap::as_seconds);
        let said = Said::Message { id: proof.keys.wide_digest(id.as_bytes()), body, idle_gap };
        let record = ClientRecord {
            external_client_id: proof.keys.digest(source.as_str().as_bytes()),
            address: proof.keys.digest(message.address().as_str().as_bytes()),
            message: found(row, digest),
            dialog: row.map(|row| row.dialog).unwrap_or_default(),
            dead_letter: found(letter, letter_digest),
            ..at.of_client(message.client_id(), said)
        };
        if row.is_some() || !proof.takes_anything() {
            return self.keep(proof, &record);
        }
        self.lookups.push((message.client_id().as_uuid(), id.to_owned(), record));
        if self.lookups.len() < LOOKUPS_MAX { Ok(()) } else { self.look_up(proof, at.runtime, at.connection) }
    }

    /// Compares a record that is a dead letter for certain.
    fn dead_letter(
        &mut self,
        at: &mut At<'_>,
        reason: &'static str,
        letters: &[PlacedRow],
    ) -> anyhow::Result<()> {
        *self.dead_letters.entry(reason).or_default() += 1;
        if let Some(count) = self.dead_letters_of.get_mut(at.span.0) {
            *count += 1;
        }
        let digest = self.letter_digest(at, reason, letters);
        let row = self.chosen(at, letters, digest);
        let (partition, offset) = at.place();
        let place = (partition.0, Some(offset.0));
        match row {
            None => self.findings.push(About::Record, place, "dead_letter_missing", MISSING),
            Some(row) if row.digest != digest => {
                self.name_columns(at, reason, row)?;
                let columns = self.columns((at.place(), Kind::DeadLetter), None);
                self.findings.push(About::Record, place, "dead_letter_differs", columns);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The row that a record would have: of several at its place the one that is right, if one is. The
    /// others should not be.
    fn chosen<'r>(&mut self, at: &At<'_>, rows: &'r [PlacedRow], digest: u64) -> Option<&'r PlacedRow> {
        let chosen = rows.iter().position(|row| row.digest == digest).unwrap_or_default();
        for (_, row) in rows.iter().enumerate().filter(|(other, _)| *other != chosen) {
            self.unwanted(at, std::slice::from_ref(row));
        }
        rows.get(chosen)
    }

    fn unwanted(&mut self, at: &At<'_>, rows: &[PlacedRow]) {
        for row in rows {
            unexpected(&mut self.findings, row.kind, at.record.partition, row.offset, UNWANTED);
        }
    }

    /// The columns in which a row differs, as far as they were looked up.
    fn columns(&self, row: RowOf, more: Option<&'static str>) -> String {
        columns::named(self.differing.get(&row), more)
    }

    fn name_columns(&mut self, at: &mut At<'_>, reason: &str, row: &PlacedRow) -> anyhow::Result<()> {
        if self.differing.len() < NAMED_MAX {
            let (place, raw) = (at.place(), topic::copy(at.record.message));
            let topic_ref = at.proof.topic.topic_ref.0;
            let columns = columns::of_dead_letter(at.connection, row, topic_ref, &raw, reason);
            self.differing.insert((place, Kind::DeadLetter), at.runtime.block_on(columns)?);
        }
        Ok(())
    }

    /// The digest that the message's row has to have.
    fn message_digest(&mut self, at: &At<'_>, message: &Message, envelope: &Envelope) -> u64 {
        let row = &mut self.expected;
        row.clear();
        row.field(Some(&at.proof.topic.topic_ref.0.to_be_bytes()));
        row.field(Some(message.client_id().as_uuid().as_bytes()));
        row.time(Some(at.record.appended_at()));
        row.time(Some(envelope.received_at));
        row.time(message.sent_at());
        row.field(Some(&message.body().hash.0));
        row.text(Some(message.external_message_id().as_str()));
        row.text(envelope.request_id.as_ref().map(schemas::RequestId::as_str));
        row.text(Some(message.text().as_str()));
        at.proof.keys.digest(row.bytes())
    }

    /// The digest that the record's dead letter has to have; of no use, and not computed, if there is none.
    fn letter_digest(&mut self, at: &At<'_>, reason: &str, letters: &[PlacedRow]) -> u64 {
        if letters.is_empty() {
            return 0;
        }
        let raw = topic::copy(at.record.message);
        // As in `tables`: the server's spelling of jsonb is not ours.
        let headers: serde_json::Value = serde_json::from_str(&headers_as_json(&raw)).unwrap_or_default();
        let row = &mut self.expected;
        row.clear();
        row.text(Some(reason));
        row.field(Some(&at.proof.topic.topic_ref.0.to_be_bytes()));
        row.time(Some(raw.appended_at));
        row.field(raw.key());
        row.field(raw.value());
        row.text(Some(&headers.to_string()));
        at.proof.keys.digest(row.bytes())
    }

    /// Leaves a record to the history of its client.
    fn keep(&mut self, proof: &Proof<'_>, record: &ClientRecord) -> anyhow::Result<()> {
        Ok(self.clients.push(proof.bucket(record.client), record, proof.directory)?)
    }

    /// Finds out which of the messages without a row repeat one whose record is not looked at.
    fn look_up(
        &mut self,
        proof: &Proof<'_>,
        runtime: &Runtime,
        connection: &mut PgConnection,
    ) -> anyhow::Result<()> {
        let lookups = std::mem::take(&mut self.lookups);
        if lookups.is_empty() {
            return Ok(());
        }
        let keys: Vec<(Uuid, &str)> = lookups.iter().map(|(client, id, _)| (*client, id.as_str())).collect();
        let stored = runtime.block_on(before::messages(connection, &keys))?;
        for (at, (_, _, mut record)) in lookups.into_iter().enumerate() {
            let earlier = stored.get(&at).filter(|message| proof.is_taken(message.coordinates));
            if let (Some(earlier), Said::Message { body, .. }) = (earlier, record.said) {
                record.said = Said::Repeat { same_body: is_same(&earlier.body, &body) };
            }
            self.keep(proof, &record)?;
        }
        Ok(())
    }
}

/// A record that is being compared.
struct At<'a> {
    proof: &'a Proof<'a>,
    /// Its partition's span, and the number of that.
    span: (usize, &'a Span),
    record: &'a LogRecord<'a>,
    runtime: &'a Runtime,
    connection: &'a mut PgConnection,
}

impl At<'_> {
    fn place(&self) -> Place {
        (self.record.partition, self.record.offset)
    }

    fn of_client(&self, client: ClientId, said: Said) -> ClientRecord {
        ClientRecord::of(client, self.place(), self.record.appended_at(), said)
    }
}

fn found(row: Option<&PlacedRow>, digest: u64) -> Found {
    match row {
        None => Found::Nothing,
        Some(row) if row.digest == digest => Found::Same,
        Some(_) => Found::Different,
    }
}

/// Takes the rows that stand before `offset` off the front.
fn take_before<'r>(rows: &mut &'r [PlacedRow], offset: Offset) -> &'r [PlacedRow] {
    let (taken, left) = rows.split_at(rows.partition_point(|row| row.offset < offset));
    *rows = left;
    taken
}
