//! What is applied in one transaction: for each partition a run of offsets that follow each other.
//! Pure.

use std::sync::Arc;

use schemas::Partition;

use crate::domain::{
    dead_letter::DeadLetterReason,
    decode::{Content, Record},
    position::{LastRecord, NextOffset, OwnerEpoch},
};

/// The offsets `[from, to)` of one partition, never none. What no record has of them Kafka itself explains.
#[derive(Debug, Clone)]
pub struct Run {
    pub partition: Partition,
    /// The owner that read them.
    pub owner_epoch: OwnerEpoch,
    /// How far the partition is applied before.
    pub from: NextOffset,
    /// How far it is applied afterwards.
    pub to: NextOffset,
    /// The records, shared with the parts of a bisection.
    pub records: Vec<Arc<Record>>,
}

impl Run {
    /// The first `records` of them, with what is explained up to the next, and the others.
    pub fn split_at(mut self, records: usize) -> (Self, Self) {
        let rest = self.records.split_off(records.min(self.records.len()));
        let from = rest.first().map_or(self.to, |record| NextOffset(record.raw.offset.0));
        let second = Self { from, records: rest, ..self.clone() };
        self.to = from;
        (self, second)
    }

    /// The offsets that hold nothing to apply.
    pub fn control(&self) -> i64 {
        let records = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        self.to.0 - self.from.0 - records
    }

    /// The last record; `None` if there is none in the run.
    pub fn last_record(&self) -> Option<LastRecord> {
        self.records
            .last()
            .map(|record| LastRecord { offset: record.raw.offset, digest: record.raw.digest() })
    }
}

/// What is applied in one transaction. The runs are in the order of their partitions, one each.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub runs: Vec<Run>,
}

impl Batch {
    /// The records in all runs.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.runs.iter().flat_map(|run| run.records.iter().map(Arc::as_ref))
    }

    /// How many records; there may be none in a batch that is not empty.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.records.len()).sum()
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether a partition has records in it.
    pub fn holds(&self, partition: Partition) -> bool {
        self.runs.iter().any(|run| run.partition == partition)
    }

    /// Two batches to be applied one after the other, in search of a record that the database refuses:
    /// first the partitions are told apart, then the run is halved. A single record comes back whole.
    ///
    /// # Errors
    /// The single record's batch.
    pub fn split(mut self) -> Result<[Self; 2], Self> {
        if self.runs.len() > 1 {
            let rest = self.runs.split_off(self.runs.len() / 2);
            return Ok([self, Self { runs: rest }]);
        }
        match self.runs.pop() {
            Some(run) if run.records.len() > 1 => {
                let half = run.records.len() / 2;
                let (first, second) = run.split_at(half);
                Ok([Self { runs: vec![first] }, Self { runs: vec![second] }])
            }
            single => Err(Self { runs: single.into_iter().collect() }),
        }
    }

    /// The batch with each record as a dead letter: what becomes of a single one that is refused.
    pub fn rejected(mut self, sqlstate: &str) -> Self {
        for record in self.runs.iter_mut().flat_map(|run| &mut run.records) {
            let reason = DeadLetterReason::RejectedByDatabase { sqlstate: sqlstate.to_owned() };
            *record = Arc::new(Record { raw: record.raw.clone(), content: Content::DeadLetter(reason) });
        }
        self
    }
}
