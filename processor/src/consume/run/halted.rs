//! Partitions that stand still: written down for everybody, and taken up again when a person has
//! resumed them, without a restart.

use std::time::Duration;

use schemas::Partition;
use service_kit::retry::Backoff;
use tokio::task::JoinHandle;

use super::{Cause, Internal, Occasion, Ownership, RETAKE_DELAY, RunError, Supervisor};
use crate::{
    consume::takeover::Taker,
    halt::StopReason,
    position::OwnerEpoch,
    store::{
        StoreError,
        halts::{self, Halt, Recorded},
    },
};

/// Whether a halt is in the table.
pub(super) enum HaltRecord {
    /// A task is writing it.
    Writing(JoinHandle<()>),
    /// It is: from now on its end is looked for.
    Standing,
}

impl Supervisor<'_> {
    /// A partition must not go on. Found by the owner of `owner_epoch`, or before there was one.
    pub(super) fn halt(&mut self, partition: Partition, reason: StopReason, owner_epoch: Option<OwnerEpoch>) {
        let halt = Halt { partition, reason: reason.clone(), owner_epoch };
        let task = record(self.taker.clone(), halt, self.internal.clone());
        let record = HaltRecord::Writing(service_kit::spawn("halt", task));
        self.show_halt(partition, reason, record);
    }

    /// A partition was halted before, and nobody has resumed it.
    pub(super) fn still_halted(&mut self, partition: Partition, reason: StopReason) {
        self.show_halt(partition, reason, HaltRecord::Standing);
    }

    fn show_halt(&mut self, partition: Partition, reason: StopReason, record: HaltRecord) {
        tracing::error!(partition = partition.0, reason = reason.as_str(), detail = %reason, "partition halted");
        self.forget(partition);
        let labels = [partition.to_string(), reason.as_str().to_owned()];
        self.metrics.processor_partition_halted.with_label_values(&labels).set(1);
        self.status.halted(partition, reason.clone());
        self.partitions.insert(partition, Ownership::Halted { reason, record });
        self.count_owned();
    }

    /// A halt was written, or belongs to somebody else.
    pub(super) fn recorded(&mut self, partition: Partition, recorded: Recorded) {
        let Some(Ownership::Halted { record, .. }) = self.partitions.get_mut(&partition) else {
            return;
        };
        match recorded {
            Recorded::Standing => *record = HaltRecord::Standing,
            Recorded::Fenced => {
                tracing::warn!(partition = partition.0, "partition was fenced before it could be halted");
                self.take_again(vec![partition], RETAKE_DELAY);
            }
        }
    }

    /// The partitions whose halts are written down.
    pub(super) fn standing(&self) -> Vec<Partition> {
        let standing = self.partitions.iter().filter(|(_, ownership)| {
            matches!(ownership, Ownership::Halted { record: HaltRecord::Standing, .. })
        });
        standing.map(|(partition, _)| *partition).collect()
    }

    /// A person has resumed partitions: take them up again, from wherever they stand now.
    pub(super) fn resumed(&mut self, partitions: Vec<Partition>) -> Option<Cause> {
        let mut again = Vec::with_capacity(partitions.len());
        for partition in partitions {
            match self.partitions.get(&partition) {
                Some(Ownership::Halted { reason: StopReason::TopicRecreated { .. }, .. }) => {
                    // Another topic: nothing that this consumer knows is true of it.
                    return Some(Cause::TopicChanged);
                }
                Some(Ownership::Halted { .. }) => again.push(partition),
                // Revoked while it was looked at.
                Some(Ownership::Active { .. } | Ownership::Taking) | None => {}
            }
        }
        if !again.is_empty() {
            tracing::info!(partitions = %super::list(&again), "partitions resumed by an operator");
            self.take_again(again, Duration::ZERO);
        }
        None
    }

    /// Takes partitions up that the group has not taken from us.
    pub(super) fn take_again(&mut self, partitions: Vec<Partition>, delay: Duration) {
        for partition in &partitions {
            self.forget(*partition);
            self.partitions.insert(*partition, Ownership::Taking);
        }
        self.take(Occasion::Again, partitions, delay);
    }

    /// What was resumed or revoked need not be written any more.
    pub(super) fn drop_record(ownership: Ownership) {
        if let Ownership::Halted { record: HaltRecord::Writing(task), .. } = ownership {
            task.abort();
        }
    }

    pub(super) fn lane_halted(
        &mut self,
        partition: Partition,
        reason: StopReason,
        owner_epoch: OwnerEpoch,
    ) -> Result<(), RunError> {
        self.halt(partition, reason, Some(owner_epoch));
        self.command(super::Command::Halt(partition))
    }
}

/// Writes a halt, however long it takes. Until then the partition stands still in this process only.
async fn record(taker: Taker, halt: Halt, internal: tokio::sync::mpsc::Sender<Internal>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let recorded = loop {
        match try_record(&taker, &halt).await {
            Ok(recorded) => break recorded,
            Err(error) => {
                tracing::warn!(partition = halt.partition.0, %error, "halt not written down, trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    };
    // If nobody listens any more, the process is ending.
    let _ended = internal.send(Internal::Recorded(halt.partition, recorded)).await.is_err();
}

async fn try_record(taker: &Taker, halt: &Halt) -> Result<Recorded, StoreError> {
    let mut connection = taker.database.writer().await?;
    halts::record(&mut connection, taker.topic.topic_ref, halt, &taker.owner).await
}
