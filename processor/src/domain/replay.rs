//! Replaying dead letters: which can be applied today, and what their records look like then. Pure; the
//! command `dead-letters replay` reads the letters and writes the records.
//!
//! A letter is replayed as a new record in its client's own partition, behind whatever the client has
//! sent since: what is missing is put in, what was overtaken stays overtaken. Replaying twice has one
//! effect, since a message counts once per client, forever.

use schemas::{Partition, PartitionCount, RecordFault, RecordView, record};
use uuid::Uuid;

use super::dead_letter::DeadLetterReason;

/// The header that says whose replay a record is: `topic id/partition/offset`.
pub const REPLAY_OF: &str = "x-telex-replay-of";
/// The header with the number of the attempt, from 1 on. A letter that is itself a replay carries it on.
pub const REPLAY_ATTEMPT: &str = "x-telex-replay-attempt";

/// A dead letter, as it is kept.
#[derive(Debug, Clone)]
pub struct Letter {
    pub topic_ref: i16,
    pub topic: String,
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
    /// The rule that it breaks.
    pub detail: String,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The record's headers, as the column keeps them.
    pub headers: serde_json::Value,
    /// When the record was appended.
    pub appended_at: String,
    pub replayed: Option<Replayed>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    pub at: String,
    /// The partition of the new record.
    pub partition: i32,
    pub offset: i64,
    /// The number that it carries.
    pub attempt: i32,
}

/// A header with its value, if it has one.
pub type OwnedHeader = (String, Option<Vec<u8>>);

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    pub partition: Partition,
    /// The number of the attempt.
    pub attempt: i32,
    /// The headers as they were, with those of the replay.
    pub headers: Vec<OwnedHeader>,
}

/// Why a letter is not replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was, before.
    #[error("replayed before, to partition {partition} offset {offset}")]
    ReplayedBefore { partition: i32, offset: i64 },
    /// It has come back often enough.
    #[error("came back from attempt {attempt}: at most {max} attempts are made")]
    AttemptsSpent {
        /// The attempt that this letter is what became of.
        attempt: i32,
        max: i32,
    },
    /// The program would refuse it again, whoever the client is.
    #[error("would be refused again: {0}")]
    StillFaulty(RecordFault),
    /// Another message has its id.
    #[error("its id belongs to another message forever: the first wins")]
    FirstWins,
    /// The row does not hold a record's headers.
    #[error("its headers cannot be written again: a name is not text, or a value no hexadecimal")]
    Headers,
}

/// Whether a letter can be applied today, in a topic with `count` partitions, and how it is written.
pub fn judge(letter: &Letter, count: PartitionCount, attempts_max: i32) -> Result<Replay, Refusal> {
    if let Some(Replayed { partition, offset, .. }) = letter.replayed {
        return Err(Refusal::ReplayedBefore { partition, offset });
    }
    if letter.reason == DeadLetterReason::ConflictingDuplicate.as_str() {
        return Err(Refusal::FirstWins);
    }
    let mut headers = read_headers(&letter.headers).ok_or(Refusal::Headers)?;
    let attempt = attempts_made(&headers).saturating_add(1);
    if attempt > attempts_max {
        return Err(Refusal::AttemptsSpent { attempt: attempt - 1, max: attempts_max });
    }
    let key = letter.key.as_deref().unwrap_or_default();
    // Not where it lay: a record in a wrong partition is put right by this.
    let partition = Partition::of_key(key, count);
    let view = RecordView {
        key: letter.key.as_deref(),
        value: letter.value.as_deref(),
        headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())),
    };
    record::decode(view, partition, count).map_err(Refusal::StillFaulty)?;
    headers.retain(|(name, _)| name != REPLAY_OF && name != REPLAY_ATTEMPT);
    let Letter { topic_id, partition: of, offset, .. } = letter;
    headers.push((REPLAY_OF.to_owned(), Some(format!("{topic_id}/{of}/{offset}").into_bytes())));
    headers.push((REPLAY_ATTEMPT.to_owned(), Some(attempt.to_string().into_bytes())));
    Ok(Replay { partition, attempt, headers })
}

/// The attempt that a record is. One that does not say so rightly counts as the last: no loop can hide
/// behind it.
fn attempts_made(headers: &[OwnedHeader]) -> i32 {
    match headers.iter().find(|(name, _)| name == REPLAY_ATTEMPT) {
        None => 0,
        Some((_, value)) => {
            let number = value.as_deref().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            number.filter(|attempt| *attempt > 0).unwrap_or(i32::MAX)
        }
    }
}

