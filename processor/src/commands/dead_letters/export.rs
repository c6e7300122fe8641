//! `processor dead-letters export`: letters with their content, for another tool.

use serde_json::{Map, Value, json};

use super::super::output::say;
use crate::{
    domain::replay::Letter,
    store::{
        Database,
        letters::{START, Selection, page},
        statements::put_text_or_hex,
    },
};

/// Letters fetched at a time.
const PAGE: i64 = 200;

/// Writes letters to standard output, an object a line.
pub async fn run(database: &Database, selection: &Selection) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    let mut after = START;
    loop {
        let letters = page(&mut connection, selection, after, PAGE).await?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = (last.topic_ref, last.partition, last.offset);
        for letter in &letters {
            say(&Value::Object(as_json(letter)).to_string())?;
        }
    }
}

/// A letter as an object. Bytes that are not text stand in hexadecimal, under a name that says so.
pub fn as_json(letter: &Letter) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("topic", letter.topic.clone().into());
    put("topic_id", letter.topic_id.to_string().into());
    put("partition", letter.partition.into());
    put("offset", letter.offset.into());
    put("appended_at", letter.appended_at.clone().into());
    put("reason", letter.reason.clone().into());
    put("detail", letter.detail.clone().into());
    put("headers", letter.headers.clone());
    put("replayed", json!(letter.replayed));
    for (name, part) in [("key", &letter.key), ("value", &letter.value)] {
        match part {
            Some(bytes) => put_text_or_hex(&mut object, name, bytes),
            None => {
                object.insert(name.to_owned(), Value::Null);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_letter_is_exported_as_it_was() {
        let letter = Letter {
            topic_ref: 1,
            topic: "telex.messages".to_owned(),
            topic_id: Uuid::from_u128(1),
            partition: 3,
            offset: 120,
            reason: "null_key".to_owned(),
            detail: "the record has no key".to_owned(),
            key: None,
            value: Some(vec![0xff, 0]),
            headers: json!([]),
            appended_at: "2025-11-24T16:00:00.000Z".to_owned(),
            replayed: None,
        };
        let expected = json!({
            "topic": "telex.messages", "topic_id": "00000000-0000-0000-0000-000000000001", "partition": 3, "offset": 120,
            "appended_at": "2025-11-24T16:00:00.000Z", "reason": "null_key", "detail": "the record has no key",
            "headers": [], "replayed": null, "key": null, "value_hex": "ff00",
        });
        assert_eq!(Value::Object(as_json(&letter)), expected);
    }
}
