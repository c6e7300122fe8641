//! One client's rows beside what was promised to it. Pure.

use std::collections::BTreeMap;

use super::{Finding, Findings, Receipts, Verdict};
use crate::{
    database::{StoredClient, StoredDialog, StoredMessage},
    ledger::{Place, Receipt},
    plan::{ClientIndex, Kind, Request},
};

#[derive(Default)]
pub struct ClientRows {
    pub messages: Vec<StoredMessage>,
    pub dialogs: Vec<StoredDialog>,
    pub client: Option<StoredClient>,
}

/// What was promised of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It is there; at this place, if that is known, and in the order of the requests if `in_order`.
    Kept {
        /// No attempt before was left open.
        at_once: bool,
        /// The record that the 202 of its first request named: the last of this message that Kafka's client wrote.
        place: Option<Place>,
    },
    /// A repeat got a 202, its first request did not: it is there, somewhere.
    KeptByRepeat,
    /// It may be there or not.
    Open,
    /// It must not be there.
    Refused,
}

/// What was promised to one client: its messages by the index of their first request.
#[derive(Debug)]
pub struct Expected {
    pub client: ClientIndex,
    messages: BTreeMap<u64, Promise>,
}

impl Expected {
    pub const fn new(client: ClientIndex) -> Self {
        Self { client, messages: BTreeMap::new() }
    }

    /// Adds what became of a request; in the order of the plan.
    pub fn add(&mut self, request: &Request, receipt: Receipt) {
        match (request.kind, receipt) {
            (_, Receipt::NotSent) => {}
            (Kind::Valid, Receipt::Kept { at_once, place }) => {
                self.messages.insert(request.index, Promise::Kept { at_once, place });
            }
            // What was taken although it is invalid is reported as an unexpected reply.
            (Kind::Valid | Kind::Invalid(_), Receipt::Open) | (Kind::Invalid(_), Receipt::Kept { .. }) => {
                self.messages.insert(request.index, Promise::Open);
            }
            (Kind::Valid | Kind::Invalid(_), Receipt::Refused) => {
                self.messages.insert(request.index, Promise::Refused);
            }
            (Kind::Duplicate { of }, receipt) => {
                let promise = self.messages.entry(of).or_insert(Promise::Open);
                match (&promise, receipt) {
                    (Promise::Kept { .. } | Promise::KeptByRepeat, _) => {}
                    (_, Receipt::Kept { .. }) => *promise = Promise::KeptByRepeat,
                    (Promise::Refused, Receipt::Open) => *promise = Promise::Open,
                    _ => {}
                }
            }
        }
    }

    /// The place of the last message before this one whose 202 named a place.
    fn named_before(&self, index: u64) -> Option<Place> {
        self.messages.range(..index).rev().find_map(|(_, promise)| match promise {
            Promise::Kept { place, .. } => *place,
            Promise::KeptByRepeat | Promise::Open | Promise::Refused => None,
        })
    }

    /// How many messages must be there.
    pub fn promised(&self) -> u64 {
        self.messages.values().filter(|promise| is_kept(promise)).count() as u64
    }
}

const fn is_kept(promise: &Promise) -> bool {
    matches!(promise, Promise::Kept { .. } | Promise::KeptByRepeat)
}

/// Notes everything that is wrong with the rows of one client.
pub fn judge(receipts: &Receipts<'_>, expected: &Expected, rows: ClientRows, verdict: &mut Verdict) {
    let ClientRows { messages, dialogs, client } = rows;
    let stored = by_request(receipts, messages, &mut verdict.findings);
    for (index, row) in &stored {
        judge_message(receipts, expected, *index, row, verdict);
    }
    let findings = &mut verdict.findings;
    for row in stored.values() {
        if !dialogs.iter().any(|dialog| dialog.id == row.dialog_id) {
            findings.add(Finding::NoDialog { message: row.external_message_id.clone() });
        }
    }
    for (index, _) in
        expected.messages.iter().filter(|(index, promise)| is_kept(promise) && !stored.contains_key(*index))
    {
        findings.add(Finding::Missing { message: format!("{}{index}", receipts.plan.id_prefix()) });
    }
    judge_order(receipts, expected, &stored, findings);
    judge_client(receipts, expected, client.as_ref(), &dialogs, !stored.is_empty(), findings);
}

