//! Golden records: a file for each event type and version. What is written must be written the same way, byte
//! for byte, and what was ever written must be read forever.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken golden file fails the test"
)]

use schemas::{
    Address, ClientId, DialogClose, EncodedRecord, Envelope, Event, PartitionCount, Posted, RecordView,
    RequestId, Timestamp, TraceParent, record,
};
use serde_json::Value;

const OF_VERSION_1: &str = include_str!("golden/telex.message.received.v1.json");
const OF_VERSION_2: &str = include_str!("golden/telex.message.received.v2.json");
const OF_VERSION_3: &str = include_str!("golden/telex.message.received.v3.json");
const CLOSE: &str = include_str!("golden/telex.dialog.close.v1.json");

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Encodes the file's input, and compares it with the file's record.
fn written(golden: &str, encode: impl FnOnce(&Value, &Envelope) -> EncodedRecord) {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let envelope = Envelope {
        received_at: Timestamp::parse(&text(&golden["received_at"])).unwrap(),
        request_id: Some(RequestId::parse(text(&golden["request_id"])).unwrap()),
        trace_parent: Some(TraceParent::parse(text(&golden["traceparent"])).unwrap()),
    };
    let expected = &golden["record"];
    let encoded = encode(&golden["input"], &envelope);
    assert_eq!(encoded.key, expected["key"]);
    assert_eq!(String::from_utf8(encoded.value.clone()).unwrap(), expected["value"]);
    let headers: Vec<Value> =
        encoded.headers.iter().map(|(name, value)| [*name, value].as_slice().into()).collect();
    assert_eq!(Value::from(headers), expected["headers"]);
}

fn read(golden: &str) -> Event {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let expected = &golden["record"];
    let headers: Vec<(String, String)> = serde_json::from_value(expected["headers"].clone()).unwrap();
    let (key, value) = (text(&expected["key"]), text(&expected["value"]));
    let view = RecordView {
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))),
    };
    let count = PartitionCount::new(12).unwrap();
    let partition = ClientId::parse(key.as_bytes()).unwrap().partition(count);
    assert_eq!(partition.0, expected["partition_of_12"]);
    let (event, envelope) = record::decode(view, partition, count).unwrap();
    assert_eq!(envelope.received_at, Timestamp::parse(&text(&golden["received_at"])).unwrap());
    assert_eq!(envelope.request_id.unwrap().as_str(), text(&golden["request_id"]));
    assert_eq!(envelope.trace_parent.unwrap().as_str(), text(&golden["traceparent"]));
    event
}

/// What every version of the message says, and the hash of its body by its version's rules.
fn assert_is_the_message(event: &Event, address: &str, body_hash: &str) {
    let Event::MessageReceived(message) = event else { panic!("{event:?}") };
    assert_eq!(message.external_client_id().as_str(), "client00000000000000000000000000");
    assert_eq!(message.address().as_str(), address);
    assert_eq!(message.external_message_id().as_str(), "wamid.1");
    assert_eq!(message.text().as_str(), "Привет, \"Telex\" 👋\n");
    assert_eq!(message.sent_at(), Some(Timestamp::parse("2026-11-24T04:34:59.5Z").unwrap()));
    let hash = message.body().hash.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hash, body_hash);
}

#[test]
fn a_message_of_version_1_is_read_as_ever() {
    assert_is_the_message(&read(OF_VERSION_1), "+70000000000", "d32a2be1f0e164bec3a036d39825055f");
}

#[test]
fn a_message_of_version_2_is_written_and_read_as_ever() {
    written(OF_VERSION_2, encode_posted);
    assert_is_the_message(&read(OF_VERSION_2), "+70000000000", "d71014ef9eb1f365ad6dcf4f9fa84945");
}

#[test]
fn a_message_of_version_3_is_written_and_read_as_ever() {
    written(OF_VERSION_3, encode_posted);
    let event = read(OF_VERSION_3);
    assert_is_the_message(&event, "wa:GB.9000000001", "f9a358b6c695053ec8638fbffc5e434d");
    let Event::MessageReceived(message) = event else { panic!("{event:?}") };
    let aliases: Vec<&str> = message.aliases().iter().map(Address::as_str).collect();
    assert_eq!(aliases, ["+70000000000", "username:аnna"]);
}

fn encode_posted(input: &Value, envelope: &Envelope) -> EncodedRecord {
    let body = text(input);
    let posted = Posted::parse(body.as_bytes(), envelope.received_at).unwrap();
    record::encode_message(&posted.message, &posted.others, envelope)
}

#[test]
fn a_dialog_close_of_version_1_is_written_and_read_as_ever() {
    let golden: Value = serde_json::from_str(CLOSE).unwrap();
    let client_id = ClientId::parse(text(&golden["input"]["client_id"]).as_bytes()).unwrap();
    let event = Event::DialogClose(DialogClose { client_id });
    written(CLOSE, |_, envelope| record::encode(&event, envelope));
    assert_eq!(read(CLOSE), event);
}
