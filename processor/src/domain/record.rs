//! A record as it was read, in memory of its own: one allocation for its bytes, one for the places
//! of its headers in them.

use std::ops::Range;

use schemas::{Partition, PartitionCount, RecordFault, RecordView, Timestamp, record};

use crate::domain::position::{Offset, RecordDigest};

/// A header: its name and, if it has one, its value.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Where a header's name and value lie in a record's bytes.
type HeaderSpans = (Range<usize>, Option<Range<usize>>);

/// How many headers the ingest API writes, and more bytes than they take: with this much room at once a record's
/// headers are gone through a single time. What is not used is given back, what is not enough grows.
const HEADERS: usize = 8;
const HEADER_BYTES: usize = 512;

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct RawRecord {
    pub partition: Partition,
    pub offset: Offset,
    /// When the broker appended it (LogAppendTime).
    pub appended_at: Timestamp,
    bytes: Box<[u8]>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Box<[HeaderSpans]>,
}

impl RawRecord {
    pub fn new<'a>(
        partition: Partition,
        offset: Offset,
        appended_at: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = Header<'a>>,
    ) -> Self {
        let lengths = [key, value].map(|part| part.map_or(0, <[u8]>::len));
        let mut bytes = Vec::with_capacity(lengths.iter().sum::<usize>() + HEADER_BYTES);
        let mut spans = Vec::with_capacity(HEADERS);
        let mut push = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        let (key, value) = (key.map(&mut push), value.map(&mut push));
        spans.extend(headers.map(|(name, value)| (push(name), value.map(&mut push))));
        Self { partition, offset, appended_at, bytes: bytes.into(), key, value, headers: spans.into() }
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|span| self.part(span))
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|span| self.part(span))
    }

    /// The headers in their order. A name is whatever bytes the producer wrote.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> + Clone {
        self.headers.iter().map(|(name, value)| (self.part(name), value.as_ref().map(|span| self.part(span))))
    }

    /// What the record costs in a queue: its bytes and what holds them.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of_val(&*self.headers)
    }

    /// What identifies the record when its partition is taken up again.
    pub fn digest(&self) -> RecordDigest {
        RecordDigest::of(self.key(), self.value(), self.appended_at)
    }

    /// What it says, or why it says nothing. A header whose name is not text means nothing.
    pub fn decode(&self, count: PartitionCount) -> Result<(schemas::Event, schemas::Envelope), RecordFault> {
        record::decode(self.view(), self.partition, count)
    }

    /// What it says, wherever it lies: for those who look, not for those who apply.
    pub fn read(&self) -> Result<(schemas::Event, schemas::Envelope), RecordFault> {
        // Every key belongs to the only partition.
        match PartitionCount::new(1) {
            Some(one) => record::decode(self.view(), Partition(0), one),
            None => Err(RecordFault::WrongPartition),
        }
    }

    fn view(&self) -> RecordView<'_, impl Iterator<Item = (&str, Option<&[u8]>)>> {
        let headers = self
            .headers()
            .filter_map(|(name, value)| std::str::from_utf8(name).ok().map(|name| (name, value)));
        RecordView { key: self.key(), value: self.value(), headers }
    }

    fn part(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_every_part_apart() {
        let headers: [Header<'_>; 3] = [(b"a", Some(b"1")), (b"", None), (b"\xff", Some(b""))];
        let at = Timestamp::from_millis(1).unwrap();
        let record = RawRecord::new(Partition(1), Offset(2), at, Some(b"key"), None, headers.into_iter());
        assert_eq!(record.key(), Some(b"key".as_slice()));
        assert_eq!(record.value(), None);
        assert_eq!(record.headers().collect::<Vec<_>>(), headers);
        assert_eq!(record.digest(), RecordDigest::of(Some(b"key"), None, at));
    }
}
