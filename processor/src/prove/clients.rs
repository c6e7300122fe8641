//! The history of each client, one client after the other: its records in their order through the
//! [`Model`], and what comes out compared with the rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemas::{ClientId, Partition, PartitionCount, Timestamp};
use uuid::Uuid;

use super::{
    Proof, Worker,
    aliases::{self, AliasRow, Aliases, NamedAlias},
    before,
    columns::{self, failed},
    entries::{ClientRecord, ClientRow, DialogRow, Found, GoneMessage, Kind, NULL},
    model::{Dialog, Model, Outcome},
    records::{MISSING, Records, UNWANTED},
    report::{About, Findings, Scope},
    structure::{self, Rows},
    tables::TableRows,
};
use crate::domain::counters::Counters;

/// What one worker has found out.
pub struct Clients {
    /// What became of the records of each span, but for dead letters that say nothing.
    pub counters: Vec<Counters>,
    pub findings: Findings,
    model: Model,
    /// Over how many partitions the keys were ever spread: a client's records are in its partitions by these.
    counts: Vec<PartitionCount>,
}

/// What there is of a client.
struct Client<'a> {
    id: ClientId,
    records: &'a [ClientRecord],
    dialogs: &'a [DialogRow],
    row: Option<&'a ClientRow>,
    /// Its messages whose records are gone.
    gone: &'a [GoneMessage],
    /// What its records name, in their order, and the rows of that.
    named: &'a [NamedAlias],
    aliases: &'a [AliasRow],
    /// The latest messages of dialogs that were opened before the records, as far as they were looked up.
    latest: &'a HashMap<Uuid, Option<Timestamp>>,
}

impl Clients {
    pub fn new(proof: &Proof<'_>) -> Self {
        Self {
            counters: vec![Counters::default(); proof.spans.spans.len()],
            findings: Findings::default(),
            model: Model::new(proof.topic.topic_id),
            counts: proof.spans.counts(proof.topic.partition_count),
        }
    }

