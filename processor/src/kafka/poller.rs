//! The thread that owns the consumer. It never stops polling for longer than `PAUSE_AFTER` a lane, and never waits
//! for PostgreSQL: records go to the lanes through bounded channels, rebalances to the supervisor, whose answers
//! come back as orders. When a lane is full, its partitions are paused and polling goes on (R24).
//!
//! Only partitions with a route are read. A record of any other is left over from a former
//! assignment and dropped.

mod backpressure;
mod ends;
mod trouble;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    ops::ControlFlow,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset as KafkaOffset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};
use schemas::Partition;
use tokio::sync::mpsc::Sender;

use super::{
    context::{Callback, Context},
    continuity::{Continuity, Explained},
    topic,
    transactions::OpenTransactions,
};
use crate::{
    domain::{
        position::NextOffset,
        record::RawRecord,
        seat::{AssignmentEpoch, Start},
    },
    failpoint::failpoint,
    metrics::Metrics,
    status::{Instruments, Status},
};

/// What the supervisor wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Read partitions that the group has given us, from these places on; also of one that is read from elsewhere.
    Assign(Vec<Start>),
    /// The answer to [`Callback::Revoke`]. Partitions that were never read may be among them.
    Unassign(Vec<Partition>),
    /// Read no more of a partition, until it is assigned again.
    Halt(Partition),
    /// Copy next offsets to the consumer group, where lag tools look. Never read again.
    Mirror(Vec<(Partition, NextOffset)>),
    /// Leave the group and end.
    Stop,
}

#[derive(Debug)]
pub enum Report {
    /// A callback of the consumer.
    Callback(Callback),
    /// One of the partitions cannot be read; rust-rdkafka does not say which.
    Trouble(Trouble),
    /// The consumer is of no use any more: the process has to end.
    Failed(KafkaError),
}

/// What keeps a partition from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its next offset is outside the log.
    OutOfRange,
    /// The brokers do not know the topic, or not under the id that the consumer knows.
    UnknownTopic,
    /// Its next batch cannot be read.
    Batch,
}

/// What was read of a partition.
#[derive(Debug)]
pub enum Entry {
    Record(RawRecord),
    /// Offsets that hold nothing to apply.
    Explained(Explained),
}

/// What was read for one lane, in the order in which it was read.
pub type Chunk = Vec<(AssignmentEpoch, Entry)>;

/// Records in a chunk; a lane's channel holds [`CHUNKS_MAX`] of them.
const CHUNK_RECORDS_MAX: usize = 256;
const CHUNK_BYTES_MAX: usize = 512 * 1024;

/// Chunks in the channel of a lane.
pub const CHUNKS_MAX: usize = 16;

/// How long `poll` may wait: the longest delay of an order.
const POLL_MAX: Duration = Duration::from_millis(20);

struct Route {
    assignment_epoch: AssignmentEpoch,
    lane: usize,
    /// A pause before the first record of an assignment loses its start offset (pitfalls 10).
    has_delivered: bool,
    /// Which offsets that no record has are explained.
    continuity: Continuity,
}

/// What a lane gets, and what it could not take yet.
struct Outlet {
    sender: Sender<Chunk>,
    open: Chunk,
    open_bytes: usize,
    /// Full chunks that wait while the lane's partitions are paused.
    backlog: VecDeque<Chunk>,
}

/// What is read, and as whom: for the consumer, and for people.
#[derive(Debug, Clone)]
pub struct Names {
    pub topic: String,
    pub group: String,
    pub user: String,
}

pub struct Poller {
    consumer: BaseConsumer<Context>,
    topic: String,
    group: String,
    user: String,
    orders: Receiver<Order>,
    reports: Sender<Report>,
    routes: BTreeMap<Partition, Route>,
    paused: HashSet<Partition>,
    outlets: Vec<Outlet>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    transactions: OpenTransactions,
    /// The last error that was logged, and when.
    logged: Option<(RDKafkaErrorCode, Instant)>,
    /// When it was last reported that another topic is read.
    other_reported_at: Option<Instant>,
}

