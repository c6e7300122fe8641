//! The fold: what records do to clients, dialogs and messages. Pure: a function of the records and of
//! what was there before; ids and times come from the records (R20), so that replaying the topic
//! gives the same rows.
//!
//! A message is new or a duplicate, and only a new one may open a dialog. Where the answer decides
//! about a dialog (the client is known and has none active when the message comes), it is looked up
//! before: [`lookups`] names these messages. Where it does not (the dialog is active anyway, or the
//! client is new and can have no message yet), the insert itself answers, and [`Folded::settle`]
//! tells the duplicates from the new ones.

use std::collections::{HashMap, HashSet};

use schemas::{BodyHash, ClientId, Partition, Timestamp};
use uuid::Uuid;

use crate::{
    consume::batch::Batch,
    dead_letter::DeadLetterReason,
    decode::{Content, Received, Record},
    position::{Offset, dialog_id},
};

/// What a client is before, or after, a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientState {
    /// Whether the client has a row.
    pub known: bool,
    /// Its active dialog.
    pub active: Option<Uuid>,
}

/// The states of the clients of a batch.
pub type ClientStates = HashMap<ClientId, ClientState>;

/// A message's identity.
pub type MessageKey<'a> = (ClientId, &'a str);

/// The bodies that are known for message ids.
pub type BodyHashes<'a> = HashMap<MessageKey<'a>, BodyHash>;

/// A client to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewClient<'a> {
    /// Its first message.
    pub first: &'a Received,
    /// When that was appended.
    pub created_at: Timestamp,
}

/// A dialog to be written, closed again if the batch also closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedDialog {
    /// Whose.
    pub client_id: ClientId,
    /// Its id.
    pub id: Uuid,
    /// The partition of the record that opened it.
    pub partition: Partition,
    /// That record's offset.
    pub opened_offset: Offset,
    /// When that record was appended.
    pub opened_at: Timestamp,
    /// When it was closed again.
    pub closed_at: Option<Timestamp>,
}

/// A dialog that was active before the batch, and is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedDialog {
    /// Whose.
    pub client_id: ClientId,
    /// Its id.
    pub id: Uuid,
    /// When the record that closes it was appended.
    pub closed_at: Timestamp,
}

/// A message to be inserted, if its id is free.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// The record.
    pub record: &'a Record,
    /// What it says.
    pub received: &'a Received,
    /// Its dialog.
    pub dialog_id: Uuid,
    /// Whether it opened that dialog: then it must turn out to be new.
    pub opens: bool,
}

/// What became of the records of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// New messages.
    pub messages: i64,
    /// Messages that were there.
    pub duplicates: i64,
    /// Commands.
    pub commands: i64,
    /// Records kept as dead letters.
    pub dead_letters: i64,
}

impl Counters {
    /// The records counted.
    #[must_use]
    pub const fn total(&self) -> i64 {
        self.messages + self.duplicates + self.commands + self.dead_letters
    }
}

/// What the records do, as far as it is known before the messages are inserted.
#[derive(Debug, Default)]
pub struct Folded<'a> {
    /// Clients to be written.
    pub clients: Vec<NewClient<'a>>,
    /// Dialogs to be closed: before the others are opened.
    pub closed: Vec<ClosedDialog>,
    /// Dialogs to be opened.
    pub opened: Vec<OpenedDialog>,
    /// Messages to be inserted, the first of each id.
    pub messages: Vec<NewMessage<'a>>,
    /// What the clients are afterwards.
    pub after: ClientStates,
    /// Messages whose id came before, in this batch or in the table.
    repeats: Vec<(&'a Record, &'a Received)>,
    dead_letters: Vec<(&'a Record, DeadLetterReason)>,
    counters: HashMap<Partition, Counters>,
}

/// What the records did.
#[derive(Debug)]
pub struct Settled<'a> {
    /// Dead letters to be written.
    pub dead_letters: Vec<(&'a Record, DeadLetterReason)>,
    /// What became of the records, by partition.
    pub counters: HashMap<Partition, Counters>,
}

/// A message that opened a dialog was there before, although its client has never been written or the
/// lookup did not find it: somebody else writes to the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignWrite {
    /// The record's partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
}

/// The messages that have to be looked up before the fold: those that might open a dialog.
#[must_use]
pub fn lookups<'a>(batch: &'a Batch, before: &ClientStates) -> Vec<MessageKey<'a>> {
    let closing: HashSet<ClientId> = batch
        .records()
        .filter_map(|record| match &record.content {
            Content::Close(client_id) => Some(*client_id),
            Content::Message(_) | Content::DeadLetter(_) => None,
        })
        .collect();
    let may_open = |client_id: &ClientId| {
        before
            .get(client_id)
            .is_some_and(|state| state.known && (state.active.is_none() || closing.contains(client_id)))
    };
    let keys: HashSet<MessageKey<'a>> =
        messages(batch).map(key).filter(|(client_id, _)| may_open(client_id)).collect();
    keys.into_iter().collect()
}

