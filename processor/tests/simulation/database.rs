//! The rows, as PostgreSQL treats them: a compare-and-set holds its rows until its transaction ends, a COMMIT may be
//! answered or not, a failover goes back to what the standby had. Stands in for `store/`: each method is one
//! statement of it. What is committed is held against the invariants here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use processor::{
    domain::{
        batch::Batch,
        halt::StopReason,
        position::{NextOffset, Offset, OwnerEpoch},
        progress::Progress,
    },
    store::halts::{Halt, Recorded, SeenRow},
};
use schemas::{ClientId, Partition};

use crate::{
    brokers::{Brokers, Serial, index, partition},
    check::{self, Checked, FENCED, must},
    node::Process,
    twin::Twin,
};

/// A partition's row, and what stands in the tables of it.
#[derive(Debug, Clone)]
pub struct Row {
    pub progress: Progress,
    /// The record that was filed last.
    pub tail: Option<Serial>,
    /// The clients of those that were filed.
    pub clients: BTreeSet<ClientId>,
}

/// What is replicated, and what a failover may lose the end of.
#[derive(Debug, Clone)]
struct State {
    rows: Vec<Row>,
    halts: Vec<Option<StopReason>>,
}

/// A transaction whose compare-and-set has moved its rows.
#[derive(Debug)]
struct Open {
    batch: Arc<Batch>,
    process: Process,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Compared {
    /// Another transaction holds a row.
    Waits,
    Missed,
    Moved,
}

#[derive(Debug)]
pub struct Database {
    twin: Twin,
    pub is_up: bool,
    state: State,
    standby: State,
    open: BTreeMap<u64, Open>,
    /// Who raised each epoch. `None`: a failover has lost that, so it may be given twice.
    owners: BTreeMap<(Partition, OwnerEpoch), Option<Process>>,
}

impl Database {
    pub fn new(partitions: usize, twin: Twin) -> Self {
        let row = |at: usize| Row {
            progress: Progress::born(partition(at), Offset(0)),
            tail: None,
            clients: BTreeSet::new(),
        };
        let state = State { rows: (0..partitions).map(row).collect(), halts: vec![None; partitions] };
        Self {
            twin,
            is_up: true,
            standby: state.clone(),
            state,
            open: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    pub fn row(&self, partition: Partition) -> &Row {
        &self.state.rows[index(partition)]
    }

    pub fn halt(&self, partition: Partition) -> Option<&StopReason> {
        self.state.halts[index(partition)].as_ref()
    }

    /// Whether a transaction holds the row.
    fn is_held(&self, partition: Partition) -> bool {
        self.open.values().any(|open| open.batch.runs.iter().any(|run| run.partition == partition))
    }

    /// `progress::raise_epochs`, of one row.
    pub fn take(&mut self, seen: &Progress, process: Process) -> Option<OwnerEpoch> {
        let partition = seen.partition;
        let row = &self.state.rows[index(partition)].progress;
        let is_as_seen = row.next_offset == seen.next_offset && row.owner_epoch == seen.owner_epoch;
        if !is_as_seen || self.is_held(partition) || self.halt(partition).is_some() {
            return None;
        }
        let raised = self.raise(partition);
        self.owners.entry((partition, raised)).or_insert(Some(process));
        Some(raised)
    }

    fn raise(&mut self, partition: Partition) -> OwnerEpoch {
        let epoch = &mut self.state.rows[index(partition)].progress.owner_epoch;
        epoch.0 += 1;
        *epoch
    }

    /// `store::rules` raises the epochs of all rows; those that are held now are left out.
    pub fn change_rules(&mut self) {
        for partition in (0..self.state.rows.len()).map(partition) {
            if !self.is_held(partition) {
                self.raise(partition);
            }
        }
    }

    /// The last statement of a batch's transaction.
    pub fn compare_and_set(&mut self, id: u64, process: Process, batch: &Arc<Batch>) -> Compared {
        if batch.runs.iter().any(|run| self.is_held(run.partition)) {
            return Compared::Waits;
        }
        let moves = batch.runs.iter().all(|run| {
            let row = &self.row(run.partition).progress;
            let is_ours = row.owner_epoch == run.owner_epoch || self.twin == Twin::EpochNotCompared;
            row.next_offset == run.from && is_ours
        });
        if !moves {
            return Compared::Missed;
        }
        self.open.insert(id, Open { batch: Arc::clone(batch), process });
        Compared::Moved
    }

    pub fn abort(&mut self, id: u64) {
        drop(self.open.remove(&id));
    }

    /// Whether there was still something to commit.
    pub fn commit(&mut self, id: u64, brokers: &Brokers) -> Checked<bool> {
        let Some(Open { batch, process }) = self.open.remove(&id) else { return Ok(false) };
        for run in &batch.runs {
            let row = &mut self.state.rows[index(run.partition)];
            let owner = self.owners.get(&(run.partition, run.owner_epoch));
            let is_owner = owner.is_some_and(|owner| owner.is_none_or(|owner| owner == process));
            must(is_owner && run.owner_epoch == row.progress.owner_epoch, FENCED, || {
                format!("{process:?} commits {run:?} to {row:?}")
            })?;
            check::file(row, run, brokers)?;
            let (progress, records) = (&mut row.progress, i64::try_from(run.records.len()).unwrap());
            progress.next_offset = run.to;
            progress.counters.messages += records;
            progress.counters.control += run.control();
            progress.last_digest = run.last_record().or(progress.last_digest);
        }
        Ok(true)
    }

    /// `halts::record`; `None` while another transaction holds the row.
    pub fn record(&mut self, halt: &Halt, brokers: &Brokers) -> Checked<Option<Recorded>> {
        if self.is_held(halt.partition) {
            return Ok(None);
        }
        let (row, index) = (self.row(halt.partition), index(halt.partition));
        let progress = &row.progress;
        let is_as_seen = match halt.seen {
            SeenRow::Absent => false,
            SeenRow::Read(next, epoch) => progress.next_offset == next && progress.owner_epoch == epoch,
            SeenRow::Owned(epoch) => progress.owner_epoch == epoch,
        };
        if (is_as_seen || self.twin == Twin::HaltUnseen) && self.halt(halt.partition).is_none() {
            check::halt(row, halt)?;
            check::cause(&halt.reason, index, brokers)?;
            self.state.halts[index] = Some(halt.reason.clone());
        }
        let stands = self.halt(halt.partition).is_some();
        Ok(Some(if stands { Recorded::Standing } else { Recorded::Fenced }))
    }

    /// `halts::intervene`: a person has a partition go on where its log begins, or behind the gap that has stopped it,
    /// and is told what that skips.
    pub fn skip(&mut self, partition: Partition, brokers: &Brokers) {
        let (index, log) = (index(partition), &brokers.topics[0].logs[index(partition)]);
        let to = match &self.state.halts[index] {
            Some(StopReason::BelowLogStart { .. }) => log.start,
            Some(StopReason::OffsetGap { found, .. }) => log.start.max(found.0),
            Some(_) | None => return,
        };
        if self.is_held(partition) || brokers.is_recreated {
            return;
        }
        let row = &mut self.state.rows[index];
        let skipped = to - row.progress.next_offset.0;
        if skipped < 0 {
            return;
        }
        (row.progress.next_offset, row.progress.last_digest) = (NextOffset(to), None);
        row.progress.skipped += skipped;
        row.tail = log.before(to);
        self.state.halts[index] = None;
        self.raise(partition);
    }

    pub fn replicate(&mut self) {
        self.standby = self.state.clone();
    }

    /// Everything that is open ends without being committed.
    pub fn restart(&mut self) {
        self.open.clear();
    }

    /// The standby takes over with what it has. Epochs whose raise is lost may be given to a second owner.
    pub fn fail_over(&mut self) {
        self.restart();
        for (lost, kept) in self.state.rows.iter().zip(&self.standby.rows) {
            let partition = lost.progress.partition;
            for epoch in kept.progress.owner_epoch.0 + 1..=lost.progress.owner_epoch.0 {
                self.owners.insert((partition, OwnerEpoch(epoch)), None);
            }
        }
        self.state = self.standby.clone();
    }
}
