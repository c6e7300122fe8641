//! What the ends of the logs tell, beside their records.

use std::{collections::HashSet, time::Instant};

use rdkafka::{Offset as KafkaOffset, consumer::Consumer as _, error::KafkaResult};
use schemas::Partition;
use service_kit::count::signed;

use super::{Entry, Poller};
use crate::{domain::position::NextOffset, kafka::transactions::LogEnds};

impl Poller {
    /// Looks, about once a second, at what the ends of the logs tell beside their records: offsets at the end
    /// that hold nothing to apply, and transactions that hold records back.
    pub(super) fn look_at_ends(&mut self, ends: Vec<LogEnds>) -> KafkaResult<()> {
        let now = Instant::now();
        for ends in ends {
            let partition = ends.partition;
            // What is not fetched is not known: an old answer must not look like an open transaction.
            if !self.routes.contains_key(&partition) || self.paused.contains(&partition) {
                self.forget_transaction(partition);
                continue;
            }
            let (lasts, is_news) = self.transactions.look(ends, now);
            if is_news {
                tracing::error!(
                    partition = partition.0,
                    from_offset = ends.stable.0,
                    held_back = ends.high.0 - ends.stable.0,
                    seconds = lasts.as_secs(),
                    "a kafka transaction stays open and holds back the records behind it"
                );
            }
            let seconds = signed(lasts.as_secs());
            let open = &self.metrics.processor_transaction_open_seconds;
            open.with_label_values(&[&partition.to_string()]).set(seconds);
        }
        self.explain_ends()
    }

    /// Hands on that there is nothing to apply between the last record of a partition and the end that the
    /// consumer has come to.
    fn explain_ends(&mut self) -> KafkaResult<()> {
        let mut at_end = HashSet::new();
        for (partition, route) in &mut self.routes {
            if route.continuity.take_end() {
                at_end.insert(*partition);
            }
        }
        // The consumer's position may count records of another topic, which were dropped.
        let context = self.consumer.context();
        if at_end.is_empty() || context.is_compacted() || context.reads_another_topic() {
            return Ok(());
        }
        // Counts the ends of transactions that were passed over, and is of this assignment: the consumer has told
        // of the end since. All records below it have been routed, on this thread.
        for element in self.consumer.position()?.elements() {
            let partition = Partition(element.partition());
            let (KafkaOffset::Offset(position), true) = (element.offset(), at_end.contains(&partition))
            else {
                continue;
            };
            let Some(route) = self.routes.get_mut(&partition) else {
                continue;
            };
            if let Some(explained) = route.continuity.came_to(NextOffset(position))
                && let Some(outlet) = self.outlets.get_mut(route.lane)
            {
                outlet.open.push((route.assignment_epoch, Entry::Explained(explained)));
            }
        }
        Ok(())
    }

    pub(super) fn forget_transaction(&mut self, partition: Partition) {
        self.transactions.forget(partition);
        let open = &self.metrics.processor_transaction_open_seconds;
        let _absent = open.remove_label_values(&[&partition.to_string()]).is_err();
    }
}
