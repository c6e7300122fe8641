//! Records that wait for their transaction, bounded by number, bytes and age. Sync and pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::Partition;
use service_kit::settings::millis;

use crate::{
    domain::{
        batch::{Batch, Run},
        decode::Record,
        position::{NextOffset, OwnerEpoch},
    },
    kafka::continuity::Explained,
};

/// How large a transaction becomes, and how long it is waited for.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchConfig {
    /// Maximum number of records in a transaction, approximately.
    #[arg(long, env = "PROCESSOR_BATCH_RECORDS_MAX", default_value_t = 2_000, value_parser = parse_records)]
    pub batch_records_max: usize,
    /// Maximum size of the records in a transaction, approximately, in KiB: as they came and as they are
    /// decoded.
    #[arg(long, env = "PROCESSOR_BATCH_KIB_MAX", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    pub batch_kib_max: u32,
    /// How long a record waits for others at most, in milliseconds. It waits less while transactions are
    /// quick.
    #[arg(long = "batch-age-ms-max", env = "PROCESSOR_BATCH_AGE_MS_MAX", default_value = "25", value_parser = millis)]
    pub batch_age_max: Duration,
    /// From how many records on a transaction writes its messages by COPY, which costs less a message and more a
    /// transaction than an insert.
    #[arg(long, env = "PROCESSOR_COPY_RECORDS_MIN", default_value_t = 1_000)]
    pub copy_records_min: usize,
}

impl BatchConfig {
    fn bytes_max(&self) -> usize {
        usize::try_from(self.batch_kib_max).map_or(usize::MAX, |kib| kib * 1024)
    }
}

fn parse_records(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(records) if (1..=20_000).contains(&records) => Ok(records),
        Ok(_) | Err(_) => Err("must be a number from 1 to 20000".to_owned()),
    }
}

#[derive(Debug)]
pub struct Pending {
    config: BatchConfig,
    runs: BTreeMap<Partition, Gathered>,
    records: usize,
    bytes: usize,
    since: Option<Instant>,
    /// How long the last transaction took.
    pace: Duration,
}

/// What waits of a partition: the offsets `[from, to)` and their records.
#[derive(Debug)]
struct Gathered {
    from: NextOffset,
    to: NextOffset,
    records: Vec<Arc<Record>>,
}

impl Pending {
    pub const fn new(config: BatchConfig) -> Self {
        Self { config, runs: BTreeMap::new(), records: 0, bytes: 0, since: None, pace: Duration::ZERO }
    }

    /// Whether more records may wait.
    pub fn has_room(&self) -> bool {
        self.records < self.config.batch_records_max && self.bytes < self.config.bytes_max()
    }

    /// Adds the next record of its partition.
    pub fn add(&mut self, record: Record, now: Instant) {
        self.records += 1;
        self.bytes += record.size_bytes();
        let (partition, offset) = (record.raw.partition, record.raw.offset);
        let gathered = self.gathered(partition, NextOffset(offset.0), now);
        gathered.to = offset.next();
        gathered.records.push(Arc::new(record));
    }

    /// Adds the next offsets of a partition, which hold nothing to apply.
    pub fn explain(&mut self, explained: Explained, now: Instant) {
        self.gathered(explained.partition, explained.from, now).to = explained.to;
    }

    fn gathered(&mut self, partition: Partition, from: NextOffset, now: Instant) -> &mut Gathered {
        self.since.get_or_insert(now);
        self.runs.entry(partition).or_insert_with(|| Gathered { from, to: from, records: Vec::new() })
    }

    /// Drops the records of a partition.
    pub fn forget(&mut self, partition: Partition) {
        let Some(run) = self.runs.remove(&partition) else {
            return;
        };
        self.records -= run.records.len();
        self.bytes -= run.records.iter().map(|record| record.size_bytes()).sum::<usize>();
        if self.runs.is_empty() {
            self.since = None;
        }
    }

    /// Whether offsets of a partition wait.
    pub fn holds(&self, partition: Partition) -> bool {
        self.runs.contains_key(&partition)
    }

    /// The first record of a partition that waits.
    pub fn first(&self, partition: Partition) -> Option<&Record> {
        self.runs.get(&partition)?.records.first().map(Arc::as_ref)
    }

    /// Notes how long a transaction took.
    pub const fn paced(&mut self, took: Duration) {
        self.pace = took;
    }

