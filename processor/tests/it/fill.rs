//! A topic filled without an ingest API: many records, of every kind.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::{
    DialogClose, Envelope, Event, Message, Partition, PartitionCount, Posted, RequestId, Timestamp,
    record::{EncodedRecord, MESSAGE_RECEIVED_V1, encode, encode_message, header},
};
use serde_json::json;

use crate::harness::Telex;

/// What was written beside new messages.
#[derive(Debug, Default)]
pub struct Filled {
    pub duplicates: u32,
    pub conflicts: u32,
    pub closes: u32,
    pub garbage: u32,
}

/// Writes so many records: messages of a fifth as many clients, and in a hundred five that repeat one, one
/// that reuses an id, two that close a dialog; one in five hundred is no JSON.
pub fn fill(telex: &Telex, records: u32) -> Filled {
    let producer = producer(telex);
    let mut filled = Filled::default();
    // Not a multiple of a hundred, or the kinds below would only ever meet their own.
    let clients = records / 5 + 37;
    for number in 0..records {
        // A number that jumps about but comes again in every run.
        let client = number.wrapping_mul(2_654_435_761) % clients;
        // An id that this client has used: its last message that was none of the kinds below.
        let before = number.checked_sub(clients).filter(|_| number % 100 < 6);
        match (number % 100, before) {
            (0..5, Some(before)) if before % 100 >= 10 => {
                filled.duplicates += 1;
                let client = before.wrapping_mul(2_654_435_761) % clients;
                send(&producer, telex, &received(client, before, before));
            }
            (5, Some(before)) if before % 100 >= 10 => {
                filled.conflicts += 1;
                let client = before.wrapping_mul(2_654_435_761) % clients;
                send(&producer, telex, &received(client, before, number));
            }
            (7 | 8, _) => {
                filled.closes += 1;
                let client_id = received(client, 0, 0).client_id();
                send(&producer, telex, &Event::DialogClose(DialogClose { client_id }));
            }
            // A minute of a partition has room for a hundred dead letters of this kind.
            (9, _) if number % 500 == 9 && number < 300_000 => {
                filled.garbage += 1;
                let mut record = encode(&received(client, number, number), &envelope());
                record.value = b"{".to_vec();
                produce(&producer, telex, &record);
            }
            _ => send(&producer, telex, &received(client, number, number)),
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    filled
}

fn received(client: u32, id: u32, text: u32) -> Event {
    let mut body = json!({
        "external_client_id": format!("source-{}", client % 7),
        "external_message_id": format!("message-{id}"),
        "text": format!("The text of message {text}, about as long as what people write in a chat."),
        "sent_at": "2026-11-24T04:35:00.123456Z",
    });
    match client % 10 {
        9 => body["client_address"] = format!("tg:{client}").into(),
        _ => body["client_phone"] = format!("+7{client:010}").into(),
    }
    if client % 5 == 4 {
        body["aliases"] = json!([format!("wa:GB.{}", client % 50), format!("username:{}", text % 3)]);
    }
    Event::MessageReceived(Box::new(Message::parse(body.to_string().as_bytes(), now()).unwrap()))
}

pub fn envelope() -> Envelope {
    Envelope {
        received_at: now(),
        request_id: Some(RequestId::parse("019ab67c-6000-79ed-953b-e2b70fc06d10").unwrap()),
        trace_parent: None,
    }
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T04:35:01Z").unwrap()
}

pub fn producer(telex: &Telex) -> BaseProducer {
    #[expect(clippy::disallowed_methods, reason = "a producer of the tests")]
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &telex.programs.kafka).set("linger.ms", "20").create().unwrap()
}

fn send(producer: &BaseProducer, telex: &Telex, event: &Event) {
    produce(producer, telex, &encode(event, &envelope()));
}

/// The record of a message as the ingest API writes it.
pub fn encoded(body: &str) -> EncodedRecord {
    let envelope = envelope();
    let posted = Posted::parse(body.as_bytes(), envelope.received_at).unwrap();
    encode_message(&posted.message, &posted.others, &envelope)
}

/// The same record of version 1.
pub fn as_version_1(mut record: EncodedRecord) -> EncodedRecord {
    for (name, value) in &mut record.headers {
        if *name == header::TYPE {
            *value = MESSAGE_RECEIVED_V1.into();
        }
    }
    record
}

pub fn headers(record: &EncodedRecord) -> OwnedHeaders {
    record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_ref()) })
    })
}

/// Writes a record, which is in the topic afterwards.
pub fn write(telex: &Telex, record: &EncodedRecord) {
    let producer = producer(telex);
    produce(&producer, telex, record);
    producer.flush(Duration::from_secs(10)).unwrap();
}

pub fn produce(producer: &BaseProducer, telex: &Telex, record: &EncodedRecord) {
    let count = PartitionCount::new(dev_env::programs::PARTITIONS).unwrap();
    let partition = Partition::of_key(record.key.as_bytes(), count);
    let mut waiting = BaseRecord::to(&telex.programs.topic)
        .key(&record.key)
        .payload(&record.value)
        .partition(partition.0)
        .headers(headers(record));
    while let Err((error, refused)) = producer.send(waiting) {
        assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
        producer.poll(Duration::from_millis(10));
        waiting = refused;
    }
    producer.poll(Duration::ZERO);
}
