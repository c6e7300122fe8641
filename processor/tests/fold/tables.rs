//! The tables in memory, with what the statements of `store/statements.rs` and the constraints of the
//! migrations do to them, and `store/apply.rs` step for step.

use std::collections::{BTreeMap, HashSet};

use processor::{
    domain::{
        batch::Batch,
        batch_map::BatchSet,
        counters::Counters,
        decode::Record,
        fold::{
            self, ActiveDialog, Bodies, Cached, ClientState, ClientStates, Folded, Ids, Inserted, MessageKey,
            Settled,
        },
        position::Offset,
    },
    store::apply::Mode,
};
use schemas::{Body, ClientId, Partition, Timestamp};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogRow {
    pub opened_at: Timestamp,
    pub closed: Option<(Timestamp, &'static str)>,
    pub last_message_at: Option<Timestamp>,
    pub place: (Partition, Offset),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub dialog_id: Uuid,
    pub body: Body,
    pub place: (Partition, Offset),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    pub clients: BTreeMap<ClientId, Timestamp>,
    pub dialogs: BTreeMap<(ClientId, Uuid), DialogRow>,
    pub messages: BTreeMap<(ClientId, String), MessageRow>,
    /// By whom each is named first.
    pub aliases: BTreeMap<(ClientId, String), (Partition, Offset)>,
    pub dead_letters: BTreeMap<(Partition, Offset), &'static str>,
    pub progress: BTreeMap<Partition, (i64, Counters)>,
}

impl Tables {
    pub fn next_offset(&self, partition: Partition) -> i64 {
        self.progress.get(&partition).map_or(0, |(next, _)| *next)
    }

    /// What a transaction with the batch leaves behind, and what the clients are then.
    pub fn applied(&self, topic_id: Uuid, batch: &Batch, cached: Cached, mode: Mode) -> (Self, ClientStates) {
        let mut tables = self.clone();
        let Cached { states: mut before, suspects } = cached;
        for client in batch.records().filter_map(Record::client_id) {
            before.entry(client).or_insert_with(|| tables.client_state(client));
        }
        let existing = tables.bodies(fold::lookups(batch, &before, &suspects));
        let folded = fold::fold(batch, topic_id, before, &existing);
        tables.write_clients_and_dialogs(&folded);
        let places = tables.insert_messages(&folded);
        let inserted = match mode {
            Mode::Copy => {
                assert_eq!(places.len(), folded.messages.len(), "messages_pkey");
                Inserted::All
            }
            Mode::Insert if places.len() == folded.messages.len() => Inserted::All,
            Mode::Insert => Inserted::Only(places),
        };
        let refused = folded.messages.iter().filter(|message| !inserted.holds(message.record));
        let mut stored = tables.bodies(refused.map(|message| fold::key(message.received)).collect());
        stored.extend(existing);
        let Settled { after, touched, aliases, dead_letters, counters } =
            folded.settle(&inserted, stored).unwrap();
        let mut written = HashSet::new();
        for alias in aliases {
            let key = (alias.client_id, alias.alias.as_str().to_owned());
            assert!(written.insert(key.clone()), "one statement names an alias once");
            tables.aliases.entry(key).or_insert((alias.raw.partition, alias.raw.offset));
        }
        for dialog in touched {
            let row = tables.dialogs.get_mut(&(dialog.client_id, dialog.id)).unwrap();
            row.last_message_at = dialog.last_message_at;
        }
        for (record, reason) in dead_letters {
            assert_eq!(tables.dead_letters.insert(place(record), reason.as_str()), None, "dead_letters_pkey");
        }
        for run in &batch.runs {
            let (next_offset, counted) = tables.progress.entry(run.partition).or_default();
            assert_eq!(*next_offset, run.from.0, "the compare-and-set");
            *next_offset = run.to.0;
            *counted += counters.get(&run.partition).copied().unwrap_or_default();
        }
        (tables, after)
    }

    /// What holds after every transaction.
    pub fn assert_sound(&self) {
        for (partition, (next_offset, counters)) in &self.progress {
            assert_eq!(*next_offset, counters.total(), "partition {partition}");
        }
        let mut active = HashSet::new();
        for ((client, _), _) in self.dialogs.iter().filter(|(_, dialog)| dialog.closed.is_none()) {
            assert!(active.insert(client), "dialogs_active_client_id_key");
        }
    }

    fn client_state(&self, client: ClientId) -> ClientState {
        let active = self.dialogs.range((client, Uuid::nil())..=(client, Uuid::max()));
        let mut active = active
            .filter(|(_, dialog)| dialog.closed.is_none())
            .map(|((_, id), dialog)| ActiveDialog { id: *id, last_message_at: dialog.last_message_at });
        ClientState {
            known: self.clients.contains_key(&client),
            active: active.next_back(),
            ids: Ids::Unknown,
        }
    }

    fn bodies<'a>(&self, keys: Vec<MessageKey<'a>>) -> Bodies<'a> {
        let row = |key: &MessageKey<'a>| self.messages.get(&(key.0, key.1.to_owned()));
        keys.into_iter().filter_map(|key| Some((key, row(&key)?.body))).collect()
    }

    fn write_clients_and_dialogs(&mut self, folded: &Folded<'_>) {
        for client in &folded.clients {
            let row = self.clients.insert(client.first.message.client_id(), client.created_at);
            assert_eq!(row, None, "clients_pkey");
        }
        for dialog in &folded.closed {
            let row = self.dialogs.get_mut(&(dialog.client_id, dialog.id)).unwrap();
            row.closed = row.closed.or(Some((dialog.closed_at, dialog.reason.as_str())));
        }
        for dialog in &folded.opened {
            let row = DialogRow {
                opened_at: dialog.opened_at,
                closed: dialog.closed.map(|(at, reason)| (at, reason.as_str())),
                last_message_at: dialog.last_message_at,
                place: (dialog.partition, dialog.opened_offset),
            };
            let is_second = row.closed.is_none() && self.client_state(dialog.client_id).active.is_some();
            assert!(!is_second, "dialogs_active_client_id_key");
            assert_eq!(self.dialogs.insert((dialog.client_id, dialog.id), row), None, "dialogs_pkey");
        }
    }

    fn insert_messages(&mut self, folded: &Folded<'_>) -> BatchSet<(Partition, Offset)> {
        let mut inserted = BatchSet::default();
        for message in &folded.messages {
            let (client, id) = fold::key(message.received);
            let place = place(message.record);
            self.messages.entry((client, id.to_owned())).or_insert_with(|| {
                inserted.insert(place);
                MessageRow { dialog_id: message.dialog_id, body: message.received.message.body(), place }
            });
        }
        inserted
    }
}

fn place(record: &Record) -> (Partition, Offset) {
    (record.raw.partition, record.raw.offset)
}
