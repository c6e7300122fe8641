//! The fold, a second time: from the topic to the rows that the tables must hold, ids and times included.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Evidence, Violation,
    tables::{AliasRow, ClientRow, DeadLetterRow, DialogRow, MessageRow, ProgressRow, Tables},
};
use crate::{
    history::{Attempt, Name},
    identity,
    plan::Message,
    wire::batch::{Header, Record},
};

/// What the tables must hold.
pub struct Expected {
    pub tables: Tables,
    /// Why they cannot be told.
    pub problems: Vec<Violation>,
}

/// Folds each partition from where it was born to where its row says that it is applied.
pub fn fold(evidence: &Evidence<'_>, progress: &BTreeMap<i32, ProgressRow>) -> Expected {
    let attempts = evidence.attempts.iter().map(|attempt| (attempt.name(), attempt)).collect();
    let mut fold = Fold {
        evidence,
        attempts,
        active: BTreeMap::new(),
        bodies: BTreeMap::new(),
        tables: Tables::default(),
    };
    let mut problems = Vec::new();
    for (partition, row) in progress {
        let Some(log) = evidence.log.partitions.get(partition) else {
            problems.push(Violation::new("P2", format!("partition {partition} is in the tables only")));
            continue;
        };
        if log.start > row.birth || log.end < row.next {
            let what = format!("partition {partition}: the log holds {}..{}", log.start, log.end);
            problems.push(Violation::new("P2", format!("{what}, applied is {}..{}", row.birth, row.next)));
        }
        let mut counted = ProgressRow { birth: row.birth, next: row.next, ..ProgressRow::default() };
        counted.control = log.control.range(row.birth..row.next).count() as i64;
        for record in log.records.iter().filter(|record| (row.birth..row.next).contains(&record.offset)) {
            if evidence.planted.aborted.contains(&(*partition, record.offset)) {
                counted.control += 1;
                continue;
            }
            fold.record(*partition, record, &mut counted);
            counted.last_digest = Some(identity::record_digest(
                record.key.as_deref(),
                record.value.as_deref(),
                record.timestamp_ms,
            ));
        }
        fold.tables.progress.insert(*partition, counted);
    }
    Expected { tables: fold.tables, problems }
}

struct Fold<'a> {
    evidence: &'a Evidence<'a>,
    attempts: BTreeMap<Name<'a>, &'a Attempt>,
    active: BTreeMap<&'a str, String>,
    /// Text and `sent_at` of the first message of each id: what of the body is compared.
    bodies: BTreeMap<(&'a str, &'a str), (&'a str, Option<&'a str>)>,
    tables: Tables,
}

impl<'a> Fold<'a> {
    fn record(&mut self, partition: i32, record: &'a Record, counted: &mut ProgressRow) {
        if let Some(reason) = self.evidence.planted.poison.get(&(partition, record.offset)) {
            self.dead_letter(partition, record, reason);
            counted.dead_letters += 1;
            return;
        }
        let id = record.header("x-request-id").unwrap_or_default();
        if let Some(client) = self.evidence.planted.closes.get(id) {
            self.close(client, record.timestamp_ms * 1_000);
            counted.commands += 1;
            return;
        }
        // A record that nobody sent is I3's to report.
        let name = (id, record.header("ce_id").unwrap_or_default());
        let Some(message) = self.attempts.get(&name).and_then(|attempt| attempt.sent.message.as_ref()) else {
            return;
        };
        match self.bodies.get(&(message.client_id.as_str(), message.external_message_id.as_str())) {
            None => {
                self.message(partition, record, message);
                counted.messages += 1;
            }
            Some(body) if *body == (&*message.text, message.sent_at.as_deref()) => counted.duplicates += 1,
            Some(_) => {
                self.dead_letter(partition, record, "conflicting_duplicate");
                counted.dead_letters += 1;
            }
        }
    }

    fn message(&mut self, partition: i32, record: &Record, message: &'a Message) {
        let appended_at = record.timestamp_ms * 1_000;
        let client_id = message.client_id.as_str();
        let body = (&*message.text, message.sent_at.as_deref());
        self.bodies.insert((client_id, &message.external_message_id), body);
        self.tables.clients.entry(client_id.to_owned()).or_insert_with(|| ClientRow {
            external_client_id: message.external_client_id.clone(),
            address: message.address.clone(),
            created_at: appended_at,
        });
        for alias in &message.aliases {
            self.tables.aliases.entry((client_id.to_owned(), alias.clone())).or_insert(AliasRow {
                partition,
                offset: record.offset,
                named_at: appended_at,
            });
        }
        if !self.active.contains_key(client_id) {
            let topic_id = self.evidence.log.topic_id;
            let id = identity::dialog_id(topic_id, partition, record.offset, record.timestamp_ms);
            let row = DialogRow {
                opened_at: appended_at,
                closed_at: None,
                close_reason: None,
                partition,
                opened_offset: record.offset,
            };
            self.tables.dialogs.insert((client_id.to_owned(), id.clone()), row);
            self.active.insert(client_id, id);
        }
        let row = MessageRow {
            partition,
            offset: record.offset,
            appended_at,
            received_at: record.header("ce_time").unwrap_or_default().to_owned(),
            sent_at: message.sent_at.clone(),
            dialog_id: self.active.get(client_id).cloned().unwrap_or_default(),
            body_hash: identity::body_hash(
                client_id,
                &message.external_message_id,
                &message.text,
                message.sent_at.as_deref(),
            ),
            request_id: record.header("x-request-id").map(str::to_owned),
            text: message.text.clone(),
        };
        self.tables.messages.insert((client_id.to_owned(), message.external_message_id.clone()), row);
    }

    fn close(&mut self, client: &'a str, closed_at: i64) {
        let Some(id) = self.active.remove(client) else { return };
        if let Some(dialog) = self.tables.dialogs.get_mut(&(client.to_owned(), id)) {
            dialog.closed_at = Some(closed_at);
            dialog.close_reason = Some("command".to_owned());
        }
    }

    fn dead_letter(&mut self, partition: i32, record: &Record, reason: &str) {
        let row = DeadLetterRow {
            reason: reason.to_owned(),
            key: record.key.as_deref().map(hex::encode),
            value: record.value.as_deref().map(hex::encode),
            headers: Value::Array(record.headers.iter().map(header).collect()),
            appended_at: record.timestamp_ms * 1_000,
        };
        self.tables.dead_letters.insert((partition, record.offset), row);
    }
}

/// A header as the column keeps it: text as text, anything else in hexadecimal.
fn header((name, value): &Header) -> Value {
    let mut kept = Map::new();
    let parts = [("name", Some(name)), ("value", value.as_ref())];
    for (part, bytes) in parts.into_iter().filter_map(|(part, bytes)| Some((part, bytes?))) {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => kept.insert(part.to_owned(), text.into()),
            Ok(_) | Err(_) => kept.insert(format!("{part}_hex"), hex::encode(bytes).into()),
        };
    }
    kept.into()
}