    /// Compares the clients of a bucket.
    pub fn compare(
        &mut self,
        proof: &Proof<'_>,
        worker: &mut Worker,
        tables: &[TableRows],
        read: &[Records],
        bucket: usize,
    ) -> anyhow::Result<()> {
        let mut records = Vec::new();
        read.iter().try_for_each(|read| read.clients.read(bucket, &mut records))?;
        records.sort_unstable_by_key(ClientRecord::order);
        let (mut rows, mut dialogs, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        tables.iter().try_for_each(|table| table.gone.read(bucket, &mut gone))?;
        gone.sort_unstable_by_key(GoneMessage::order);
        let (mut named, mut aliases) = (Vec::new(), Vec::new());
        read.iter().try_for_each(|read| read.aliases.read(bucket, &mut named))?;
        named.sort_unstable_by_key(NamedAlias::order);
        match proof.scope {
            Scope::Full => {
                tables.iter().try_for_each(|table| table.clients.read(bucket, &mut rows))?;
                tables.iter().try_for_each(|table| table.dialogs.read(bucket, &mut dialogs))?;
                tables.iter().try_for_each(|table| table.aliases.read(bucket, &mut aliases))?;
            }
            Scope::SinceLast => {
                let mut touched: Vec<_> = records.iter().map(|record| record.client.as_uuid()).collect();
                touched.dedup();
                let before = before::clients(&mut worker.connection, &proof.keys, &touched);
                (rows, dialogs) = worker.runtime.block_on(before)?;
                let before = aliases::of_clients(&mut worker.connection, &proof.keys, &touched);
                aliases = worker.runtime.block_on(before)?;
            }
        }
        rows.sort_unstable_by_key(|row| row.id);
        dialogs.sort_unstable_by_key(DialogRow::order);
        aliases.sort_unstable_by_key(|row| row.client);
        let latest = if proof.takes_anything() {
            let latest = before::latest(&mut worker.connection, proof, &records, &dialogs);
            worker.runtime.block_on(latest)?
        } else {
            HashMap::new()
        };

        let (mut records, mut dialogs, mut gone) = (&records[..], &dialogs[..], &gone[..]);
        let (mut named, mut aliases) = (&named[..], &aliases[..]);
        let mut rows = rows.iter().peekable();
        loop {
            let first = [
                records.first().map(|record| record.client),
                dialogs.first().map(|dialog| dialog.client_id),
                rows.peek().map(|row| row.id),
                gone.first().map(|message| message.client),
                aliases.first().map(|row| row.client),
            ];
            let Some(id) = first.into_iter().flatten().min() else { return Ok(()) };
            let client = Client {
                id,
                records: take_of(&mut records, |record| record.client == id),
                dialogs: take_of(&mut dialogs, |dialog| dialog.client_id == id),
                row: rows.next_if(|row| row.id == id),
                gone: take_of(&mut gone, |message| message.client == id),
                named: take_of(&mut named, |named| named.client == id),
                aliases: take_of(&mut aliases, |row| row.client == id),
                latest: &latest,
            };
            self.client(proof, read, &client);
            proof.advance(client.records.len());
        }
    }

    fn client(&mut self, proof: &Proof<'_>, read: &[Records], client: &Client<'_>) {
        if self.is_undecided(proof, client) {
            return;
        }
        // Of the dialogs whose records are not looked at, only one that was still active may have changed since.
        let earlier = client.dialogs.iter().take_while(|dialog| proof.is_taken(dialog.coordinates())).count();
        if proof.scope == Scope::Full && proof.takes_anything() {
            let rows = Rows { messages: client.gone, dialogs: client.dialogs, row: client.row };
            structure::compare(proof, &rows, &mut self.findings);
        }
        let (earlier, later) = client.dialogs.split_at(earlier);
        let active = before::active(proof, client.records, earlier, later, client.latest);
        self.model.start(active);
        let (mut first, mut filed) = (None, HashSet::new());
        for record in client.records {
            let outcome = self.model.step(record);
            if matches!(outcome, Outcome::Message(_)) {
                first.get_or_insert(record);
                if !client.named.is_empty() {
                    filed.insert(record.place());
                }
            }
            self.count(proof, record.partition, outcome);
            self.record(read, record, outcome);
        }
        let rows = active.and(earlier.last()).into_iter().chain(later);
        self.dialogs(proof, rows);
        let Client { named, aliases: rows, gone, .. } = *client;
        aliases::compare(proof, &Aliases { named, filed: &filed, rows, gone }, &mut self.findings);
        self.row(proof, client, first, !earlier.is_empty() || !client.gone.is_empty());
    }

    /// A client that moved to another partition, of which the log holds older records than those that it lacks:
    /// they cannot be folded.
    fn is_undecided(&mut self, proof: &Proof<'_>, client: &Client<'_>) -> bool {
        if self.counts.len() == 1 || proof.scope == Scope::SinceLast {
            return false;
        }
        let (Some(first), Some(gone)) = (client.records.first(), client.gone.last()) else {
            return false;
        };
        let (partition, offset) = first.place();
        let is_undecided = gone.coordinates() > (proof.topic.topic_ref, partition, offset);
        if is_undecided {
            let why = "retention has removed records of clients that moved here, and not the older ones";
            self.findings.unprovable(gone.partition.0, why);
        }
        is_undecided
    }

    fn count(&mut self, proof: &Proof<'_>, partition: Partition, outcome: Outcome) {
        let span = proof.spans.of(proof.topic.topic_ref, partition);
        let Some(counters) = span.and_then(|(at, _)| self.counters.get_mut(at)) else {
            return;
        };
        match outcome {
            Outcome::Message(_) => counters.messages += 1,
            Outcome::Duplicate => counters.duplicates += 1,
            Outcome::Command => counters.commands += 1,
            Outcome::Conflict => counters.dead_letters += 1,
        }
    }

    fn record(&mut self, read: &[Records], record: &ClientRecord, outcome: Outcome) {
        let place = (record.partition.0, Some(record.offset.0));
        let mut tell = |kind, detail: &str| self.findings.push(About::Record, place, kind, detail);
        let columns = |kind, more| {
            let row = ((record.partition, record.offset), kind);
            columns::named(read.iter().find_map(|read| read.differing.get(&row)), more)
        };
        match (outcome, record.message) {
            (Outcome::Message(_), Found::Nothing) => tell("message_missing", MISSING),
            (Outcome::Message(dialog), Found::Same) if record.dialog == dialog => {}
            (Outcome::Message(_), Found::Same) => tell("message_differs", "dialog_id"),
            (Outcome::Message(dialog), Found::Different) => {
                let more = (record.dialog != dialog).then_some("dialog_id");
                tell("message_differs", &columns(Kind::Message, more));
            }
            (Outcome::Duplicate | Outcome::Conflict | Outcome::Command, Found::Nothing) => {}
            (Outcome::Duplicate | Outcome::Conflict | Outcome::Command, Found::Same | Found::Different) => {
                tell("message_unexpected", UNWANTED);
            }
        }
        match (outcome, record.dead_letter) {
            (Outcome::Conflict, Found::Nothing) => tell("dead_letter_missing", MISSING),
            (Outcome::Conflict, Found::Different) => {
                tell("dead_letter_differs", &columns(Kind::DeadLetter, None));
            }
            (Outcome::Conflict, Found::Same) => {}
            (Outcome::Message(_) | Outcome::Duplicate | Outcome::Command, Found::Nothing) => {}
            (Outcome::Message(_) | Outcome::Duplicate | Outcome::Command, Found::Same | Found::Different) => {
                tell("dead_letter_unexpected", UNWANTED);
            }
        }
    }

    /// Compares the dialogs of a client with those of the model. Both are in the order of their records,
    /// so that the next row is, as a rule, the next dialog.
    fn dialogs<'r>(&mut self, proof: &Proof<'_>, rows: impl Iterator<Item = &'r DialogRow>) {
        let dialogs = self.model.dialogs();
        let mut missing: BTreeMap<usize, &Dialog> = dialogs.iter().enumerate().collect();
        let mut next = 0;
        for row in rows {
            let is_next = dialogs.get(next).is_some_and(|dialog| dialog.id == row.id);
            let at = if is_next { Some(next) } else { dialogs.iter().position(|dialog| dialog.id == row.id) };
            let place = (row.partition, Some(row.opened_offset));
            match at.and_then(|at| Some((at, missing.remove(&at)?))) {
                None => self.findings.push(About::Dialog, place, "dialog_unexpected", "no record opens it"),
                Some((at, dialog)) => {
                    next = at + 1;
                    let differences = dialog_differences(proof, row, dialog);
                    if !differences.is_empty() {
                        self.findings.push(About::Dialog, place, "dialog_differs", differences.join(", "));
                    }
                }
            }
        }
        for dialog in missing.values() {
            let place = (dialog.partition.0, Some(dialog.opened_offset.0));
            self.findings.push(About::Dialog, place, "dialog_missing", "the record opens it");
        }
    }

