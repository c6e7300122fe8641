//! What becomes of an attempt that has ended.

use std::{sync::Arc, time::Instant};

use schemas::{Partition, Timestamp};

use super::{LaneMachine, LaneNews, Phase};
use crate::{
    consume::{
        attempt::{Ended, Outcome, Work},
        traces,
    },
    domain::{
        applied::Applied,
        batch::{Batch, Run},
        decode::Content,
        progress::{Progress, Verdict, judge},
    },
    store::apply::ApplyError,
};

impl LaneMachine {
    pub(super) fn ended(&mut self, ended: Ended, now: Instant) {
        let Phase::Busy { work, left, since } = &self.phase else { return };
        let (whole, kept) = (Arc::clone(work.batch()), work.without(left));
        let took = now.duration_since(*since);
        self.phase = Phase::Idle;
        if ended.is_cache_wrong {
            self.forget_clients(&whole);
        }
        if let Outcome::Applied(applied) = &ended.outcome {
            self.clock.answered();
            self.backoff.reset();
            self.part_limit.applied(whole.len());
            self.present = 0;
            self.pending.paced(took);
            self.metrics.processor_apply_seconds.observe(took.as_secs_f64());
            traces::applied(&self.config.spans, &whole, applied, took);
            self.count(&whole, applied);
        }
        match (kept, ended.outcome) {
            (Some(work), outcome) => self.kept(work, outcome, now),
            (None, Outcome::Failed(error)) => {
                tracing::info!(%error, partitions = whole.runs.len(), "not applied, and others apply it now");
            }
            (None, Outcome::Applied(_) | Outcome::Read(_)) => {}
        }
    }

    /// What becomes of the partitions that were owned all the while.
    fn kept(&mut self, work: Work, outcome: Outcome, now: Instant) {
        let batch = Arc::clone(work.batch());
        match outcome {
            Outcome::Applied(applied) => self.applied(&batch, &applied),
            Outcome::Read(rows) => {
                self.clock.answered();
                self.backoff.reset();
                self.settled(&batch, &rows);
            }
            Outcome::Failed(ApplyError::Store(error)) => self.refused(work, error, now),
            Outcome::Failed(ApplyError::Unsettled(why)) => {
                self.count_failure("settle");
                tracing::warn!(
                    why,
                    partitions = batch.runs.len(),
                    "outcome of a transaction not known, reading the rows"
                );
                self.settle(batch, now);
            }
            Outcome::Failed(ApplyError::Foreign(foreign)) => self.foreign(batch, foreign, now),
        }
    }

    fn applied(&mut self, batch: &Batch, applied: &Applied) {
        for run in &batch.runs {
            if let Some(state) = self.partitions.get_mut(&run.partition) {
                state.cache.learn(run, &applied.after);
            }
        }
        for run in &batch.runs {
            self.advanced(run);
        }
    }

    /// Counts and logs what is in the tables now.
    fn count(&self, batch: &Batch, applied: &Applied) {
        self.metrics.count_applied(batch, applied);
        for (partition, offset, reason) in &applied.dead_letters {
            tracing::warn!(
                partition = partition.0,
                offset = offset.0,
                reason,
                "record kept as a dead letter"
            );
        }
        log_messages(batch);
    }

    fn settled(&mut self, batch: &Batch, rows: &[Progress]) {
        let mut redo = Batch::default();
        for run in &batch.runs {
            let row = rows.iter().find(|row| row.partition == run.partition);
            let verdict = judge(row, run.from, run.to, run.owner_epoch);
            tracing::warn!(
                partition = run.partition.0,
                from = run.from.0,
                to = run.to.0,
                ?verdict,
                "outcome read from the row"
            );
            let label = match verdict {
                Verdict::Done => "done",
                Verdict::Redo => "redo",
                Verdict::Fenced => "fenced",
            };
            self.metrics.processor_ambiguous_commits_total.with_label_values(&[label]).inc();
            match verdict {
                Verdict::Done => self.advanced(run),
                Verdict::Redo => redo.runs.push(run.clone()),
                Verdict::Fenced => self.fenced(run.partition),
            }
        }
        if redo.is_empty() {
            self.present = 0;
        } else {
            self.parts.push_front(redo);
        }
    }

    /// Forgets what depends on whether the transaction was committed, and asks the rows.
    pub(super) fn settle(&mut self, batch: Arc<Batch>, now: Instant) {
        self.forget_clients(&batch);
        self.phase = Phase::Waiting { work: Work::Settle(batch), until: now };
    }

    /// Forgets all clients of a batch's partitions.
    fn forget_clients(&mut self, batch: &Batch) {
        for run in &batch.runs {
            if let Some(state) = self.partitions.get_mut(&run.partition) {
                state.cache.forget();
            }
        }
    }

    fn advanced(&mut self, run: &Run) {
        let oldest = self.oldest_in_hand(run.partition);
        let Some(state) = self.partitions.get_mut(&run.partition) else { return };
        state.oldest_in_hand = oldest;
        self.report(run.partition, LaneNews::Advanced(run.to, oldest));
        self.halt_if_stopped(run.partition);
    }

    /// When the next record that is to be applied of a partition was appended, if the lane has that record.
    fn oldest_in_hand(&self, partition: Partition) -> Option<Timestamp> {
        let part = self.parts.iter().flat_map(|part| &part.runs).find(|run| run.partition == partition);
        let first = part.and_then(|run| run.records.first()).map(Arc::as_ref);
        first.or_else(|| self.pending.first(partition)).map(|record| record.raw.appended_at)
    }
}

/// One line a message, so that a request's id leads from the HTTP request to the row.
fn log_messages(batch: &Batch) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for record in batch.records() {
        if let Content::Message(received) = &record.content {
            let request_id = received.request_id.as_ref().map(schemas::RequestId::as_str);
            let (partition, offset) = (record.raw.partition, record.raw.offset);
            tracing::debug!(request_id, partition = partition.0, offset = offset.0, client_id = %received.message.client_id(), "record applied");
        }
    }
}
