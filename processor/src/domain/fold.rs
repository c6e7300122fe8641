//! The fold: what records do to clients, dialogs and messages. Pure: a function of the records and of
//! what was there before; ids and times come from the records (R20), so that replaying the topic
//! gives the same rows.
//!
//! A message is new or a duplicate, and only a new one may open a dialog, end an idle one or extend one. So what is
//! not certainly new is looked up before: [`lookups`] names these messages. A message is certainly new if its client
//! has no row, or if all ids of its client's messages are known ([`Ids`]) and its own is not among them.
//!
//! What the fold takes for new is written and has to be new. Only an insert that passes over what is there
//! ([`Inserted::Only`]) may find out otherwise, and [`Folded::settle`] makes duplicates of those.
//!
//! The file is long because it is one function: what goes in, what comes out, and both halves of it. Who changes one
//! has to see the others.

use schemas::{Body, ClientId, Partition, Timestamp};
use uuid::Uuid;

use crate::domain::{
    alias::{self, NewAlias},
    batch::Batch,
    batch_map::{self, BatchMap, BatchSet},
    counters::Counters,
    dead_letter::DeadLetterReason,
    decode::{Content, Received, Record},
    position::{Offset, dialog_id},
    rules::IdleGap,
};

/// What a client is before, or after, a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientState {
    /// Whether the client has a row.
    pub known: bool,
    pub active: Option<ActiveDialog>,
    pub ids: Ids,
}

/// What is known of the ids of a client's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    /// Nothing, unless the client has no row.
    #[default]
    Unknown,
    /// All of them: those that may be stored are among [`Cached::suspects`].
    Complete,
    /// The batch has created the client, so that those in it are all.
    Created,
}

/// What is known of the clients of a batch without asking.
#[derive(Debug, Clone, Default)]
pub struct Cached {
    pub states: ClientStates,
    /// The places of messages that may be stored already although all ids of their clients are known.
    pub suspects: BatchSet<(Partition, Offset)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveDialog {
    pub id: Uuid,
    /// When its latest message was appended; known only while an idle gap applies to its client.
    pub last_message_at: Option<Timestamp>,
}

/// Why a dialog was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    Command,
    /// Its client was silent for longer than the gap before the next message.
    IdleGap,
}

impl CloseReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::IdleGap => "idle_gap",
        }
    }
}

/// The states of the clients of a batch.
pub type ClientStates = BatchMap<ClientId, ClientState>;

pub type MessageKey<'a> = (ClientId, &'a str);

/// The bodies that are known for message ids.
pub type Bodies<'a> = BatchMap<MessageKey<'a>, Body>;

/// A client to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewClient<'a> {
    /// Its first message.
    pub first: &'a Received,
    pub created_at: Timestamp,
}

/// A dialog to be written, closed again if the batch also closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedDialog {
    pub client_id: ClientId,
    pub id: Uuid,
    /// The partition of the record that opened it.
    pub partition: Partition,
    pub opened_offset: Offset,
    /// When that record was appended.
    pub opened_at: Timestamp,
    /// When it was closed again, and why.
    pub closed: Option<(Timestamp, CloseReason)>,
    /// When its latest message was appended, if an idle gap applies.
    pub last_message_at: Option<Timestamp>,
}

/// A dialog that was active before the batch, and is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedDialog {
    pub client_id: ClientId,
    pub id: Uuid,
    pub closed_at: Timestamp,
    pub reason: CloseReason,
}

/// A dialog that was active before the batch, and whose latest message is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedDialog {
    pub client_id: ClientId,
    pub id: Uuid,
    /// When its latest message was appended; `None` once no idle gap applies any more.
    pub last_message_at: Option<Timestamp>,
}

/// A message to be inserted, if its id is free.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    pub record: &'a Record,
    pub received: &'a Received,
    pub dialog_id: Uuid,
    /// Whether it opened that dialog: then it must be new.
    pub opens: bool,
}

/// Which of the messages that the fold took for new were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// All of them, and all clients that were to be created: what was believed before holds.
    All,
    /// Those at these places; of the others, or of a client, somebody else had written the row.
    Only(BatchSet<(Partition, Offset)>),
}

impl Inserted {
    pub fn holds(&self, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Only(places) => places.contains(&(record.raw.partition, record.raw.offset)),
        }
    }
}

/// What the records do, as far as it is known before the messages are inserted.
#[derive(Debug, Default)]
pub struct Folded<'a> {
    pub clients: Vec<NewClient<'a>>,
    /// Dialogs to be closed: before the others are opened.
    pub closed: Vec<ClosedDialog>,
    pub opened: Vec<OpenedDialog>,
    /// Messages to be inserted, the first of each id.
    pub messages: Vec<NewMessage<'a>>,
    /// Dialogs that were active before and got messages under an idle gap: what was known of the latest.
    touched: BatchMap<Uuid, TouchedDialog>,
    after: ClientStates,
    /// Messages whose id came before, in this batch or in the table.
    repeats: Vec<(&'a Record, &'a Received)>,
    dead_letters: Vec<(&'a Record, DeadLetterReason)>,
    counters: BatchMap<Partition, Counters>,
}

