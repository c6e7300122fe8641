//! Which topic the consumer reads. librdkafka asks the brokers for records by the topic's id, and follows a topic
//! that is created again under the same name; it tells nobody, save in a line of its debug log (`rdkafka_topic.c`,
//! `rd_kafka_topic_metadata_update`, with a FIXME). It writes that line before it first asks with the new id: what
//! was read until then is of the topic of before. From the line on, nothing that is read may be applied.
//!
//! Brokers before 3.1 are asked by name. With them, the look at the topic every few seconds has to do.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use uuid::Uuid;

/// The debug context of the line, and of few others.
pub const DEBUG_CONTEXT: &str = "metadata";

/// Whether the consumer reads the registered topic.
#[derive(Debug)]
pub struct Reading {
    /// The registered topic's id, as librdkafka writes it.
    registered: String,
    is_other: AtomicBool,
}

impl Reading {
    /// Of a consumer that is to read the topic with this id.
    pub fn new(registered: Uuid) -> Self {
        let registered = STANDARD_NO_PAD.encode(registered.as_bytes());
        Self { registered, is_other: AtomicBool::new(false) }
    }

    /// Looks at a line of the client's log, on the thread that writes it.
    pub fn on_log(&self, message: &str) {
        if topic_id(message).is_some_and(|id| id != self.registered) {
            self.is_other.store(true, Ordering::Release);
        }
    }

    /// Whether what is read now may be of another topic. It does not become false again: the consumer has to go.
    pub fn is_other(&self) -> bool {
        self.is_other.load(Ordering::Acquire)
    }
}

/// The id that a topic has from now on, if that is what the line says.
fn topic_id(message: &str) -> Option<&str> {
    let (_, ids) = message.split_once(" changed id from ")?;
    ids.split_once(" to ").map(|(_, id)| id.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTERED: Uuid = Uuid::from_u128(0xfb_ef_be_00_00_00_00_00_00_00_00_00_00_00_00_01);

    #[test]
    fn a_topic_with_another_id_is_noticed_and_not_forgotten() {
        let reading = Reading::new(REGISTERED);
        let line =
            |from: &str, to: &str| format!("[thrd:main]: Topic messages changed id from {from} to {to}");
        let registered = reading.registered.clone();
        reading.on_log(&line("AAAAAAAAAAAAAAAAAAAAAA", &registered));
        reading.on_log("[thrd:main]: Topic messages partition 3 Leader 1 Epoch 0");
        assert!(!reading.is_other());
        reading.on_log(&line(&registered, "AAAAAAAAAAAAAAAAAAAAAg"));
        reading.on_log(&line("AAAAAAAAAAAAAAAAAAAAAg", &registered));
        assert!(reading.is_other());
    }
}