impl Poller {
    /// A poller that feeds `lanes`. The consumer has subscribed to the topic.
    pub fn new(
        consumer: BaseConsumer<Context>,
        Names { topic, group, user }: Names,
        orders: Receiver<Order>,
        reports: Sender<Report>,
        lanes: Vec<Sender<Chunk>>,
        Instruments { metrics, status }: Instruments,
    ) -> Self {
        let outlet = |sender| Outlet { sender, open: Chunk::new(), open_bytes: 0, backlog: VecDeque::new() };
        Self {
            consumer,
            topic,
            group,
            user,
            orders,
            reports,
            routes: BTreeMap::new(),
            paused: HashSet::new(),
            outlets: lanes.into_iter().map(outlet).collect(),
            metrics,
            status,
            transactions: OpenTransactions::default(),
            logged: None,
            other_reported_at: None,
        }
    }

    /// Polls until told to stop, or until the consumer fails; then leaves the group.
    pub fn run(mut self) {
        loop {
            match self.turn() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(error) => {
                    // If nobody listens, the supervisor has ended, and the process with it.
                    let _ended = self.reports.blocking_send(Report::Failed(error)).is_err();
                    break;
                }
            }
        }
        self.consumer.context().close();
    }

    fn turn(&mut self) -> KafkaResult<ControlFlow<()>> {
        self.status.beat();
        while let Ok(order) = self.orders.try_recv() {
            if self.on_order(order)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.empty_backlogs()?;
        // Before the poll: the consumer's position must not count a record that was polled and is not routed yet, or
        // the offset of that record would be explained away.
        if let Some(ends) = self.consumer.context().take_ends() {
            self.look_at_ends(ends)?;
        }
        let nothing_waits = self.outlets.iter().all(|outlet| outlet.open.is_empty());
        let wait = if nothing_waits { POLL_MAX } else { Duration::ZERO };
        let polled = self.consumer.poll(wait).map(|polled| polled.map(|message| topic::copy(&message)));
        for callback in self.consumer.context().take() {
            if self.reports.blocking_send(Report::Callback(callback)).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match polled {
            // After the poll: the topic changes before the first record of the new one is asked for.
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_)))
                if self.consumer.context().reads_another_topic() =>
            {
                self.report_another_topic()?;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                if let Some(route) = self.routes.get_mut(&Partition(partition)) {
                    route.continuity.reached_end();
                }
            }
            Some(Ok(record)) => {
                failpoint!("after_poll");
                self.route(record)?;
            }
            Some(Err(error)) => self.on_error(error)?,
            // Nothing more at once: what has come so far must not wait for company.
            None => (0..self.outlets.len()).try_for_each(|lane| self.flush(lane))?,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_order(&mut self, order: Order) -> KafkaResult<ControlFlow<()>> {
        match order {
            Order::Assign(starts) => self.assign(&starts)?,
            Order::Unassign(partitions) => self.unassign(&partitions)?,
            Order::Halt(partition) => {
                self.forget_transaction(partition);
                if self.routes.remove(&partition).is_some() && self.paused.insert(partition) {
                    self.consumer.pause(&self.list([partition]))?;
                }
            }
            Order::Mirror(offsets) => self.mirror(&offsets)?,
            Order::Stop => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The one assign: each partition with its explicit offset, and the result is looked at (R11). A partition that
    /// is assigned already leaves first: it is to be read from another place.
    fn assign(&mut self, starts: &[Start]) -> KafkaResult<()> {
        let assigned = self.consumer.assignment()?;
        let is_held = |partition: &Partition| assigned.find_partition(&self.topic, partition.0).is_some();
        let held: Vec<Partition> = starts.iter().map(|start| start.partition).filter(is_held).collect();
        if !held.is_empty() {
            self.unassign(&held)?;
        }
        let mut list = TopicPartitionList::new();
        for start in starts {
            let offset = KafkaOffset::Offset(start.next_offset.0);
            list.add_partition_offset(&self.topic, start.partition.0, offset)?;
        }
        self.consumer.incremental_assign(&list)?;
        failpoint!("inside_assign");
        for start in starts {
            let route = Route {
                assignment_epoch: start.assignment_epoch,
                lane: start.lane,
                has_delivered: false,
                continuity: Continuity::new(start.partition, start.next_offset),
            };
            self.routes.insert(start.partition, route);
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[Partition]) -> KafkaResult<()> {
        // A pause would outlive the assignment (pitfalls 11).
        let paused: Vec<Partition> =
            partitions.iter().copied().filter(|partition| self.paused.remove(partition)).collect();
        if !paused.is_empty() {
            self.consumer.resume(&self.list(paused))?;
        }
        for partition in partitions {
            self.routes.remove(partition);
            self.forget_transaction(*partition);
        }
        // Partitions that were not taken up were never assigned, and librdkafka refuses a list that names one.
        let assigned = self.consumer.assignment()?;
        failpoint!("inside_revoke");
        let held = partitions.iter().copied().filter(|p| assigned.find_partition(&self.topic, p.0).is_some());
        self.consumer.incremental_unassign(&self.list(held))
    }

    fn mirror(&mut self, offsets: &[(Partition, NextOffset)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, next_offset) in offsets {
            list.add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(next_offset.0))?;
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "next offsets not copied to the consumer group");
        }
        failpoint!("after_ack");
        Ok(())
    }

    fn route(&mut self, record: RawRecord) -> KafkaResult<()> {
        let Some(route) = self.routes.get_mut(&record.partition) else {
            self.metrics.processor_stale_records_total.inc();
            return Ok(());
        };
        route.has_delivered = true;
        let (lane, epoch) = (route.lane, route.assignment_epoch);
        let explained = route.continuity.record(record.offset);
        let Some(outlet) = self.outlets.get_mut(lane) else {
            return Ok(());
        };
        // Of a topic that is compacted, nothing is: its next gap halts the partition.
        if let Some(explained) = explained.filter(|_| !self.consumer.context().is_compacted()) {
            outlet.open.push((epoch, Entry::Explained(explained)));
        }
        outlet.open_bytes += record.size_bytes();
        outlet.open.push((epoch, Entry::Record(record)));
        if outlet.open.len() >= CHUNK_RECORDS_MAX || outlet.open_bytes >= CHUNK_BYTES_MAX {
            self.flush(lane)?;
        }
        Ok(())
    }

    fn list(&self, partitions: impl IntoIterator<Item = Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition.0);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use uuid::Uuid;

    use super::*;
    use crate::kafka::client::{self, ConsumerConfig, KafkaConfig};

    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        kafka: KafkaConfig,
        #[command(flatten)]
        consumer: ConsumerConfig,
    }

    #[test]
    fn a_fatal_error_of_the_client_is_reported() {
        // Nobody listens there: the error comes from the client itself.
        let Settings { kafka, consumer } = Settings::parse_from(["test", "--kafka-brokers=127.0.0.1:1"]);
        let consumer =
            client::group_consumer(&kafka, &consumer, Context::new(Uuid::nil(), Arc::default())).unwrap();
        consumer.subscribe(&[&kafka.topic]).unwrap();
        kafka_ffi::raise_fatal_error(consumer.client());
        let (reports, mut reported) = tokio::sync::mpsc::channel(64);
        let (_orders, orders) = std::sync::mpsc::sync_channel(1);
        let instruments = Instruments { metrics: Arc::new(Metrics::new().unwrap()), status: Arc::default() };
        let names = Names { user: kafka.user(), topic: kafka.topic, group: String::new() };
        let poller = Poller::new(consumer, names, orders, reports, Vec::new(), instruments);
        // Not joined, as the supervisor does not: librdkafka may never end a client that failed for good while
        // no broker answers. The process ends all the same.
        std::thread::spawn(move || poller.run());
        loop {
            match reported.blocking_recv() {
                Some(Report::Failed(_)) => break,
                Some(Report::Callback(_) | Report::Trouble(_)) => {}
                None => panic!("the thread ended without a word"),
            }
        }
    }
}