#[derive(Debug)]
pub struct Settled<'a> {
    /// What the clients are afterwards.
    pub after: ClientStates,
    /// Dialogs whose latest message is to be noted.
    pub touched: Vec<TouchedDialog>,
    /// Aliases to be written, if they are not there.
    pub aliases: Vec<NewAlias<'a>>,
    /// Dead letters to be written.
    pub dead_letters: Vec<(&'a Record, DeadLetterReason)>,
    /// What became of the records, by partition.
    pub counters: BatchMap<Partition, Counters>,
}

/// A message that opened a dialog was there before, although its client had no row or the look-up did not find it:
/// somebody else writes to the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignWrite {
    pub partition: Partition,
    pub offset: Offset,
}

/// The messages that have to be looked up before the fold: all that are not certainly new.
pub fn lookups<'a>(
    batch: &'a Batch,
    before: &ClientStates,
    suspects: &BatchSet<(Partition, Offset)>,
) -> Vec<MessageKey<'a>> {
    let may_be_stored = |record: &Record, client_id: ClientId| {
        before.get(&client_id).is_some_and(|state| match state.ids {
            Ids::Unknown => state.known,
            Ids::Complete | Ids::Created => suspects.contains(&(record.raw.partition, record.raw.offset)),
        })
    };
    let looked_up = batch.records().filter_map(|record| match &record.content {
        Content::Message(received) if may_be_stored(record, received.message.client_id()) => {
            Some(key(received))
        }
        Content::Message(_) | Content::Close(_) | Content::DeadLetter(_) => None,
    });
    let mut keys: Vec<MessageKey<'a>> = looked_up.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// When the latest message of a dialog was appended, once `next` is one of its messages. The broker's clock
/// may step back; what is known does not.
fn latest(last: Option<Timestamp>, idle_gap: Option<IdleGap>, next: Timestamp) -> Option<Timestamp> {
    idle_gap.map(|_| last.map_or(next, |last| last.max(next)))
}

