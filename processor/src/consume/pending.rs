//! Records that wait for their transaction, bounded by number, bytes and age. Sync and pure.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::Partition;

use crate::{
    consume::batch::{Batch, Run},
    decode::Record,
    position::{NextOffset, OwnerEpoch},
};

/// How large a transaction becomes, and how long it is waited for.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchConfig {
    /// Records in a transaction, about.
    #[arg(long, env = "PROCESSOR_BATCH_RECORDS_MAX", default_value_t = 4_000, value_parser = parse_records)]
    pub batch_records_max: usize,
    /// Bytes of records in a transaction, about, in KiB.
    #[arg(long, env = "PROCESSOR_BATCH_KIB_MAX", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=262_144))]
    pub batch_kib_max: u32,
    /// How long a record waits for others, in milliseconds.
    #[arg(long, env = "PROCESSOR_BATCH_AGE_MS_MAX", default_value_t = 5)]
    pub batch_age_ms_max: u64,
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

/// Records that wait.
#[derive(Debug)]
pub struct Pending {
    config: BatchConfig,
    runs: BTreeMap<Partition, Vec<Arc<Record>>>,
    records: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Pending {
    /// Nothing waits.
    #[must_use]
    pub const fn new(config: BatchConfig) -> Self {
        Self { config, runs: BTreeMap::new(), records: 0, bytes: 0, since: None }
    }

    /// Whether more records may wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.records < self.config.batch_records_max && self.bytes < self.config.bytes_max()
    }

    /// Adds the next record of its partition.
    pub fn add(&mut self, record: Record, now: Instant) {
        self.records += 1;
        self.bytes += record.raw.size_bytes();
        self.since.get_or_insert(now);
        self.runs.entry(record.raw.partition).or_default().push(Arc::new(record));
    }

    /// Drops the records of a partition.
    pub fn forget(&mut self, partition: Partition) {
        let Some(run) = self.runs.remove(&partition) else {
            return;
        };
        self.records -= run.len();
        self.bytes -= run.iter().map(|record| record.raw.size_bytes()).sum::<usize>();
        if self.runs.is_empty() {
            self.since = None;
        }
    }

    /// The first record of a partition that waits.
    #[must_use]
    pub fn first(&self, partition: Partition) -> Option<&Record> {
        self.runs.get(&partition)?.first().map(Arc::as_ref)
    }

    /// When the records are to be applied at the latest; `None` if nothing waits.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let age_max = if self.has_room() {
            Duration::from_millis(self.config.batch_age_ms_max)
        } else {
            Duration::ZERO
        };
        self.since.map(|since| since + age_max)
    }

    /// Everything that waits, as a batch. `owner_epoch` of a partition that is not owned any more is `None`.
    pub fn take(&mut self, owner_epoch: impl Fn(Partition) -> Option<OwnerEpoch>) -> Batch {
        (self.records, self.bytes, self.since) = (0, 0, None);
        let runs = std::mem::take(&mut self.runs).into_iter().filter_map(|(partition, records)| {
            let from = NextOffset(records.first()?.raw.offset.0);
            Some(Run { partition, owner_epoch: owner_epoch(partition)?, from, records })
        });
        Batch { runs: runs.collect() }
    }
}
