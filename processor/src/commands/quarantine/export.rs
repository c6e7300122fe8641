//! `processor quarantine export`: items with their documents, for another tool.

use std::io::{self, BufWriter, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::reading::{Found, Selection, read};
use crate::kafka::client::KafkaConfig;

/// Writes items to standard output, an object a line. Records of other programs are reported on standard
/// error.
///
/// # Errors
/// There is no such topic, the brokers did not answer, or standard output cannot be written.
pub fn export(kafka: &KafkaConfig, selection: &Selection) -> anyhow::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    let exported = read(kafka, selection, |found| {
        let line = as_json(&found, &kafka.topic);
        Ok(writeln!(output, "{line}")?)
    });
    let others = match exported.and_then(|others| Ok((others, output.flush()?))) {
        Ok((others, ())) => others.to_string(),
        // `| head` has seen enough.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !others.is_empty() {
        eprintln!("{others}");
    }
    Ok(())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An item as an object. A document that is no text stands in Base64, under a name that says so.
fn as_json(found: &Found, topic: &str) -> Value {
    let item = &found.item;
    let mut object = json!({
        "topic": topic,
        "partition": found.partition.0,
        "offset": found.offset.0,
        "appended_at": found.appended_at.to_string(),
        "received_at": item.received_at.to_string(),
        "request_id": item.request_id.to_string(),
        "item": item.item,
        "hook": item.hook,
        "producer": item.producer,
        "reason": item.reason,
        "detail": item.detail,
        "client_id": item.client_id.map(|client_id| client_id.key()),
        "content_type": item.content_type,
    });
    let (name, document) = match std::str::from_utf8(&item.document) {
        Ok(text) => ("document", text.to_owned()),
        Err(_) => ("document_base64", STANDARD.encode(&item.document)),
    };
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), document.into());
    }
    object
}

#[cfg(test)]
mod tests {
    use schemas::{ClientId, Partition, Quarantined, RequestId, Timestamp};

    use super::*;
    use crate::domain::position::Offset;

    fn found(document: &[u8]) -> Found {
        Found {
            partition: Partition(1),
            offset: Offset(42),
            appended_at: Timestamp::parse("2026-11-24T04:35:01Z").unwrap(),
            item: Quarantined {
                client_id: ClientId::parse(b"e60660c7-bd8f-5ba9-b814-6dbee9550932"),
                hook: "whatsapp".to_owned(),
                producer: "meta".to_owned(),
                reason: "too_long".to_owned(),
                detail: "text: must have at most 65536 characters".to_owned(),
                document: document.to_vec(),
                content_type: "application/json".to_owned(),
                received_at: Timestamp::parse("2026-11-24T04:35:00Z").unwrap(),
                request_id: RequestId::parse("r-1").unwrap(),
                item: 3,
            },
        }
    }

    #[test]
    fn an_item_is_exported_with_all_that_is_known_of_it() {
        let expected = json!({
            "topic": "telex.quarantine", "partition": 1, "offset": 42, "appended_at": "2026-11-24T04:35:01.000000Z",
            "received_at": "2026-11-24T04:35:00.000000Z", "request_id": "r-1", "item": 3, "hook": "whatsapp",
            "producer": "meta", "reason": "too_long", "detail": "text: must have at most 65536 characters",
            "client_id": "e60660c7-bd8f-5ba9-b814-6dbee9550932", "content_type": "application/json",
            "document": "{\"a\":1}",
        });
        assert_eq!(as_json(&found(b"{\"a\":1}"), "telex.quarantine"), expected);
    }

    #[test]
    fn a_document_that_is_no_text_is_exported_in_base64() {
        let object = as_json(&found(b"\xff\0"), "telex.quarantine");
        assert_eq!(object["document_base64"], "/wA=");
        assert_eq!(object.get("document"), None);
    }
}
