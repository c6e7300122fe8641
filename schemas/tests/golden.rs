//! Golden records: a file for each event type and version. What was once written must be written
//! the same way, byte for byte, and read for ever.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken golden file fails the test")]

use schemas::{
    ClientId, DialogClose, Envelope, Event, Message, PartitionCount, RecordView, RequestId, Timestamp,
    TraceParent, record,
};
use serde_json::Value;

/// Encodes the file's event, compares it with the file's record, and decodes that record again.
fn check(golden: &str, event: impl FnOnce(&Value, Timestamp) -> Event) {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let envelope = Envelope {
        received_at: Timestamp::parse(&text(&golden["received_at"])).unwrap(),
        request_id: Some(RequestId::parse(text(&golden["request_id"])).unwrap()),
        trace_parent: Some(TraceParent::parse(text(&golden["traceparent"])).unwrap()),
    };
    let event = event(&golden["input"], envelope.received_at);
    let expected = &golden["record"];

    let encoded = record::encode(&event, &envelope);
    assert_eq!(encoded.key, expected["key"]);
    assert_eq!(String::from_utf8(encoded.value.clone()).unwrap(), expected["value"]);
    let headers: Vec<Value> =
        encoded.headers.iter().map(|(name, value)| [*name, value].as_slice().into()).collect();
    assert_eq!(Value::from(headers), expected["headers"]);
    let count = PartitionCount::new(12).unwrap();
    let partition = event.client_id().partition(count);
    assert_eq!(partition.0, expected["partition_of_12"]);

    let headers: Vec<(String, String)> = serde_json::from_value(expected["headers"].clone()).unwrap();
    let (key, value) = (text(&expected["key"]), text(&expected["value"]));
    let view = RecordView {
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))),
    };
    assert_eq!(record::decode(view, partition, count).unwrap(), (event, envelope));
}

#[test]
fn a_message_of_version_1_is_written_and_read_as_ever() {
    check(include_str!("golden/telex.message.received.v1.json"), |input, received_at| {
        let message = Message::parse(input.to_string().as_bytes(), received_at).unwrap();
        assert_eq!(
            message.body_hash().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "d32a2be1f0e164bec3a036d39825055f"
        );
        Event::MessageReceived(Box::new(message))
    });
}

#[test]
fn a_dialog_close_of_version_1_is_written_and_read_as_ever() {
    check(include_str!("golden/telex.dialog.close.v1.json"), |input, _| {
        let client_id = ClientId::parse(input["client_id"].as_str().unwrap().as_bytes()).unwrap();
        Event::DialogClose(DialogClose { client_id })
    });
}
