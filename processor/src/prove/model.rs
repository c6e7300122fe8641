//! What the records of one client say, taken one after the other. Deliberately naive: no batches, no
//! lookups, no cache. The rule by which dialogs open and close stands here, and nowhere else in `prove`.

use std::collections::HashMap;

use schemas::{Body, Partition, Timestamp};
use uuid::Uuid;

use super::entries::{ClientRecord, Said};
use crate::domain::position::{Offset, dialog_id};

/// `close_reason` of a dialog that a record closed.
const COMMAND: &str = "command";
/// `close_reason` of a dialog that ended because its client was silent.
pub const IDLE_GAP: &str = "idle_gap";

/// A dialog that has to be in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialog {
    pub id: Uuid,
    /// The record that opened it.
    pub partition: Partition,
    pub opened_offset: Offset,
    pub opened_at: Timestamp,
    /// When it ended, and why.
    pub closed: Option<(Timestamp, &'static str)>,
    /// When its latest message was appended, while an idle gap applies.
    pub last_message_at: Option<Timestamp>,
}

/// When the latest message of a dialog was appended, once one more was, to whose client the gap applies or
/// not. The broker's clock may step back; what is known does not.
pub fn latest(last: Option<Timestamp>, appended_at: Timestamp, has_gap: bool) -> Option<Timestamp> {
    if has_gap { last.max(Some(appended_at)) } else { None }
}

/// What has to have become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A message in this dialog.
    Message(Uuid),
    Duplicate,
    /// A dead letter: its id was used before with another body.
    Conflict,
    Command,
}

/// What the records of one client have said so far.
#[derive(Debug)]
pub struct Model {
    topic_id: Uuid,
    dialogs: Vec<Dialog>,
    /// The bodies by message id.
    bodies: HashMap<[u8; 16], Body>,
}

impl Model {
    /// Before any client.
    pub fn new(topic_id: Uuid) -> Self {
        Self { topic_id, dialogs: Vec::new(), bodies: HashMap::new() }
    }

    /// Before the first record of the next client, whose dialog `active` was open already.
    pub fn start(&mut self, active: Option<Dialog>) {
        // A client with very many messages must not decide how much is kept for all others.
        if self.bodies.capacity() > 10_000 {
            self.bodies = HashMap::new();
        }
        self.bodies.clear();
        self.dialogs.clear();
        self.dialogs.extend(active);
    }

    pub fn step(&mut self, record: &ClientRecord) -> Outcome {
        match record.said {
            Said::Message { id, body, idle_gap } => match self.bodies.get(&id) {
                Some(first) if is_same(first, &body) => Outcome::Duplicate,
                Some(_) => Outcome::Conflict,
                None => {
                    self.bodies.insert(id, body);
                    Outcome::Message(self.active_or_opened(record, idle_gap))
                }
            },
            Said::Repeat { same_body: true } => Outcome::Duplicate,
            Said::Repeat { same_body: false } => Outcome::Conflict,
            Said::Close => {
                if let Some(dialog) = self.active() {
                    dialog.closed = Some((record.appended_at, COMMAND));
                }
                Outcome::Command
            }
        }
    }

    /// The client's dialogs in the order in which they were opened.
    pub fn dialogs(&self) -> &[Dialog] {
        &self.dialogs
    }

    fn active(&mut self) -> Option<&mut Dialog> {
        self.dialogs.last_mut().filter(|dialog| dialog.closed.is_none())
    }

    /// `idle_gap`: in seconds, 0 if the dialog is never idle.
    fn active_or_opened(&mut self, record: &ClientRecord, idle_gap: i64) -> Uuid {
        let (appended_at, has_gap) = (record.appended_at, idle_gap > 0);
        if let Some(dialog) = self.active() {
            let end = dialog.last_message_at.filter(|_| has_gap).and_then(|last| {
                Timestamp::from_micros(last.as_micros().saturating_add(idle_gap.saturating_mul(1_000_000)))
            });
            match end.filter(|end| appended_at > *end) {
                Some(end) => dialog.closed = Some((end, IDLE_GAP)),
                None => {
                    dialog.last_message_at = latest(dialog.last_message_at, appended_at, has_gap);
                    return dialog.id;
                }
            }
        }
        let id = dialog_id(self.topic_id, record.partition, record.offset, appended_at);
        self.dialogs.push(Dialog {
            id,
            partition: record.partition,
            opened_offset: record.offset,
            opened_at: appended_at,
            closed: None,
            last_message_at: latest(None, appended_at, has_gap),
        });
        id
    }
}

/// Whether two records with one message id say the same. By version 1 the sender's own members counted, too:
/// where one of the two is of that version and the other is not, only what both look at is compared. The row of a client that
/// was erased looks as if it were of version 1: its hash is that of a text that is gone.
pub fn is_same(first: &Body, later: &Body) -> bool {
    let [of_2, other_of_2] = [first, later].map(|body| body.own == body.hash);
    first.hash == later.hash || (of_2 != other_of_2 && first.own == later.own)
}

