//! Offsets that no record has: which of them Kafka itself explains, and which are missing. Sync and pure.
//!
//! The end of a transaction takes an offset, and the records of an aborted one keep theirs. A consumer sees
//! neither; it sees that the next record lies further on, or that the log ends further on than the last record.
//!
//! Such a gap is explained if the consumer read on through it, because then nothing else can be in it:
//! - The topic is not compacted: the audit says so. Compaction is the only other way in which a broker leaves
//!   offsets out between two that it still has.
//! - Nothing of it was removed before it was read. A broker answers a fetch below its log's start with
//!   `OFFSET_OUT_OF_RANGE`; under `auto.offset.reset=error` librdkafka (2.12.1, `rd_kafka_offset_reset`) then stops
//!   the partition with `_AUTO_OFFSET_RESET`, and it is taken up again, where `below_log_start` halts it. So a fetch
//!   that was answered began at or above the log's start: what it passed over was in the log when it was read.
//!   Retention that comes later hides nothing, and one that comes earlier is the error; there is no third order,
//!   and no second look at the log's start that could be too early or too late.
//! - The consumer began where it was asked to, and went on from there: each assignment has its explicit offset, the
//!   fetch position moves by what was fetched alone (`rd_kafka_msgset_reader_run`), and what a former assignment,
//!   a pause or a resume has left in the queue is dropped by its version (`rd_kafka_op_version_outdated`).
//! - librdkafka left out nothing that it could not read. It steps over a batch with a broken checksum
//!   (`rd_kafka_msgset_reader_v2`) or of an unknown format (`..._peek_msg_version`), but it says so, in the order of
//!   the records. After such an error the next gap is not explained, in any partition: the error does not name one.
//!
//! What is not explained halts its partition with `offset_gap`, as soon as a record comes behind it.

use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::Partition;

use crate::domain::position::{NextOffset, Offset};

/// The offsets `[from, to)` of a partition, at least one, hold nothing to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    pub partition: Partition,
    pub from: NextOffset,
    /// The first offset that is not of them.
    pub to: NextOffset,
}

/// How far a partition was read, since it was assigned.
#[derive(Debug)]
pub struct Continuity {
    partition: Partition,
    /// The first offset that was neither a record nor explained.
    next: NextOffset,
    /// Something was left out somewhere since the last record.
    is_doubted: bool,
    /// The consumer stands at the end of what may be read, as far as it knows.
    is_at_end: bool,
}

impl Continuity {
    /// Nothing was read yet; reading begins at `next`.
    pub const fn new(partition: Partition, next: NextOffset) -> Self {
        Self { partition, next, is_doubted: false, is_at_end: false }
    }

    /// A record was read. Answers with the offsets before it that are explained.
    pub fn record(&mut self, offset: Offset) -> Option<Explained> {
        self.is_at_end = false;
        if offset < self.next.offset() {
            return None;
        }
        let explained = self.explained(NextOffset(offset.0));
        (self.next, self.is_doubted) = (offset.next(), false);
        explained
    }

    /// The end of what may be read was reached, somewhere above the last record.
    pub const fn reached_end(&mut self) {
        self.is_at_end = true;
    }

    /// Whether it is worth asking how far the consumer has come: once for each time that it reached the end.
    pub const fn take_end(&mut self) -> bool {
        std::mem::replace(&mut self.is_at_end, false)
    }

    /// The consumer has come to `position`, and every record below it was shown. Answers with the offsets since
    /// the last record, which are explained.
    pub fn came_to(&mut self, position: NextOffset) -> Option<Explained> {
        let explained = self.explained(position)?;
        self.next = position;
        Some(explained)
    }

    /// Something that is not named was left out.
    pub const fn doubt(&mut self) {
        self.is_doubted = true;
    }

    fn explained(&self, to: NextOffset) -> Option<Explained> {
        let Self { partition, next: from, is_doubted, .. } = *self;
        (from < to && !is_doubted).then_some(Explained { partition, from, to })
    }
}

/// Whether an error is about the bytes of a batch, which are the same however often it is fetched: a codec, a
/// format or a checksum. Everything else passes.
pub const fn is_unreadable(code: &Code) -> bool {
    matches!(code, Code::NotImplemented | Code::BadMessage | Code::BadCompression | Code::InvalidMessage)
}

/// Whether an error of the consumer may mean that it has left something out: what it cannot read, and an answer that
/// ends within a batch.
pub const fn leaves_out(code: Code) -> bool {
    is_unreadable(&code) || matches!(code, Code::Underflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(from: i64, to: i64) -> Option<Explained> {
        Some(Explained { partition: Partition(1), from: NextOffset(from), to: NextOffset(to) })
    }

    #[test]
    fn what_lies_between_two_records_that_were_read_one_after_the_other_is_explained() {
        let mut read = Continuity::new(Partition(1), NextOffset(5));
        assert_eq!(read.record(Offset(7)), explained(5, 7), "from where it was asked to begin");
        assert_eq!(read.record(Offset(8)), None);
        assert_eq!(read.record(Offset(8)), None, "came twice");
        assert_eq!(read.record(Offset(3)), None, "came late");
        assert_eq!(read.record(Offset(10)), explained(9, 10));
    }

    #[test]
    fn what_lies_between_the_last_record_and_the_end_is_explained_once() {
        let mut read = Continuity::new(Partition(1), NextOffset(5));
        assert!(!read.take_end());
        read.reached_end();
        assert!(read.take_end() && !read.take_end());
        assert_eq!(read.came_to(NextOffset(5)), None);
        assert_eq!(read.came_to(NextOffset(7)), explained(5, 7));
        assert_eq!(read.came_to(NextOffset(7)), None);
        assert_eq!(read.came_to(NextOffset(6)), None, "never back");
        read.reached_end();
        assert_eq!(read.record(Offset(7)), None);
        assert!(!read.take_end(), "a record has come since");
    }

    #[test]
    fn a_gap_behind_something_that_could_not_be_read_is_not_explained() {
        let mut read = Continuity::new(Partition(1), NextOffset(5));
        read.doubt();
        assert_eq!(read.came_to(NextOffset(8)), None);
        assert_eq!(read.record(Offset(8)), None, "its partition halts");
        read.doubt();
        assert_eq!(read.record(Offset(9)), None, "nothing was left out here");
        assert_eq!(read.record(Offset(11)), explained(10, 11));
    }
}