/// Reads what the column `headers` keeps. `None`: a name is not text, or a value no hexadecimal.
fn read_headers(headers: &serde_json::Value) -> Option<Vec<OwnedHeader>> {
    let read = headers.as_array()?.iter().map(|header| {
        let name = header.get("name")?.as_str()?.to_owned();
        let text = header.get("value").and_then(|value| value.as_str());
        let hex = header.get("value_hex").and_then(|value| value.as_str());
        let value = match (text, hex) {
            (Some(text), _) => Some(text.as_bytes().to_vec()),
            (None, Some(hex)) => Some(hex::decode(hex).ok()?),
            (None, None) => None,
        };
        Some((name, value))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use schemas::{DialogClose, Envelope, Event, Timestamp};
    use serde_json::json;

    use super::*;

    const COUNT: i32 = 12;

    fn count() -> PartitionCount {
        PartitionCount::new(COUNT).unwrap()
    }

    fn letter() -> Letter {
        let client_id = schemas::ClientId::from_uuid(Uuid::from_u128(7));
        let received_at = Timestamp::from_millis(1_764_000_000_000).unwrap();
        let envelope = Envelope { received_at, request_id: None, trace_parent: None };
        let encoded = schemas::record::encode(&Event::DialogClose(DialogClose { client_id }), &envelope);
        let headers: Vec<serde_json::Value> =
            encoded.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        Letter {
            topic_ref: 1,
            topic: "telex.messages".to_owned(),
            topic_id: Uuid::from_u128(9),
            partition: 3,
            offset: 120,
            reason: "rejected_by_database".to_owned(),
            detail: String::new(),
            key: Some(encoded.key.clone().into_bytes()),
            value: Some(encoded.value.clone()),
            headers: headers.into(),
            appended_at: String::new(),
            replayed: None,
        }
    }

    fn with_header(mut letter: Letter, name: &str, value: &str) -> Letter {
        letter.headers.as_array_mut().unwrap().push(json!({"name": name, "value": value}));
        letter
    }

    fn find<'a>(replay: &'a Replay, name: &str) -> Vec<&'a [u8]> {
        let named = replay.headers.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.as_deref().unwrap()).collect()
    }

    #[test]
    fn a_letter_goes_to_its_clients_partition_with_its_headers_and_its_origin() {
        let letter = letter();
        let replay = judge(&letter, count(), 3).unwrap();
        assert_eq!(replay.partition, Partition::of_key(letter.key.as_deref().unwrap(), count()));
        assert_eq!(replay.headers.len(), letter.headers.as_array().unwrap().len() + 2);
        let of = "00000000-0000-0000-0000-000000000009/3/120";
        assert_eq!(find(&replay, REPLAY_OF), [of.as_bytes()]);
        assert_eq!((find(&replay, REPLAY_ATTEMPT), replay.attempt), (vec![b"1".as_slice()], 1));
    }

    #[test]
    fn a_letter_that_came_back_carries_its_number_on_until_the_limit() {
        let came_back = |attempt: &str| {
            judge(&with_header(with_header(letter(), REPLAY_ATTEMPT, attempt), REPLAY_OF, "x"), count(), 3)
        };
        let second = came_back("1").unwrap();
        assert_eq!((second.attempt, find(&second, REPLAY_OF).len()), (2, 1));
        assert_eq!(came_back("3"), Err(Refusal::AttemptsSpent { attempt: 3, max: 3 }));
        for garbage in ["", "-1", "0", "two", "99999999999"] {
            assert!(matches!(came_back(garbage), Err(Refusal::AttemptsSpent { .. })), "{garbage}");
        }
    }

    #[test]
    fn what_would_be_refused_again_is_refused_here() {
        let mismatched = Letter { key: Some(Uuid::from_u128(8).to_string().into_bytes()), ..letter() };
        assert_eq!(judge(&mismatched, count(), 3), Err(Refusal::StillFaulty(RecordFault::KeyMismatch)));
        let nobodys = Letter { key: None, ..letter() };
        assert_eq!(judge(&nobodys, count(), 3), Err(Refusal::StillFaulty(RecordFault::NullKey)));
        let conflict = Letter { reason: "conflicting_duplicate".to_owned(), ..letter() };
        assert_eq!(judge(&conflict, count(), 3), Err(Refusal::FirstWins));
        let unnamed = Letter { headers: json!([{"name_hex": "ff"}]), ..letter() };
        assert_eq!(judge(&unnamed, count(), 3), Err(Refusal::Headers));
    }

    #[test]
    fn a_replay_is_made_once() {
        let replayed = Replayed { at: String::new(), partition: 1, offset: 5, attempt: 1 };
        let letter = Letter { replayed: Some(replayed), ..letter() };
        assert_eq!(judge(&letter, count(), 3), Err(Refusal::ReplayedBefore { partition: 1, offset: 5 }));
    }

    #[test]
    fn values_in_hexadecimal_come_back_as_bytes() {
        let headers = read_headers(&json!([{"name": "a", "value_hex": "fe01"}, {"name": "b"}]));
        assert_eq!(headers, Some(vec![("a".to_owned(), Some(vec![0xfe, 1])), ("b".to_owned(), None)]));
        for cut in ["fe0", "f", "+f", "fg"] {
            let headers = json!([{"name": "a", "value_hex": cut}]);
            assert_eq!(judge(&Letter { headers, ..letter() }, count(), 3), Err(Refusal::Headers), "{cut}");
        }
    }
}
