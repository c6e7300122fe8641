//! The golden record of the quarantine: written the same way, byte for byte, and read forever.
#![expect(clippy::unwrap_used, reason = "a broken golden file fails the test")]

use schemas::{ClientId, Quarantined, RequestId, Timestamp};
use serde_json::Value;

const GOLDEN: &str = include_str!("golden/telex.item.quarantined.v1.json");

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn input(golden: &Value) -> Quarantined {
    let input = &golden["input"];
    Quarantined {
        client_id: ClientId::parse(text(&input["client_id"]).as_bytes()),
        hook: text(&input["hook"]),
        producer: text(&input["producer"]),
        reason: text(&input["reason"]),
        detail: text(&input["detail"]),
        document: text(&input["document"]).into_bytes(),
        content_type: text(&input["content_type"]),
        received_at: Timestamp::parse(&text(&golden["received_at"])).unwrap(),
        request_id: RequestId::parse(text(&golden["request_id"])).unwrap(),
        item: serde_json::from_value(input["item"].clone()).unwrap(),
    }
}

#[test]
fn an_item_is_written_as_it_was() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let (written, expected) = (input(&golden).encode(), &golden["record"]);
    assert_eq!(written.key, expected["key"]);
    assert_eq!(String::from_utf8(written.value).unwrap(), expected["value"]);
    let headers: Vec<Value> =
        written.headers.iter().map(|(name, value)| [*name, value].as_slice().into()).collect();
    assert_eq!(Value::from(headers), expected["headers"]);
}

#[test]
fn an_item_that_was_ever_written_is_read() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let record = &golden["record"];
    let headers: Vec<(String, String)> = serde_json::from_value(record["headers"].clone()).unwrap();
    let (key, value) = (text(&record["key"]), text(&record["value"]));
    let headers = headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes())));
    let read = Quarantined::decode(Some(key.as_bytes()), Some(value.as_bytes()), headers);
    assert_eq!(read, Ok(input(&golden)));
}
