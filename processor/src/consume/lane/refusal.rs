//! What a lane does about a batch that PostgreSQL refuses: look for the record that is to blame, stop the
//! partitions whose tables are not what they were, ask the rows, try with less, or try again.

use std::{sync::Arc, time::Instant};

use super::{LaneMachine, Phase};
use crate::{
    consume::attempt::Work,
    domain::{
        batch::Batch,
        decode::Content,
        fold::ForeignWrite,
        halt::{SchemaFault, StopReason},
    },
    store::StoreError,
};

impl LaneMachine {
    pub(super) fn refused(&mut self, work: Work, error: StoreError, now: Instant) {
        match (work, error) {
            (Work::Apply(batch), StoreError::Record { sqlstate, constraint, why }) => {
                self.clock.answered();
                let refusal = Refusal { sqlstate: &sqlstate, constraint: constraint.as_deref(), why };
                self.suspect(&batch, &refusal, now);
            }
            (Work::Apply(batch), StoreError::Tables(fault)) => {
                self.clock.answered();
                self.mismatched(&batch, &fault);
            }
            (Work::Apply(batch), StoreError::Present(constraint)) => {
                self.clock.answered();
                self.present(batch, &constraint, now);
            }
            (Work::Apply(batch), StoreError::TooMuch(error)) => {
                self.with_less(&batch, &StoreError::TooMuch(error), now);
            }
            (work, error) => self.failed(work, &error, now),
        }
    }

    /// A record of the batch cannot be stored: looks for it.
    fn suspect(&mut self, batch: &Batch, refusal: &Refusal<'_>, now: Instant) {
        self.count_failure("bisect");
        let Err(single) = self.split(batch) else { return };
        let Some(run) = single.runs.first() else { return };
        let (partition, offset) = (run.partition, run.from.offset());
        let is_letter = run.records.iter().any(|record| matches!(record.content, Content::DeadLetter(_)));
        tracing::error!(
            partition = partition.0,
            offset = offset.0,
            sqlstate = refusal.sqlstate,
            constraint = refusal.constraint,
            why = refusal.why,
            "the database refuses a record"
        );
        if is_letter {
            // The dead letters do not take it either, though they take any record as it came: their table was changed.
            let fault = SchemaFault {
                sqlstate: refusal.sqlstate.to_owned(),
                table: Some("dead_letters".to_owned()),
                column: None,
                constraint: refusal.constraint.map(str::to_owned),
                routine: None,
            };
            return self.halt(partition, StopReason::SchemaMismatch(Box::new(fault)));
        }
        let Some(state) = self.partitions.get_mut(&partition) else { return };
        match state.limit.admit(0, 1, now) {
            Ok(()) => self.parts.push_front(single.rejected(refusal.sqlstate)),
            Err(passed) => self.halt(partition, passed.into()),
        }
    }

    /// The tables refuse good records: tells the partitions apart, since those that the fault does not touch
    /// go on, and halts each that it does.
    fn mismatched(&mut self, batch: &Batch, fault: &SchemaFault) {
        if batch.runs.len() > 1 && self.split(batch).is_ok() {
            return;
        }
        for run in &batch.runs {
            self.halt(run.partition, StopReason::SchemaMismatch(Box::new(fault.clone())));
        }
    }

    /// A row is there that only the owner of these partitions writes. Either a transaction that was left behind
    /// has become visible late: then `partition_progress` says so. Or, when it says that nothing was committed and
    /// the row is still there, another writer is at work.
    fn present(&mut self, batch: Arc<Batch>, constraint: &str, now: Instant) {
        self.present += 1;
        tracing::warn!(constraint, records = batch.len(), "a row is there already, reading the rows");
        if self.present == 1 {
            self.count_failure("settle");
            return self.settle(batch, now);
        }
        self.count_failure("bisect");
        let Err(single) = self.split(&batch) else { return };
        let Some(run) = single.runs.first() else { return };
        let (partition, offset) = (run.partition, run.from.offset());
        self.foreign(batch, ForeignWrite { partition, offset }, now);
    }

    /// A row of a record was there before it. Halts its partition, once `partition_progress` has said that it is
    /// not a row of our own.
    pub(super) fn foreign(&mut self, batch: Arc<Batch>, foreign: ForeignWrite, now: Instant) {
        if std::mem::take(&mut self.present) == 0 {
            self.present = 1;
            return self.settle(batch, now);
        }
        self.parts.push_front(Batch::clone(&batch));
        self.halt(foreign.partition, StopReason::ForeignWrite { offset: foreign.offset });
    }

    /// Puts the halves of a batch where it was.
    ///
    /// # Errors
    /// The batch of a single record.
    fn split(&mut self, batch: &Batch) -> Result<(), Batch> {
        let [first, second] = batch.clone().split()?;
        self.parts.push_front(second);
        self.parts.push_front(first);
        Ok(())
    }

    /// Too much for the database: half of it, after a pause. A single record is tried again and again: time says
    /// nothing about what it holds.
    fn with_less(&mut self, batch: &Batch, error: &StoreError, now: Instant) {
        self.count_failure("less");
        self.part_limit.shrink(batch.len());
        let (part, rest) = self.part_limit.cut(batch.clone());
        if let Some(rest) = rest {
            self.parts.push_front(rest);
        }
        let (delay, records) = (self.backoff.next_delay(), part.len());
        match batch.runs.first().filter(|_| batch.len() == 1) {
            Some(run) => tracing::error!(
                %error,
                partition = run.partition.0,
                offset = run.from.0,
                delay_ms = delay.as_millis(),
                "a single record is too much, trying again"
            ),
            None => {
                tracing::warn!(%error, delay_ms = delay.as_millis(), records, "not applied, trying with less")
            }
        }
        self.phase = Phase::Waiting { work: Work::Apply(Arc::new(part)), until: now + delay };
    }

    /// For a reason that passes: the same again, later.
    fn failed(&mut self, work: Work, error: &StoreError, now: Instant) {
        self.count_failure("retry");
        let delay = self.backoff.next_delay();
        tracing::warn!(%error, delay_ms = delay.as_millis(), records = work.batch().len(), "not applied, trying again");
        self.phase = Phase::Waiting { work, until: now + delay };
    }
}

/// Why the server refuses a record.
struct Refusal<'a> {
    sqlstate: &'a str,
    constraint: Option<&'a str>,
    why: &'a str,
}
