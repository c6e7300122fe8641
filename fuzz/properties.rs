//! What has to hold for any bytes at all. The fuzz targets look for bytes for which it does not; the test
//! `schemas/tests/corpora.rs` tries those of the corpora with the stable toolchain.
#![allow(dead_code, reason = "each target uses one of them")]

use schemas::{
    Address, DEPTH_MAX, Envelope, Event, Message, PartitionCount, Phone, Posted, RecordView, Timestamp,
    batch, record, v1,
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Bytes are a message or a refusal; a message is written so that it is read as the same one, with the same
/// other members, from its record, and by another parser. What the rules of version 1 take, version 2 takes.
pub fn message(data: &[u8]) {
    let received_at = Timestamp::from_micros(1_795_521_600_000_000).unwrap();
    if let Ok(of_version_1) = v1::parse(data, received_at) {
        let of_version_2 = Message::parse_of_version_2(data, received_at).unwrap();
        assert_eq!(of_version_2.body().own, of_version_1.body().own);
    }
    let Ok(posted) = Posted::parse(data, received_at) else { return };
    assert_eq!(posted.message, Message::parse(data, received_at).unwrap());
    let envelope = Envelope { received_at, request_id: None, trace_parent: None };
    let encoded = record::encode_message(&posted.message, &posted.others, &envelope);
    let again = Posted::parse(&encoded.value, received_at).unwrap();
    assert_eq!((&again.message, again.warnings.len()), (&posted.message, 0));
    assert_eq!(record::encode_message(&again.message, &again.others, &envelope), encoded);
    assert!(serde_json::from_slice::<IgnoredAny>(&encoded.value).is_ok());
    assert!(nesting(&encoded.value) <= DEPTH_MAX);

    let count = PartitionCount::new(12).unwrap();
    let event = Event::MessageReceived(Box::new(posted.message));
    let view = RecordView {
        key: Some(encoded.key.as_bytes()),
        value: Some(&encoded.value),
        headers: encoded.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))),
    };
    let partition = event.client_id().partition(count);
    assert_eq!(record::decode(view, partition, count).unwrap(), (event, envelope));
}

/// How deep arrays and objects are nested in a text that is JSON.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0, 0, false, false);
    for byte in json {
        match (byte, in_string) {
            (_, true) if is_escaped => is_escaped = false,
            (b'\\', true) => is_escaped = true,
            (b'"', _) => in_string = !in_string,
            (b'[' | b'{', false) => depth += 1,
            (b']' | b'}', false) => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// What serde_json reads as an array is split into the same items; items put together again are split the
/// same way.
pub fn batch(data: &[u8]) {
    let split = batch::json_array(data);
    if let Ok(values) = serde_json::from_slice::<Vec<Value>>(data)
        && (1..=batch::ITEMS_MAX).contains(&values.len())
    {
        let items = split.as_ref().unwrap();
        assert_eq!(items.len(), values.len());
        for (item, value) in items.iter().zip(values) {
            assert_eq!(serde_json::from_slice::<Value>(item).unwrap(), value);
        }
    }
    if let Ok(items) = split {
        let joined = [&b"["[..], &items.join(&b","[..]), b"]"].concat();
        assert_eq!(batch::json_array(&joined).unwrap(), items);
    }
    if let Ok(items) = batch::ndjson(data) {
        assert!(items.iter().all(|item| !item.contains(&b'\n')));
        assert_eq!(batch::ndjson(&items.join(&b'\n')).unwrap().len(), items.len());
    }
}

/// A phone is in E.164 syntax, and a normalised one stays as it is, also with other separators. What is an
/// address but no phone begins with its scheme, and is kept as it came.
pub fn phone(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(Address::Id(id)) = Address::parse(text) {
        assert!(
            text.starts_with(id.scheme().as_str())
                && text.starts_with(|first: char| first.is_ascii_lowercase())
        );
        assert!(Phone::parse(text).is_err());
        assert_eq!(Address::Id(id).as_str(), text);
        return;
    }
    let Ok(phone) = Phone::parse(text) else { return };
    assert_eq!(Address::parse(text).unwrap(), Address::from(phone.clone()));
    let digits = phone.as_str().strip_prefix('+').unwrap();
    assert!((7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
    assert!(!digits.starts_with('0'));
    assert_eq!(Phone::parse(phone.as_str()).unwrap(), phone);
    let spaced: String =
        phone.as_str().chars().flat_map(|character| [character, ' ', '(', ')', '.', '-']).collect();
    assert_eq!(Phone::parse(&spaced).unwrap(), phone);
}