    /// When the records are to be applied; `None` if nothing waits.
    ///
    /// A transaction costs much before its first record. So the records wait for others twice as long as the
    /// last one took, and what came during it soon goes into the next: quick transactions are small and often,
    /// and the slower they get, by their number or by somebody else's load, the more records share one.
    pub fn due_at(&self) -> Option<Instant> {
        let age = if self.has_room() { self.config.batch_age_max.min(2 * self.pace) } else { Duration::ZERO };
        self.since.map(|since| since + age)
    }

    /// Everything that waits, as a batch. `owner_epoch` of a partition that is not owned any more is `None`.
    pub fn take(&mut self, owner_epoch: impl Fn(Partition) -> Option<OwnerEpoch>) -> Batch {
        (self.records, self.bytes, self.since) = (0, 0, None);
        let runs = std::mem::take(&mut self.runs).into_iter().filter_map(|(partition, gathered)| {
            let Gathered { from, to, records } = gathered;
            Some(Run { partition, owner_epoch: owner_epoch(partition)?, from, to, records })
        });
        Batch { runs: runs.collect() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use schemas::{PartitionCount, Timestamp};

    use super::*;
    use crate::domain::{position::Offset, record::RawRecord, rules::PartitionRules};

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        batch: BatchConfig,
    }

    fn pending(arguments: &[&str]) -> Pending {
        Pending::new(Settings::parse_from([&[""], arguments].concat()).batch)
    }

    fn record(offset: i64) -> Record {
        let rules = PartitionRules::new(Partition(0), PartitionCount::new(1).unwrap());
        let nothing = std::iter::empty();
        let raw = RawRecord::new(Partition(0), Offset(offset), Timestamp::EPOCH, None, None, nothing);
        Record::decode(raw, &rules)
    }

    #[test]
    fn records_wait_for_others_as_long_as_transactions_are_slow() {
        let (mut pending, start) = (pending(&["--batch-age-ms-max=25"]), Instant::now());
        let waits = |pending: &Pending| pending.due_at().map(|due| (due - start).as_millis());
        assert_eq!(waits(&pending), None, "nothing waits");
        pending.add(record(0), start);
        assert_eq!(waits(&pending), Some(0), "the first transaction");
        for (took, waited) in [(4, 8), (12, 24), (300, 25), (1, 2)] {
            pending.paced(Duration::from_millis(took));
            pending.add(record(1), start + Duration::from_millis(1));
            assert_eq!(waits(&pending), Some(waited), "of the oldest, after {took} ms");
        }
    }

    #[test]
    fn explained_offsets_before_between_and_after_records_are_applied_with_them() {
        let (mut pending, start) = (pending(&[]), Instant::now());
        let explain =
            |from, to| Explained { partition: Partition(0), from: NextOffset(from), to: NextOffset(to) };
        pending.explain(explain(3, 5), start);
        pending.add(record(5), start);
        pending.explain(explain(6, 7), start);
        pending.add(record(7), start);
        pending.explain(explain(8, 10), start);
        let batch = pending.take(|_| Some(OwnerEpoch(1)));
        let [run] = &batch.runs[..] else { panic!("one run") };
        assert_eq!(
            (run.from, run.to, run.records.len(), run.control()),
            (NextOffset(3), NextOffset(10), 2, 5)
        );
        assert_eq!(run.last_record().unwrap().offset, Offset(7), "the last record, not the last offset");

        // A bisection accounts for each of them once.
        let [first, second] = batch.split().unwrap();
        let spans =
            [&first, &second].map(|half| (half.runs[0].from, half.runs[0].to, half.runs[0].control()));
        assert_eq!(spans, [(NextOffset(3), NextOffset(7), 3), (NextOffset(7), NextOffset(10), 2)]);

        pending.explain(explain(10, 12), start);
        assert!(pending.due_at().is_some(), "due without a record");
        let alone = pending.take(|_| Some(OwnerEpoch(1)));
        assert_eq!((alone.is_empty(), alone.len(), alone.runs[0].last_record()), (false, 0, None));
        pending.explain(explain(12, 13), start);
        pending.forget(Partition(0));
        assert_eq!(pending.due_at(), None);
    }

    #[test]
    fn full_is_due_at_once() {
        let (mut pending, start) = (pending(&["--batch-records-max=2"]), Instant::now());
        pending.paced(Duration::from_secs(1));
        pending.add(record(0), start);
        assert!(pending.has_room() && pending.due_at() > Some(start));
        pending.add(record(1), start);
        assert_eq!((pending.has_room(), pending.due_at()), (false, Some(start)));
    }
}
