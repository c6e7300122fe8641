//! The rule, written down once more and as plainly as it can be: one record after the other, everything
//! remembered. Shares the names of rows and the id of a dialog with the product, nothing else.

use std::collections::HashMap;

use processor::domain::{
    decode::Content,
    position::{Offset, dialog_id},
};
use schemas::{Body, Timestamp};
use uuid::Uuid;

use crate::{
    tables::{DialogRow, MessageRow, Tables},
    topic::{Says, Topic, TopicPartition, alias, client_id, is_quiet},
};

#[derive(Default)]
struct Client {
    texts: HashMap<u8, u8>,
    active: Option<Uuid>,
    /// Milliseconds.
    last: Option<i64>,
}

pub fn fold(topic: &Topic) -> Tables {
    let mut tables = Tables::default();
    for partition in &topic.partitions {
        fold_partition(topic.id, partition, &mut tables);
    }
    tables
}

fn fold_partition(topic_id: Uuid, partition: &TopicPartition, tables: &mut Tables) {
    let mut clients: HashMap<usize, Client> = HashMap::new();
    for (offset, entry) in (0..).zip(&partition.entries) {
        let place = (partition.id, Offset(offset));
        let progress = tables.progress.entry(partition.id).or_default();
        progress.0 = offset + 1;
        let counters = &mut progress.1;
        let id = client_id(partition.id, entry.client);
        let client = clients.entry(entry.client).or_default();
        let now = at(entry.appended_ms);
        let (message, text) = match entry.says {
            Says::Nothing => {
                counters.dead_letters += 1;
                tables.dead_letters.insert(place, "malformed_json");
                continue;
            }
            Says::Close => {
                counters.commands += 1;
                if let Some(dialog) = client.active.take() {
                    tables.dialogs.get_mut(&(id, dialog)).unwrap().closed = Some((now, "command"));
                }
                continue;
            }
            Says::Message { id, text, .. } => (id, text),
        };
        match client.texts.get(&message) {
            Some(first) if *first == text => {
                counters.duplicates += 1;
                continue;
            }
            Some(_) => {
                counters.dead_letters += 1;
                tables.dead_letters.insert(place, "conflicting_duplicate");
                continue;
            }
            None => client.texts.insert(message, text),
        };
        counters.messages += 1;
        if let Says::Message { aliases, .. } = &entry.says {
            for named in aliases {
                tables.aliases.entry((id, alias(named))).or_insert(place);
            }
        }
        tables.clients.entry(id).or_insert(now);
        let gap_ms = gap_ms(partition, entry.client, offset);
        if let (Some(dialog), Some(last), Some(gap)) = (client.active, client.last, gap_ms)
            && entry.appended_ms - last > gap
        {
            tables.dialogs.get_mut(&(id, dialog)).unwrap().closed = Some((at(last + gap), "idle_gap"));
            client.active = None;
        }
        if client.active.is_none() {
            let dialog = dialog_id(topic_id, partition.id, Offset(offset), now);
            let row = DialogRow { opened_at: now, closed: None, last_message_at: None, place };
            tables.dialogs.insert((id, dialog), row);
            (client.active, client.last) = (Some(dialog), None);
        }
        client.last =
            gap_ms.map(|_| client.last.map_or(entry.appended_ms, |last| last.max(entry.appended_ms)));
        let dialog = client.active.unwrap();
        tables.dialogs.get_mut(&(id, dialog)).unwrap().last_message_at = client.last.map(at);
        let row = MessageRow { dialog_id: dialog, body: body(partition, offset), place };
        tables.messages.insert((id, format!("m-{message}")), row);
    }
}

/// The gap in force at a record, in milliseconds.
fn gap_ms(partition: &TopicPartition, client: usize, offset: i64) -> Option<i64> {
    let version = partition.versions.iter().rfind(|version| version.from <= offset)?;
    let gap = if is_quiet(client) { version.quiet.or(version.all) } else { version.all }?;
    (gap > 0).then_some(gap * 1_000)
}

fn body(partition: &TopicPartition, offset: i64) -> Body {
    match &partition.records.get(usize::try_from(offset).unwrap()).unwrap().content {
        Content::Message(received) => received.message.body(),
        other => panic!("{other:?}"),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