/// Folds a batch. `before` holds every client of it, `existing` the bodies found by [`lookups`].
#[must_use]
pub fn fold<'a>(batch: &'a Batch, topic_id: Uuid, before: ClientStates, existing: &BodyHashes<'a>) -> Folded<'a> {
    let mut fold = Fold {
        topic_id,
        existing,
        seen: HashSet::with_capacity(batch.len()),
        opened: HashMap::new(),
        folded: Folded { after: before, ..Folded::default() },
    };
    for run in &batch.runs {
        let mut counters = Counters::default();
        for record in &run.records {
            match &record.content {
                Content::Message(received) => fold.message(record, received),
                Content::Close(client_id) => {
                    fold.close(*client_id, record.raw.appended_at);
                    counters.commands += 1;
                }
                Content::DeadLetter(reason) => {
                    fold.folded.dead_letters.push((record, reason.clone()));
                    counters.dead_letters += 1;
                }
            }
        }
        fold.folded.counters.insert(run.partition, counters);
    }
    fold.folded
}

struct Fold<'a, 'e> {
    topic_id: Uuid,
    existing: &'e BodyHashes<'a>,
    seen: HashSet<MessageKey<'a>>,
    /// Where in `folded.opened` a client's active dialog stands, if this batch opened it.
    opened: HashMap<ClientId, usize>,
    folded: Folded<'a>,
}

impl<'a> Fold<'a, '_> {
    fn message(&mut self, record: &'a Record, received: &'a Received) {
        let key = key(received);
        if !self.seen.insert(key) || self.existing.contains_key(&key) {
            self.folded.repeats.push((record, received));
            return;
        }
        let (client_id, appended_at) = (key.0, record.raw.appended_at);
        let state = self.folded.after.entry(client_id).or_default();
        if !state.known {
            state.known = true;
            self.folded.clients.push(NewClient { first: received, created_at: appended_at });
        }
        let opens = state.active.is_none();
        let dialog_id = *state.active.get_or_insert_with(|| {
            dialog_id(self.topic_id, record.raw.partition, record.raw.offset, appended_at)
        });
        if opens {
            self.opened.insert(client_id, self.folded.opened.len());
            self.folded.opened.push(OpenedDialog {
                client_id,
                id: dialog_id,
                partition: record.raw.partition,
                opened_offset: record.raw.offset,
                opened_at: appended_at,
                closed_at: None,
            });
        }
        self.folded.messages.push(NewMessage { record, received, dialog_id, opens });
    }

    fn close(&mut self, client_id: ClientId, closed_at: Timestamp) {
        let Some(id) = self.folded.after.get_mut(&client_id).and_then(|state| state.active.take()) else {
            return;
        };
        let opened_here = self.opened.remove(&client_id).and_then(|at| self.folded.opened.get_mut(at));
        match opened_here {
            Some(dialog) => dialog.closed_at = Some(closed_at),
            None => self.folded.closed.push(ClosedDialog { client_id, id, closed_at }),
        }
    }
}

impl<'a> Folded<'a> {
    /// Tells new messages, duplicates and reused ids apart. `inserted` are the places of the messages
    /// that the table took; `stored` are the bodies of those that it held already, and of those that
    /// were looked up.
    ///
    /// # Errors
    /// [`ForeignWrite`]: nothing of the batch may be committed.
    pub fn settle(
        self,
        inserted: &HashSet<(Partition, Offset)>,
        mut stored: BodyHashes<'a>,
    ) -> Result<Settled<'a>, ForeignWrite> {
        let Self { messages, mut repeats, mut dead_letters, mut counters, .. } = self;
        for NewMessage { record, received, opens, .. } in messages {
            let (partition, offset) = (record.raw.partition, record.raw.offset);
            if inserted.contains(&(partition, offset)) {
                stored.insert(key(received), received.body_hash);
                counters.entry(partition).or_default().messages += 1;
            } else if opens {
                return Err(ForeignWrite { partition, offset });
            } else {
                repeats.push((record, received));
            }
        }
        for (record, received) in repeats {
            let counters = counters.entry(record.raw.partition).or_default();
            if stored.get(&key(received)) == Some(&received.body_hash) {
                counters.duplicates += 1;
            } else {
                counters.dead_letters += 1;
                dead_letters.push((record, DeadLetterReason::ConflictingDuplicate));
            }
        }
        Ok(Settled { dead_letters, counters })
    }
}

/// The messages of a batch.
pub fn messages(batch: &Batch) -> impl Iterator<Item = &Received> {
    batch.records().filter_map(|record| match &record.content {
        Content::Message(received) => Some(received.as_ref()),
        Content::Close(_) | Content::DeadLetter(_) => None,
    })
}

/// A message's identity.
#[must_use]
pub fn key(received: &Received) -> MessageKey<'_> {
    (received.message.client_id(), received.message.external_message_id().as_str())
}
