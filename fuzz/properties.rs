//! What has to hold for any bytes at all. The fuzz targets look for bytes for which it does not; the test
//! `schemas/tests/corpora.rs` tries those of the corpora with the stable toolchain.
#![allow(dead_code, reason = "each target uses one of them")]

use schemas::{Envelope, Event, Message, PartitionCount, Phone, RecordView, Timestamp, batch, record};
use serde_json::Value;

/// Bytes are a message or a refusal; a message is written so that it is read as the same one, from its
/// canonical form and from its record.
pub fn message(data: &[u8]) {
    let received_at = Timestamp::from_micros(1_795_521_600_000_000).unwrap();
    let Ok(message) = Message::parse(data, received_at) else { return };
    let canonical = message.to_canonical_json();
    let again = Message::parse(&canonical, received_at).unwrap();
    assert_eq!(again, message);
    assert_eq!(again.to_canonical_json(), canonical);

    let count = PartitionCount::new(12).unwrap();
    let event = Event::MessageReceived(Box::new(message));
    let envelope = Envelope { received_at, request_id: None, trace_parent: None };
    let encoded = record::encode(&event, &envelope);
    let view = RecordView {
        key: Some(encoded.key.as_bytes()),
        value: Some(&encoded.value),
        headers: encoded.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes()))),
    };
    let partition = event.client_id().partition(count);
    assert_eq!(record::decode(view, partition, count).unwrap(), (event, envelope));
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

/// A phone is in E.164 syntax, and a normalised one stays as it is, also with other separators.
pub fn phone(data: &[u8]) {
    let Ok(phone) = std::str::from_utf8(data).map_err(drop).and_then(|text| Phone::parse(text).map_err(drop))
    else {
        return;
    };
    let digits = phone.as_str().strip_prefix('+').unwrap();
    assert!((7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()));
    assert!(!digits.starts_with('0'));
    assert_eq!(Phone::parse(phone.as_str()).unwrap(), phone);
    let spaced: String =
        phone.as_str().chars().flat_map(|character| [character, ' ', '(', ')', '.', '-']).collect();
    assert_eq!(Phone::parse(&spaced).unwrap(), phone);
}