/// The rows by the request that carried them first.
fn by_request(
    receipts: &Receipts<'_>,
    messages: Vec<StoredMessage>,
    findings: &mut Findings,
) -> BTreeMap<u64, StoredMessage> {
    let (mut stored, prefix) = (BTreeMap::new(), receipts.plan.id_prefix());
    for row in messages {
        let index = row.external_message_id.strip_prefix(prefix).and_then(|index| index.parse::<u64>().ok());
        let Some(index) = index.filter(|index| *index < receipts.plan.settings().messages) else {
            findings.add(Finding::Unknown { message: row.external_message_id });
            continue;
        };
        if let Some(other) = stored.insert(index, row) {
            findings.add(Finding::Doubled { message: other.external_message_id });
        }
    }
    stored
}

fn judge_message(
    receipts: &Receipts<'_>,
    expected: &Expected,
    index: u64,
    row: &StoredMessage,
    Verdict { findings, written_twice, .. }: &mut Verdict,
) {
    let message = || row.external_message_id.clone();
    let promise = expected.messages.get(&index);
    let request = receipts.plan.request(index);
    if !matches!(request.kind, Kind::Duplicate { .. }) && row.text != receipts.plan.text(&request) {
        findings.add(Finding::Altered { message: message() });
    }
    match promise {
        None | Some(Promise::Refused) => findings.add(Finding::NotAllowed { message: message() }),
        Some(Promise::Kept { at_once: true, place: Some(promised) }) if *promised != row.place => {
            // Messages of one batch may be written twice together: then a copy lies behind the next one's first.
            let before = expected.named_before(index).filter(|_| !receipts.in_batches);
            if is_earlier_copy(row.place, *promised, before) {
                *written_twice += 1;
            } else {
                findings.add(Finding::Elsewhere {
                    message: message(),
                    promised: *promised,
                    found: row.place,
                });
            }
        }
        Some(Promise::Kept { .. } | Promise::KeptByRepeat | Promise::Open) => {}
    }
}

/// Whether Kafka's client can have written a message there, too, before the place that the 202 named: in the same
/// partition, and behind everything that was answered before the message was sent.
fn is_earlier_copy(found: Place, promised: Place, before: Option<Place>) -> bool {
    let is_behind = |before: Place| before.partition != found.partition || before.offset < found.offset;
    found.partition == promised.partition && found.offset < promised.offset && before.is_none_or(is_behind)
}

/// A client's next request went out when the one before was answered: the order of the answers is that of
/// the plan.
fn judge_order(
    receipts: &Receipts<'_>,
    expected: &Expected,
    stored: &BTreeMap<u64, StoredMessage>,
    findings: &mut Findings,
) {
    let ordered = stored.iter().filter(|(index, _)| match expected.messages.get(*index) {
        Some(Promise::Kept { at_once, .. }) => *at_once || !receipts.in_batches,
        _ => false,
    });
    let mut before: Option<&StoredMessage> = None;
    for (_, row) in ordered {
        if let Some(before) = before
            && (before.topic_ref, before.place) >= (row.topic_ref, row.place)
        {
            let (first, then) = (before.external_message_id.clone(), row.external_message_id.clone());
            findings.add(Finding::OutOfOrder { first, then });
        }
        before = Some(row);
    }
}

fn judge_client(
    receipts: &Receipts<'_>,
    expected: &Expected,
    client: Option<&StoredClient>,
    dialogs: &[StoredDialog],
    has_messages: bool,
    findings: &mut Findings,
) {
    let planned = receipts.plan.client(expected.client);
    let id = planned.client_id().map(schemas::ClientId::key).unwrap_or_default();
    let is_right = client.is_some_and(|client| {
        client.external_client_id == planned.external_client_id && client.client_phone == planned.address
    });
    if has_messages && !is_right {
        findings.add(Finding::WrongClient { client: id.clone() });
    }
    // A run with another share of addresses may have named more.
    let has_aliases =
        |client: &StoredClient| planned.aliases.iter().all(|alias| client.aliases.contains(alias));
    if has_messages && client.is_some_and(|client| !has_aliases(client)) {
        findings.add(Finding::NoAlias { client: id.clone() });
    }
    let active = dialogs.iter().filter(|dialog| dialog.is_active).count();
    if active > 1 {
        findings.add(Finding::SeveralActive { client: id, dialogs: active });
    }
}