    /// Compares the client's own row. `first`: its first new message; `known`: it was there before.
    fn row(&mut self, proof: &Proof<'_>, client: &Client<'_>, first: Option<&ClientRecord>, known: bool) {
        let home = client.id.partition(proof.topic.partition_count).0;
        let place = |record: &ClientRecord| (record.partition.0, Some(record.offset.0));
        match (client.row, first) {
            (Some(row), Some(first)) => {
                let differences = failed([
                    ("external_client_id", row.external_client_id == first.external_client_id),
                    ("client_phone", row.address == first.address),
                    ("created_at", known || row.created_at == first.appended_at.as_micros()),
                ]);
                if !differences.is_empty() {
                    self.findings.push(About::Client, place(first), "client_differs", differences.join(", "));
                }
            }
            (None, Some(first)) => {
                let detail = if known { "the record is one of its" } else { "the record is its first" };
                self.findings.push(About::Client, place(first), "client_missing", detail);
            }
            (Some(_), None) if !known => {
                let detail = "no record speaks of it";
                self.findings.push(About::Nothing, (home, None), "client_unexpected", detail);
            }
            (None, None) if known => {
                self.findings.push(About::Client, (home, None), "client_missing", "it has dialogs");
            }
            (Some(_) | None, None) => {}
        }
    }
}

/// Takes the first rows off the front, as far as they are of a client.
fn take_of<'r, T>(rows: &mut &'r [T], is_of_it: impl Fn(&T) -> bool) -> &'r [T] {
    let (of_it, others) = rows.split_at(rows.iter().take_while(|row| is_of_it(row)).count());
    *rows = others;
    of_it
}

fn dialog_differences(proof: &Proof<'_>, row: &DialogRow, dialog: &Dialog) -> Vec<&'static str> {
    let micros = |time: Option<Timestamp>| time.map_or(NULL, Timestamp::as_micros);
    let reason = dialog.closed.map_or(0, |(_, reason)| proof.keys.digest(reason.as_bytes()));
    failed([
        ("opened_at", row.opened_at == dialog.opened_at.as_micros()),
        ("partition", row.partition == dialog.partition.0),
        ("opened_offset", row.opened_offset == dialog.opened_offset.0),
        ("closed_at", row.closed_at == micros(dialog.closed.map(|(at, _)| at))),
        ("close_reason", row.close_reason == reason),
        ("last_message_at", row.last_message_at == micros(dialog.last_message_at)),
        // One from before the records is the row itself.
        ("topic_ref", row.topic_ref == proof.topic.topic_ref.0 || proof.is_taken(row.coordinates())),
    ])
}
