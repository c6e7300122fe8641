//! The batched fold against one that takes a record after the other. Whatever the batches, the splits, the
//! lost caches, the crashes and the redeliveries: the tables are the same, row for row.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sequential;
mod tables;
mod topic;

use std::sync::Arc;

use proptest::prelude::*;

use processor::{
    consume::dialogs::{CacheBudget, DialogCache},
    domain::{
        batch::{Batch, Run},
        fold::Cached,
        position::{NextOffset, OwnerEpoch},
    },
    store::apply::Mode,
};

use tables::Tables;
use topic::{PARTITIONS, Topic, topics};

/// What happens to a batch.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is committed, and the processor knows.
    Committed,
    /// It is committed, and the processor does not know: it forgets everything.
    CommittedUnheard,
    /// It is rolled back, and the processor forgets everything; or another one takes over.
    Lost,
    /// Its parts are committed one by one, as when a record is looked for that the database refuses.
    Split,
    /// It is committed, too small to be copied.
    Small,
    /// It is committed with care, as after a row was met that was believed to be new.
    Careful,
}

/// A batch: how many records of each partition, and what happens to it.
#[derive(Debug, Clone)]
struct Step {
    records: Vec<usize>,
    fate: Fate,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        6 => Just(Fate::Committed),
        3 => Just(Fate::Small),
        1 => Just(Fate::CommittedUnheard),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Split),
        1 => Just(Fate::Careful),
    ];
    let step = (prop::collection::vec(0..9_usize, PARTITIONS), fate)
        .prop_map(|(records, fate)| Step { records, fate });
    prop::collection::vec(step, 0..20)
}

/// A processor that owns every partition.
struct Processor<'t> {
    topic: &'t Topic,
    tables: Tables,
    caches: Vec<DialogCache>,
}

impl Processor<'_> {
    fn take(&mut self, step: &Step) {
        let batch = self.batch(&step.records);
        if batch.is_empty() {
            return;
        }
        match step.fate {
            Fate::Committed => self.apply(&batch, Mode::Copy),
            Fate::Small => self.apply(&batch, Mode::Insert),
            Fate::CommittedUnheard => {
                self.apply(&batch, Mode::Copy);
                self.forget();
            }
            Fate::Lost => {
                let cached = self.cached(&batch);
                drop(self.tables.applied(self.topic.id, &batch, cached, Mode::Copy));
                self.forget();
            }
            Fate::Careful => {
                self.forget();
                self.apply(&batch, Mode::Insert);
            }
            Fate::Split => self.apply_split(batch),
        }
    }

    fn batch(&self, records: &[usize]) -> Batch {
        let runs = self.topic.partitions.iter().zip(records).filter_map(|(partition, count)| {
            let from = self.tables.next_offset(partition.id);
            let records: Vec<_> =
                partition.records.iter().skip(usize::try_from(from).unwrap()).take(*count).cloned().collect();
            let (from, to) = (NextOffset(from), records.last().map(|record| record.raw.offset.next()));
            let run = Run {
                partition: partition.id,
                owner_epoch: OwnerEpoch(1),
                from,
                to: to.unwrap_or(from),
                records,
            };
            (!run.records.is_empty()).then_some(run)
        });
        Batch { runs: runs.collect() }
    }

    fn apply_split(&mut self, batch: Batch) {
        match batch.split() {
            Ok(parts) => parts.into_iter().for_each(|part| self.apply_split(part)),
            Err(single) => self.apply(&single, Mode::Copy),
        }
    }

    fn apply(&mut self, batch: &Batch, mode: Mode) {
        let cached = self.cached(batch);
        let (tables, after) = self.tables.applied(self.topic.id, batch, cached, mode);
        self.tables = tables;
        for run in &batch.runs {
            self.cache(run.partition).learn(run, &after);
        }
    }

    fn cached(&mut self, batch: &Batch) -> Cached {
        let mut cached = Cached::default();
        for run in &batch.runs {
            self.cache(run.partition).recall(run, &mut cached);
        }
        cached
    }

    fn cache(&mut self, partition: schemas::Partition) -> &mut DialogCache {
        self.caches.get_mut(usize::try_from(partition.0).unwrap()).unwrap()
    }

    fn forget(&mut self) {
        self.caches.iter_mut().for_each(DialogCache::forget);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_splits_crashes_and_lost_caches_leave_the_rows_of_one_record_after_the_other(
        topic in topics(),
        steps in steps(),
        cache_clients in 2..8_usize,
    ) {
        let budget = CacheBudget::new(cache_clients * PARTITIONS);
        let caches = (0..PARTITIONS).map(|_| DialogCache::new(Arc::clone(&budget))).collect();
        let mut processor = Processor { topic: &topic, tables: Tables::default(), caches };
        for step in &steps {
            processor.take(step);
            processor.tables.assert_sound();
        }
        // Whatever is left, in one batch.
        processor.take(&Step { records: vec![usize::MAX; PARTITIONS], fate: Fate::Committed });
        prop_assert_eq!(processor.tables, sequential::fold(&topic));
    }
}
