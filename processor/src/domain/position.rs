//! Where a record lies and how far a partition is applied. Newtypes, so that an offset cannot be
//! taken for a next offset: the step between them is a conversion, not arithmetic.

use std::fmt;

use schemas::{Partition, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The place of a record in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub i64);

impl Offset {
    /// How far a partition is applied once this record is.
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

/// The first offset not yet applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NextOffset(pub i64);

impl NextOffset {
    /// The record to be read next.
    pub const fn offset(self) -> Offset {
        Offset(self.0)
    }
}

/// A topic's number in this database; stands for (cluster id, topic id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicRef(pub i16);

/// Raised in `partition_progress` by each new owner: fences the former one (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerEpoch(pub i64);

macro_rules! display_as_number {
    ($($name:ty),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

display_as_number!(Offset, NextOffset, TopicRef, OwnerEpoch);

/// SHA-256 of a record's key, value and append time: recognises the last applied record when the
/// partition is taken up again, and so a topic that is not the one it was (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordDigest(pub [u8; 32]);

impl RecordDigest {
    /// The digest of a record. Absent and empty parts differ.
    pub fn of(key: Option<&[u8]>, value: Option<&[u8]>, appended_at: Timestamp) -> Self {
        let mut hash = Sha256::new();
        for part in [key, value] {
            let length = part.map_or(-1, |part| i64::try_from(part.len()).unwrap_or(i64::MAX));
            hash.update(length.to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.update(appended_at.as_micros().to_be_bytes());
        Self(hash.finalize().into())
    }
}

/// The last applied record: its digest, and where it lies. That is before the next offset, but not directly
/// before it if offsets that hold nothing to apply follow the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    pub offset: Offset,
    pub digest: RecordDigest,
}

/// The id of the dialog that a record opens: UUIDv8 (RFC 9562 §5.8) of the record's append time in
/// milliseconds (48 bits) and SHA-256 of its place. A function of the record alone (R20); ids of one
/// client's dialogs ascend in the order in which they were opened, as far as the broker's clock does.
pub fn dialog_id(topic_id: Uuid, partition: Partition, offset: Offset, appended_at: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(topic_id.as_bytes());
    hash.update(partition.0.to_be_bytes());
    hash.update(offset.0.to_be_bytes());
    let mut bytes = [0; 16];
    let (time, place) = bytes.split_at_mut(6);
    for (byte, source) in time.iter_mut().zip(appended_at.as_millis().to_be_bytes().iter().skip(2)) {
        *byte = *source;
    }
    for (byte, source) in place.iter_mut().zip(hash.finalize()) {
        *byte = source;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The range of a partition's log: `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    pub start: Offset,
    /// The place of the next record to be appended.
    pub end: Offset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialogs_id_is_a_function_of_its_record_and_ascends_with_time() {
        let topic = Uuid::from_u128(7);
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let first = dialog_id(topic, Partition(3), Offset(10), at(1_764_000_000_000));
        assert_eq!(first, dialog_id(topic, Partition(3), Offset(10), at(1_764_000_000_000)));
        assert_eq!(first.get_version_num(), 8);
        // Computed with Python's hashlib: this id is in every table that was ever filled.
        assert_eq!(first.to_string(), "019ab697-e800-8add-bede-d7437b46ed5f");
        assert!(first < dialog_id(topic, Partition(3), Offset(11), at(1_764_000_000_001)));
        assert_ne!(first, dialog_id(topic, Partition(4), Offset(10), at(1_764_000_000_000)));
        assert_ne!(first, dialog_id(Uuid::from_u128(8), Partition(3), Offset(10), at(1_764_000_000_000)));
    }

    #[test]
    fn a_digest_tells_absent_from_empty_and_key_from_value() {
        let at = Timestamp::from_millis(5).unwrap();
        let of = |key, value| RecordDigest::of(key, value, at);
        let all = [
            of(None, None),
            of(Some(b"".as_slice()), None),
            of(None, Some(b"".as_slice())),
            of(Some(b"a".as_slice()), None),
            of(None, Some(b"a".as_slice())),
            of(Some(b"ab".as_slice()), Some(b"c".as_slice())),
            of(Some(b"a".as_slice()), Some(b"bc".as_slice())),
            RecordDigest::of(None, None, Timestamp::from_millis(6).unwrap()),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
    }
}
