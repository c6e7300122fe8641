//! What people see of partitions: gauges, readiness and the log. The one place that knows all three.

use std::{sync::Arc, time::Duration};

use schemas::Partition;
use service_kit::{Problems, clock::unix_time, count::signed};

use super::ownership::Shown;
use crate::{
    domain::{halt::StopReason, progress::Progress},
    metrics::Metrics,
    status::Status,
};

/// Where a processor shows what it does.
pub struct Screens {
    metrics: Arc<Metrics>,
    status: Arc<Status>,
}

impl Screens {
    pub const fn new(metrics: Arc<Metrics>, status: Arc<Status>) -> Self {
        Self { metrics, status }
    }

    /// For what is measured elsewhere.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn show(&self, shown: Shown) {
        match shown {
            Shown::TakenUp { start, owner_epoch, log_end } => tracing::info!(
                partition = start.partition.0,
                next_offset = start.next_offset.0,
                log_end = log_end.0,
                owner_epoch = owner_epoch.0,
                lane = start.lane,
                "partition taken up"
            ),
            Shown::Waits(partition, obstacle) => {
                let reason = obstacle.as_str();
                tracing::warn!(partition = partition.0, reason, detail = %obstacle, "partition not taken up, trying again");
                let labels = [partition.to_string(), reason.to_owned()];
                self.metrics.processor_partition_waiting.with_label_values(&labels).set(1);
                self.status.waits(partition, obstacle);
            }
            Shown::NoLongerWaits(partition, Some(obstacle)) => {
                let labels = [partition.to_string(), obstacle.as_str().to_owned()];
                let _absent = self.metrics.processor_partition_waiting.remove_label_values(&labels).is_err();
                self.status.released(partition);
            }
            Shown::NoLongerWaits(_, None) => {}
            Shown::Advanced(partition) => {
                let now = signed(unix_time().as_secs());
                let advanced = &self.metrics.processor_last_advance_timestamp_seconds;
                advanced.with_label_values(&[&partition.to_string()]).set(now);
            }
            Shown::Fenced(partition) => {
                self.metrics.processor_fenced_total.inc();
                tracing::warn!(partition = partition.0, "partition fenced, taking it again if it stays ours");
            }
            Shown::Differs(partition, what) => {
                let difference = what.as_str();
                self.metrics.processor_differences_total.with_label_values(&[difference]).inc();
                tracing::warn!(
                    partition = partition.0,
                    difference,
                    "the rows or the topic are not what their owner believes, taking the partition up again"
                );
            }
            Shown::NoLongerActive(partition) => self.forget(partition),
            Shown::Halted(partition, reason) => self.halted(partition, reason),
            Shown::NoLongerHalted(partition, reason) => {
                let labels = [partition.to_string(), reason.as_str().to_owned()];
                let _absent = self.metrics.processor_partition_halted.remove_label_values(&labels).is_err();
                self.status.released(partition);
            }
            Shown::Resumed(partition) => {
                tracing::info!(partition = partition.0, "partition resumed by an operator");
            }
            Shown::Lag { partition, records, age_seconds } => {
                let label = partition.to_string();
                self.metrics.processor_lag_records.with_label_values(&[&label]).set(records);
                self.metrics.processor_lag_seconds.with_label_values(&[&label]).set(age_seconds);
            }
            Shown::Owned { active, is_settled } => {
                self.metrics.processor_owned_partitions.set(signed(active));
                if is_settled {
                    self.status.assigned();
                }
            }
        }
    }

    fn halted(&self, partition: Partition, reason: StopReason) {
        tracing::error!(partition = partition.0, reason = reason.as_str(), detail = %reason, "partition halted");
        let labels = [partition.to_string(), reason.as_str().to_owned()];
        self.metrics.processor_partition_halted.with_label_values(&labels).set(1);
        self.status.halted(partition, reason);
    }

    /// A partition is not applied any more: its gauges would be about nothing.
    fn forget(&self, partition: Partition) {
        let (label, metrics) = (partition.to_string(), &self.metrics);
        for gauge in [
            &metrics.processor_lag_records,
            &metrics.processor_lag_seconds,
            &metrics.processor_last_advance_timestamp_seconds,
            &metrics.processor_conservation_gap,
            &metrics.processor_stalled_seconds,
        ] {
            let _absent = gauge.remove_label_values(&[&label]).is_err();
        }
    }

    /// The group has given partitions or taken them: `event` is the metric's label.
    pub fn rebalance(&self, event: &'static str, partitions: &[Partition]) {
        self.metrics.processor_rebalances_total.with_label_values(&[event]).inc();
        let partitions = partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        tracing::info!(%partitions, event, "the group moves partitions");
    }

    /// How many lanes wait for PostgreSQL.
    pub fn lanes_waiting(&self, lanes: usize) {
        self.metrics.processor_lanes_waiting_for_database.set(signed(lanes));
    }

    /// For how long each partition stands still without an excuse.
    pub fn stalls(&self, stalls: impl Iterator<Item = (Partition, Duration)>) {
        for (partition, lasts) in stalls {
            let seconds = signed(lasts.as_secs());
            self.metrics.processor_stalled_seconds.with_label_values(&[&partition.to_string()]).set(seconds);
        }
    }

    /// Whether the counters of the rows add up.
    pub fn gaps(&self, rows: &[Progress]) {
        for row in rows {
            if row.gap() != 0 {
                tracing::error!(
                    partition = row.partition.0,
                    gap = row.gap(),
                    "the partition's counters do not add up"
                );
            }
            let label = row.partition.to_string();
            self.metrics.processor_conservation_gap.with_label_values(&[&label]).set(row.gap());
        }
    }

    /// What is wrong with the topic's settings; `None`: the brokers do not answer.
    pub fn audit(&self, problems: Option<Problems>) {
        let Some(problems) = problems else { return };
        let is_unsafe = !problems.0.is_empty();
        if is_unsafe {
            tracing::error!(%problems, "the topic's settings are not safe any more");
        }
        self.metrics.processor_topic_unsafe.set(i64::from(is_unsafe));
    }
}
