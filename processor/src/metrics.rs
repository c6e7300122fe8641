//! The processor's metrics. The doc comment of each is its HELP text.

use service_kit::{
    clock::unix_time,
    metrics_macro::{COUNTS, SECONDS},
};

use crate::{consume::batch::Batch, store::apply::Applied};

service_kit::metrics! {
    /// Every metric of a processor.
    pub struct Metrics {
        /// Records applied, by what became of them: message, duplicate, command, dead_letter.
        processor_records_total: IntCounterVec = &["outcome"],
        /// Dead letters written, by reason.
        processor_dead_letters_total: IntCounterVec = &["reason"],
        /// Time of an attempt to apply a batch, from the first statement to the answer to COMMIT.
        processor_apply_seconds: Histogram = SECONDS,
        /// Records in an applied batch.
        processor_batch_records: Histogram = COUNTS,
        /// Time from the append of a batch's oldest record to its commit, by the clocks of broker and processor.
        processor_stored_seconds: Histogram = SECONDS,
        /// Attempts that failed, by what was to be done: retry, bisect, settle, halt.
        processor_apply_failures_total: IntCounterVec = &["action"],
        /// Transactions whose outcome was read from the rows, by verdict: done, redo, fenced.
        processor_ambiguous_commits_total: IntCounterVec = &["verdict"],
        /// Partitions that another owner had taken, or that a failover had moved back.
        processor_fenced_total: IntCounter = (),
        /// Attempts that did not end in time and were left behind.
        processor_abandoned_attempts_total: IntCounter = (),
        /// Time to get a connection to PostgreSQL.
        processor_connect_seconds: Histogram = SECONDS,
        /// Rebalances, by event: assigned, revoked, lost.
        processor_rebalances_total: IntCounterVec = &["event"],
        /// Time from a revocation until nothing of the partitions was under way any more.
        processor_drain_seconds: Histogram = SECONDS,
        /// Records dropped because they came from a former assignment, or came twice.
        processor_stale_records_total: IntCounter = (),
        /// Clients of a batch, by whether the cache knew them: hit, miss.
        processor_cache_lookups_total: IntCounterVec = &["result"],
        /// Partitions that are read now.
        processor_owned_partitions: IntGauge = (),
        /// Partitions that wait until their lane has room.
        processor_paused_partitions: IntGauge = (),
        /// Partitions that stand still until a person decides, by reason.
        processor_partition_halted: IntGaugeVec = &["partition", "reason"],
        /// Records of an owned partition that are not applied yet.
        processor_lag_records: IntGaugeVec = &["partition"],
        /// When an owned partition last advanced, in seconds since 1970.
        processor_last_advance_timestamp_seconds: IntGaugeVec = &["partition"],
    }
}

impl Metrics {
    /// Counts a batch that was applied.
    pub fn count_applied(&self, batch: &Batch, applied: &Applied) {
        self.processor_batch_records.observe(batch.len() as f64);
        for (_, counters) in &applied.counters {
            let outcomes = [
                ("message", counters.messages),
                ("duplicate", counters.duplicates),
                ("command", counters.commands),
                ("dead_letter", counters.dead_letters),
            ];
            for (outcome, count) in outcomes {
                let count = u64::try_from(count).unwrap_or_default();
                self.processor_records_total.with_label_values(&[outcome]).inc_by(count);
            }
        }
        for (_, _, reason) in &applied.dead_letters {
            self.processor_dead_letters_total.with_label_values(&[reason]).inc();
        }
        if let Some(oldest) = batch.records().map(|record| record.raw.appended_at.as_millis()).min() {
            let now = i64::try_from(unix_time().as_millis()).unwrap_or(i64::MAX);
            self.processor_stored_seconds.observe((now - oldest).max(0) as f64 / 1_000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_a_contract_with_dashboards_and_alerts() {
        let expected = include_str!("../tests/fixtures/metric_names.txt");
        assert_eq!(Metrics::NAMES.join("\n") + "\n", expected);
        Metrics::new().unwrap();
    }
}