/// Folds a batch. `before` holds every client of it, `existing` the bodies found by [`lookups`].
#[must_use]
pub fn fold<'a>(batch: &'a Batch, topic_id: Uuid, before: ClientStates, existing: &Bodies<'a>) -> Folded<'a> {
    let mut fold = Fold {
        topic_id,
        existing,
        seen: batch_map::set(batch.len()),
        opened: batch_map::map(before.len()),
        folded: Folded {
            messages: Vec::with_capacity(batch.len()),
            counters: batch_map::map(batch.runs.len()),
            after: before,
            ..Folded::default()
        },
    };
    for run in &batch.runs {
        let mut counters = Counters { control: run.control(), ..Counters::default() };
        for record in &run.records {
            match &record.content {
                Content::Message(received) => fold.message(record, received),
                Content::Close(client_id) => {
                    fold.close(*client_id, record.raw.appended_at, CloseReason::Command);
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
    existing: &'e Bodies<'a>,
    seen: BatchSet<MessageKey<'a>>,
    /// Where in `folded.opened` a client's active dialog stands, if this batch opened it.
    opened: BatchMap<ClientId, usize>,
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
        if let Some(ended_at) = self.idle_since(client_id, received.idle_gap, appended_at) {
            self.close(client_id, ended_at, CloseReason::IdleGap);
        }
        let state = self.folded.after.entry(client_id).or_default();
        if !state.known {
            (state.known, state.ids) = (true, Ids::Created);
            self.folded.clients.push(NewClient { first: received, created_at: appended_at });
        }
        let opens = state.active.is_none();
        let active = state.active.get_or_insert_with(|| ActiveDialog {
            id: dialog_id(self.topic_id, record.raw.partition, record.raw.offset, appended_at),
            last_message_at: None,
        });
        let (dialog_id, before) = (active.id, active.last_message_at);
        active.last_message_at = latest(before, received.idle_gap, appended_at);
        let last_message_at = active.last_message_at;
        if opens {
            self.opened.insert(client_id, self.folded.opened.len());
            self.folded.opened.push(OpenedDialog {
                client_id,
                id: dialog_id,
                partition: record.raw.partition,
                opened_offset: record.raw.offset,
                opened_at: appended_at,
                closed: None,
                last_message_at,
            });
        } else if last_message_at != before {
            self.touch(TouchedDialog { client_id, id: dialog_id, last_message_at }, before);
        }
        self.folded.messages.push(NewMessage { record, received, dialog_id, opens });
    }

    /// When a client's dialog ended, if it was idle for too long before a message that comes now.
    fn idle_since(&self, client_id: ClientId, gap: Option<IdleGap>, now: Timestamp) -> Option<Timestamp> {
        let gap = gap?;
        let last_message_at = self.folded.after.get(&client_id)?.active?.last_message_at?;
        gap.ended_at(last_message_at, now)
    }

    /// Notes the latest message: at once in a dialog that this batch opens, all messages of which are known
    /// to be new; of another one what was known `before`, for [`Folded::settle`] to go on from.
    fn touch(&mut self, dialog: TouchedDialog, before: Option<Timestamp>) {
        let opened_here = self.opened.get(&dialog.client_id).and_then(|at| self.folded.opened.get_mut(*at));
        match opened_here {
            Some(opened) => opened.last_message_at = dialog.last_message_at,
            None => {
                let known = TouchedDialog { last_message_at: before, ..dialog };
                self.folded.touched.entry(dialog.id).or_insert(known);
            }
        }
    }

    fn close(&mut self, client_id: ClientId, closed_at: Timestamp, reason: CloseReason) {
        let Some(ActiveDialog { id, .. }) =
            self.folded.after.get_mut(&client_id).and_then(|state| state.active.take())
        else {
            return;
        };
        let opened_here = self.opened.remove(&client_id).and_then(|at| self.folded.opened.get_mut(at));
        match opened_here {
            Some(dialog) => dialog.closed = Some((closed_at, reason)),
            None => self.folded.closed.push(ClosedDialog { client_id, id, closed_at, reason }),
        }
    }
}

impl<'a> Folded<'a> {
    /// Tells new messages, duplicates and reused ids apart. `inserted` are the messages that the table takes;
    /// `stored` are the bodies of those that it held already, and of those that were looked up.
    ///
    /// # Errors
    /// [`ForeignWrite`]: nothing of the batch may be committed.
    pub fn settle(self, inserted: &Inserted, mut stored: Bodies<'a>) -> Result<Settled<'a>, ForeignWrite> {
        let Self { messages, touched, mut after, mut repeats, mut dead_letters, mut counters, .. } = self;
        let touched = touch_inserted(touched, &messages, inserted, &mut after);
        if let Inserted::Only(_) = inserted {
            // Where somebody else may be writing, nothing is known for certain.
            after.values_mut().for_each(|state| state.ids = Ids::Unknown);
        }
        let (mut aliases, any_repeats) = (Vec::new(), !repeats.is_empty());
        for message in messages {
            let NewMessage { record, received, opens, .. } = message;
            let (partition, offset) = (record.raw.partition, record.raw.offset);
            if inserted.holds(record) {
                aliases.extend(NewAlias::of(record, received));
                if any_repeats {
                    stored.insert(key(received), received.message.body());
                }
                counters.entry(partition).or_default().messages += 1;
            } else if opens {
                return Err(ForeignWrite { partition, offset });
            } else {
                repeats.push((record, received));
            }
        }
        for (record, received) in repeats {
            let counters = counters.entry(record.raw.partition).or_default();
            let body = received.message.body();
            if stored.get(&key(received)).is_some_and(|first| first.says_the_same_as(&body)) {
                counters.duplicates += 1;
            } else {
                counters.dead_letters += 1;
                dead_letters.push((record, DeadLetterReason::ConflictingDuplicate));
            }
        }
        Ok(Settled { after, touched, aliases: alias::first_named(aliases), dead_letters, counters })
    }
}

/// The latest messages of dialogs that were active before, now that it is known which are new: a duplicate
/// extends nothing.
fn touch_inserted(
    mut touched: BatchMap<Uuid, TouchedDialog>,
    messages: &[NewMessage<'_>],
    inserted: &Inserted,
    after: &mut ClientStates,
) -> Vec<TouchedDialog> {
    if touched.is_empty() {
        return Vec::new();
    }
    let before: BatchMap<Uuid, Option<Timestamp>> =
        touched.values().map(|dialog| (dialog.id, dialog.last_message_at)).collect();
    let mut new: Vec<&NewMessage<'_>> = messages
        .iter()
        .filter(|message| touched.contains_key(&message.dialog_id))
        .filter(|message| inserted.holds(message.record))
        .collect();
    new.sort_unstable_by_key(|message| (message.record.raw.partition, message.record.raw.offset));
    for NewMessage { record, received, dialog_id, .. } in new {
        if let Some(dialog) = touched.get_mut(dialog_id) {
            dialog.last_message_at =
                latest(dialog.last_message_at, received.idle_gap, record.raw.appended_at);
        }
    }
    for dialog in touched.values() {
        let active = after.get_mut(&dialog.client_id).and_then(|state| state.active.as_mut());
        if let Some(active) = active.filter(|active| active.id == dialog.id) {
            active.last_message_at = dialog.last_message_at;
        }
    }
    touched.into_values().filter(|dialog| before.get(&dialog.id) != Some(&dialog.last_message_at)).collect()
}

pub fn key(received: &Received) -> MessageKey<'_> {
    (received.message.client_id(), received.message.external_message_id().as_str())
}
