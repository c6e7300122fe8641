//! The processor's metrics. The doc comment of each is its HELP text.

use service_kit::{
    clock::unix_time,
    count::signed,
    metrics_macro::{COUNTS, SECONDS},
};

use crate::domain::{applied::Applied, batch::Batch};

service_kit::metrics! {
    /// Every metric of a processor.
    pub struct Metrics {
        /// Offsets applied, by what became of them: message, duplicate, command, dead_letter, and control for what Kafka itself explains (ends of its transactions, aborted records). Offsets of a transaction whose outcome was read from the rows are missing here; the rows count them.
        processor_records_total: IntCounterVec = &["outcome"],
        /// Dead letters written, by reason.
        processor_dead_letters_total: IntCounterVec = &["reason"],
        /// Time of an attempt that applied a batch, up to the answer to COMMIT, connecting included.
        processor_apply_seconds: Histogram = SECONDS,
        /// Records in an applied batch.
        processor_batch_records: Histogram = COUNTS,
        /// Time from the append of a batch's oldest record to its commit, by the clocks of broker and processor.
        processor_stored_seconds: Histogram = SECONDS,
        /// Failures to apply records, by what was done about them: retry, less, bisect, settle, halt.
        processor_apply_failures_total: IntCounterVec = &["action"],
        /// Transactions whose outcome was read from the rows, by verdict: done, redo, fenced.
        processor_ambiguous_commits_total: IntCounterVec = &["verdict"],
        /// Transactions that were refused because a row was there that their owner believed to be new; the same batch was then applied with care. Anything but 0 means another writer, or an error in Telex.
        processor_copy_conflicts_total: IntCounter = (),
        /// Partitions that another owner had taken, or that a failover had moved back.
        processor_fenced_total: IntCounter = (),
        /// Attempts that did not end in time and were abandoned.
        processor_abandoned_attempts_total: IntCounter = (),
        /// Time to get a connection to PostgreSQL.
        processor_connect_seconds: Histogram = SECONDS,
        /// Rebalances, by event: assigned, revoked, lost.
        processor_rebalances_total: IntCounterVec = &["event"],
        /// Time from a polite revocation until nothing was under way in the partitions, or until the deadline.
        processor_drain_seconds: Histogram = SECONDS,
        /// Records dropped because they came from a former assignment, came twice, or came behind a stop.
        processor_stale_records_total: IntCounter = (),
        /// Clients of a batch, by whether the cache knew them: hit, miss.
        processor_cache_lookups_total: IntCounterVec = &["result"],
        /// Partitions that are read now.
        processor_owned_partitions: IntGauge = (),
        /// Partitions that wait until their lane has room.
        processor_paused_partitions: IntGauge = (),
        /// Partitions that stand still until a person decides, by reason.
        processor_partition_halted: IntGaugeVec = &["partition", "reason"],
        /// Assigned partitions that cannot be taken up now, by what is in the way: database, brokers, log_range, no_record, row_moves, unknown_halt, deadline.
        processor_partition_waiting: IntGaugeVec = &["partition", "reason"],
        /// Partitions taken up again because the rows or the topic were not what their owner believed, by what differed: next_offset, owner_epoch, older_epoch, missing_row, halt, topic, log.
        processor_differences_total: IntCounterVec = &["difference"],
        /// Records of an owned partition that are not applied yet.
        processor_lag_records: IntGaugeVec = &["partition"],
        /// When an owned partition last advanced, in seconds since 1970.
        processor_last_advance_timestamp_seconds: IntGaugeVec = &["partition"],
        /// Age of the oldest record of an owned partition that is not applied yet; 0 if there is none.
        processor_lag_seconds: IntGaugeVec = &["partition"],
        /// Applied offsets of an owned partition minus those that its counters account for. Anything but 0 means a lost or doubled record.
        processor_conservation_gap: IntGaugeVec = &["partition"],
        /// How long an open Kafka transaction has held back the records behind it in an owned partition; 0 if none does.
        processor_transaction_open_seconds: IntGaugeVec = &["partition"],
        /// How long an owned partition with records to apply has not advanced, although Kafka and PostgreSQL answer.
        processor_stalled_seconds: IntGaugeVec = &["partition"],
        /// Rebuilds of the Kafka consumer, by cause: stalled, topic_changed.
        processor_rebuilds_total: IntCounterVec = &["cause"],
        /// Lanes whose attempts PostgreSQL has not answered for five seconds or more.
        processor_lanes_waiting_for_database: IntGauge = (),
        /// 1 if the topic's settings put records at risk.
        processor_topic_unsafe: IntGauge = (),
        /// When the last clean proof looked at the tables, in seconds since 1970, by scope: full, since_last. Every processor reads it from the tables, once a minute.
        processor_proof_timestamp_seconds: IntGaugeVec = &["scope"],
        /// 1 for the newest proof, by scope and verdict: clean, differs, not_provable.
        processor_proof_verdict: IntGaugeVec = &["scope", "verdict"],
        /// Differences that the newest proof has found.
        processor_proof_findings: IntGauge = (),
        /// When the certificates end of those who may sign a server's, in seconds since 1970, by server: kafka, postgresql. As the file held them that `ssl.ca.location` names when the processor started, and as that holds them now that `PGSSLROOTCERT` names.
        processor_authority_expiration_timestamp_seconds: IntGaugeVec = &["server"],
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
                ("control", counters.control),
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
            let now = signed(unix_time().as_millis());
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

    #[test]
    fn operations_md_lists_them() {
        let document = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md"));
        let table = service_kit::reference::metrics(Metrics::DESCRIPTIONS);
        service_kit::reference::check(document, "metrics of processor", &table).unwrap();
    }
}