#[cfg(test)]
mod tests {
    use schemas::{BodyHash, ClientId};

    use super::*;

    fn record(offset: i64, said: Said) -> ClientRecord {
        let (client, place) = (ClientId::from_uuid(Uuid::nil()), (Partition(0), Offset(offset)));
        ClientRecord::of(client, place, Timestamp::from_millis(1_000 + offset).unwrap(), said)
    }

    const fn body_of(number: u8) -> Body {
        Body { hash: BodyHash([number; 16]), own: BodyHash([number; 16]) }
    }

    const fn message(id: u8, body: u8) -> Said {
        Said::Message { id: [id; 16], body: body_of(body), idle_gap: 0 }
    }

    #[test]
    fn only_a_new_message_opens_a_dialog_and_only_a_command_closes_it() {
        let mut model = Model::new(Uuid::nil());
        model.start(None);
        assert_eq!(model.step(&record(0, Said::Close)), Outcome::Command);
        let Outcome::Message(first) = model.step(&record(1, message(1, 1))) else { panic!() };
        assert_eq!(model.step(&record(2, message(2, 2))), Outcome::Message(first));
        model.step(&record(3, Said::Close));
        assert_eq!(model.step(&record(4, message(1, 1))), Outcome::Duplicate);
        assert_eq!(model.step(&record(5, message(1, 9))), Outcome::Conflict);
        assert_eq!(model.step(&record(6, Said::Repeat { same_body: true })), Outcome::Duplicate);
        assert_eq!(model.step(&record(7, Said::Repeat { same_body: false })), Outcome::Conflict);
        let Outcome::Message(second) = model.step(&record(8, message(3, 3))) else { panic!() };
        assert_ne!(first, second);
        let closed: Vec<_> = model.dialogs().iter().map(|d| (d.opened_offset.0, d.closed)).collect();
        assert_eq!(closed, [(1, Some((Timestamp::from_millis(1_003).unwrap(), "command"))), (8, None)]);
    }

    #[test]
    fn a_silence_longer_than_the_gap_ends_a_dialog_and_no_gap_forgets_how_long_it_lasts() {
        let at = |millis: i64| Timestamp::from_millis(1_000 + millis).unwrap();
        let gap = |id: u8, idle_gap| Said::Message { id: [id; 16], body: body_of(id), idle_gap };
        let mut model = Model::new(Uuid::nil());
        model.start(None);
        let first = model.step(&record(0, gap(1, 1)));
        assert_eq!(model.step(&record(1_000, gap(2, 1))), first, "not longer than the gap");
        assert_eq!(model.step(&record(500, gap(3, 1))), first, "the broker's clock stepped back");
        assert_eq!(model.step(&record(2_001, gap(2, 1))), Outcome::Duplicate, "extends nothing");
        assert_ne!(model.step(&record(2_001, gap(4, 1))), first);
        assert_eq!(model.dialogs()[0].closed, Some((at(2_000), IDLE_GAP)));
        assert_eq!(model.dialogs()[1].last_message_at, Some(at(2_001)));
        model.step(&record(2_002, gap(5, 0)));
        assert_eq!(model.dialogs()[1].last_message_at, None);
        model.step(&record(9_000, gap(6, 1)));
        assert_eq!((model.dialogs().len(), model.dialogs()[1].last_message_at), (2, Some(at(9_000))));
    }

    #[test]
    fn versions_are_compared_by_what_both_look_at() {
        let body = |hash, own| Body { hash: BodyHash([hash; 16]), own: BodyHash([own; 16]) };
        assert!(is_same(&body(1, 9), &body(1, 9)) && !is_same(&body(1, 9), &body(2, 9)), "both of version 1");
        assert!(is_same(&body(9, 9), &body(9, 9)) && !is_same(&body(9, 9), &body(8, 8)), "both of version 2");
        assert!(is_same(&body(1, 9), &body(9, 9)) && is_same(&body(9, 9), &body(1, 9)));
        assert!(!is_same(&body(1, 9), &body(8, 8)) && !is_same(&body(8, 8), &body(1, 9)));
        assert!(is_same(&body(9, 3), &body(9, 9)), "an erased row, and its message again");
    }

    #[test]
    fn clients_know_nothing_of_each_other_and_an_open_dialog_is_continued() {
        let mut model = Model::new(Uuid::nil());
        model.start(None);
        model.step(&record(0, message(1, 1)));
        let open = model.dialogs()[0];
        model.start(Some(open));
        assert_eq!(model.step(&record(1, message(1, 2))), Outcome::Message(open.id));
        model.start(None);
        assert!(model.dialogs().is_empty());
    }
}
