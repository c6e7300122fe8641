//! Rows whose records the log no longer holds, compared with each other: what a row must be whatever its record
//! said. Each place has one row; each message lies in the partition of its client, and in the dialog that was open
//! there; each dialog was opened by one of its messages, has the id that follows from that place, and has ended
//! if it is not its client's last; each client has the id of its pair and was made by its first message.
//!
//! What only a record tells is not seen here: a text that was changed, a message that was deleted together with
//! its count, a duplicate that was counted as a command.

use schemas::{Address, ClientId, ExternalClientId, Timestamp};
use uuid::Uuid;

use super::{
    Proof,
    columns::{failed, unexpected},
    entries::{ClientRow, DialogRow, GoneMessage, Kind, NULL, PlacedRow},
    report::{About, Findings},
    scope::{Span, Stretch},
};
use crate::domain::{
    counters::adds_up,
    position::{Offset, TopicRef, dialog_id},
};

/// The rows of a client.
pub struct Rows<'a> {
    /// Its messages whose records are gone, in their order.
    pub messages: &'a [GoneMessage],
    /// All its dialogs, in their order.
    pub dialogs: &'a [DialogRow],
    pub row: Option<&'a ClientRow>,
}

/// The client of a pair as a row spells it; nil if by the rules of today it is no pair.
pub fn of_pair(external_client_id: &str, address: &str) -> ClientId {
    match (ExternalClientId::parse(external_client_id), Address::parse(address)) {
        (Ok(id), Ok(address)) => ClientId::of(&id, &address),
        (Ok(_) | Err(_), _) => ClientId::from_uuid(Uuid::nil()),
    }
}

/// How many messages and dead letters stand for records that are gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    pub messages: i64,
    pub dead_letters: i64,
}

adds_up!(Standing { messages, dead_letters });

/// Counts the rows of a slice that is gone, in the order of their offsets. Of two at one place the second is one
/// too many.
pub fn count(
    proof: &Proof<'_>,
    span: &Span,
    stretch: Stretch,
    rows: &[PlacedRow],
    findings: &mut Findings,
) -> Standing {
    let mut standing = Standing::default();
    let mut before: Option<Offset> = None;
    for row in rows {
        if before.replace(row.offset) == Some(row.offset) {
            let why = proof.of_topic(span.topic_ref(), "another row stands for the same record");
            unexpected(findings, row.kind, stretch.partition, row.offset, &why);
        }
        match row.kind {
            Kind::Message => standing.messages += 1,
            Kind::DeadLetter | Kind::Rejected => standing.dead_letters += 1,
        }
    }
    standing
}

/// Compares the rows of a client.
pub fn compare(proof: &Proof<'_>, client: &Rows<'_>, findings: &mut Findings) {
    for message in client.messages {
        compare_message(proof, client, message, findings);
    }
    for (at, dialog) in client.dialogs.iter().enumerate() {
        if proof.is_taken(dialog.coordinates()) {
            compare_dialog(proof, client, at, dialog, findings);
        }
    }
    let first = client.dialogs.first().filter(|dialog| proof.is_taken(dialog.coordinates()));
    if let (Some(row), Some(first)) = (client.row, first) {
        let differences = failed([
            ("id", row.of_pair == row.id || row.of_pair.as_uuid().is_nil()),
            ("created_at", row.created_at == first.opened_at),
        ]);
        if !differences.is_empty() {
            let place = (first.partition, Some(first.opened_offset));
            let detail = proof.of_topic(TopicRef(first.topic_ref), &differences.join(", "));
            findings.push(About::Client, place, "client_differs", detail);
        }
    }
}

fn compare_message(proof: &Proof<'_>, client: &Rows<'_>, message: &GoneMessage, findings: &mut Findings) {
    let home = proof
        .spans
        .of(message.topic_ref, message.partition)
        .map(|(_, span)| message.client.partition(span.applied.rules.count_at(message.offset)));
    let opened = client.dialogs.partition_point(|dialog| dialog.coordinates() <= message.coordinates());
    let dialog = opened.checked_sub(1).and_then(|last| client.dialogs.get(last));
    let differences = failed([
        ("partition", home == Some(message.partition)),
        ("dialog_id", dialog.is_some_and(|dialog| dialog.id == message.dialog)),
    ]);
    if !differences.is_empty() {
        let place = (message.partition.0, Some(message.offset.0));
        let detail = proof.of_topic(message.topic_ref, &differences.join(", "));
        findings.push(About::Record, place, "message_differs", detail);
    }
}

fn compare_dialog(
    proof: &Proof<'_>,
    client: &Rows<'_>,
    at: usize,
    dialog: &DialogRow,
    findings: &mut Findings,
) {
    let (topic_ref, partition, offset) = dialog.coordinates();
    let topic_id = proof.spans.of(topic_ref, partition).map(|(_, span)| span.applied.topic.topic_id);
    let opened_at = Timestamp::from_micros(dialog.opened_at);
    let id = topic_id.zip(opened_at).map(|(topic_id, at)| dialog_id(topic_id, partition, offset, at));
    let (has_ended, is_last) = (dialog.closed_at != NULL, at + 1 == client.dialogs.len());
    let differences = failed([
        ("id", id == Some(dialog.id)),
        ("closed_at", has_ended || is_last),
        ("close_reason", has_ended == (dialog.close_reason != 0)),
    ]);
    let place = (dialog.partition, Some(dialog.opened_offset));
    if !differences.is_empty() {
        let detail = proof.of_topic(topic_ref, &differences.join(", "));
        findings.push(About::Dialog, place, "dialog_differs", detail);
    }
    let opener = client.messages.binary_search_by_key(&dialog.coordinates(), GoneMessage::coordinates);
    if opener.is_err() {
        let detail = proof.of_topic(topic_ref, "no message opens it");
        findings.push(About::Dialog, place, "dialog_unexpected", detail);
    }
}
