//! What a poll thread and its Kafka client do between them: stands in for `kafka/poller.rs`. Which gaps are
//! explained is the production code ([`Continuity`]). The client validates its position after an election, and
//! says so when it is out of range; it begins to ask for another topic's records whenever it learns of that topic.
//! It says as well that it has passed over what compaction has removed, and in which partition. librdkafka names
//! none, so that the others are in doubt with it, and halt more often.

use processor::{
    consume::ownership::{Difference, Event},
    domain::position::{NextOffset, Offset},
    kafka::{
        continuity::Continuity,
        poller::{Chunk, Entry, Order},
    },
};
use schemas::Partition;

use crate::{
    brokers::index,
    check::{Checked, ONE_THING, must},
    node::{Process, Route},
    twin::Twin,
    world::World,
};

const CHUNKS_MAX: usize = 3;
const CHUNK_RECORDS_MAX: u64 = 5;

impl World {
    /// One turn of the poll thread: the orders that wait, then something of one partition.
    pub fn poll(&mut self, process: Process) -> Checked {
        while let Some(order) = self.nodes[process.node].orders.pop_front() {
            self.obey(process, order)?;
        }
        let routed = self.nodes[process.node].routes.len();
        if routed == 0 {
            return Ok(());
        }
        let at = self.dice.pick(routed);
        let Some(partition) = self.nodes[process.node].routes.keys().nth(at).copied() else { return Ok(()) };
        if self.reads_another_topic(process) && self.twin != Twin::RecreatedUnseen {
            return if self.dice.one_in(4) { self.unknown_topic(process) } else { Ok(()) };
        }
        self.fetch(process, partition)
    }

    fn reads_another_topic(&self, process: Process) -> bool {
        let cluster = self.nodes[process.node].cluster;
        cluster == 0 && self.brokers.topics[cluster].identity.topic_id != self.brokers.registered
    }

    fn unknown_topic(&mut self, process: Process) -> Checked {
        let beliefs = self.nodes[process.node].ownerships.beliefs();
        let all = beliefs.iter().map(|belief| (belief.partition, belief.epoch, Difference::Topic));
        self.happened(process, Event::Differ(all.collect()))
    }

    fn obey(&mut self, process: Process, order: Order) -> Checked {
        let node = &mut self.nodes[process.node];
        match order {
            Order::Assign(starts) => {
                for start in starts {
                    let route = Route {
                        epoch: start.assignment_epoch,
                        lane: start.lane,
                        position: start.next_offset.0,
                        continuity: Continuity::new(start.partition, start.next_offset),
                        is_cut: false,
                        is_dead: false,
                    };
                    let former = node.routes.insert(start.partition, route);
                    must(former.is_none(), ONE_THING, || format!("{start:?} is read twice"))?;
                }
            }
            Order::Unassign(partitions) => {
                let awaited = node.awaited.take();
                must(awaited.as_ref() == Some(&partitions), ONE_THING, || {
                    format!("{partitions:?} is the answer to {awaited:?}")
                })?;
                node.routes.retain(|partition, _| !partitions.contains(partition));
                self.given_up(process.node, &partitions);
            }
            Order::Halt(partition) => {
                node.routes.remove(&partition);
            }
            Order::Mirror(_) | Order::Stop => {}
        }
        Ok(())
    }

    fn fetch(&mut self, process: Process, partition: Partition) -> Checked {
        let node = &mut self.nodes[process.node];
        let log = &self.brokers.topics[node.cluster].logs[index(partition)];
        let Some(route) = node.routes.get_mut(&partition) else { return Ok(()) };
        let lane = &mut node.lanes[route.lane];
        if !log.has_leader || route.is_dead || lane.chunks.len() >= CHUNKS_MAX {
            return Ok(());
        }
        if route.is_cut || route.position < log.start || route.position > log.end() {
            route.is_dead = true;
            return self.out_of_range(process, partition);
        }
        let (epoch, from) = (route.epoch, route.position);
        let mut chunk = Chunk::new();
        let explains = self.twin != Twin::ControlIsGap;
        let to = log.end().min(from + i64::try_from(self.dice.between(1, CHUNK_RECORDS_MAX)).unwrap());
        // Now and then a record comes twice.
        let from = if self.dice.one_in(30) { (from - 1).max(log.start) } else { from };
        for offset in from..to {
            if log.is_hole(offset) && offset >= route.position {
                route.continuity.doubt();
            }
            let Some(serial) = log.record(offset) else { continue };
            let explained = route.continuity.record(Offset(offset));
            chunk
                .extend(explained.filter(|_| explains).map(|explained| (epoch, Entry::Explained(explained))));
            chunk.push((epoch, Entry::Record(self.brokers.raw(serial))));
        }
        route.position = to.max(route.position);
        if route.position == log.end() {
            route.continuity.reached_end();
        }
        if route.continuity.take_end() {
            let explained = route.continuity.came_to(NextOffset(route.position));
            chunk
                .extend(explained.filter(|_| explains).map(|explained| (epoch, Entry::Explained(explained))));
        }
        if !chunk.is_empty() {
            lane.chunks.push_back(chunk);
        }
        Ok(())
    }

    /// The client says that one of its partitions cannot be read, and not which.
    fn out_of_range(&mut self, process: Process, partition: Partition) -> Checked {
        self.note(|| format!("{process:?} is out of range in partition {partition}"));
        if self.twin == Twin::OutOfRangeEndsAll {
            self.nodes[process.node].is_alive = false;
            return Ok(());
        }
        if self.twin == Twin::RecreatedUnseen && self.reads_another_topic(process) {
            return Ok(());
        }
        let now = self.instant();
        if self.twin != Twin::DoubtForgotten {
            self.nodes[process.node].ownerships.doubt_logs();
        }
        self.nodes[process.node].schedule.look_now(now);
        Ok(())
    }

    /// The supervisor hears the next report of the lanes.
    pub fn hear(&mut self, process: Process) -> Checked {
        match self.nodes[process.node].reports.pop_front() {
            Some(report) => self.happened(process, Event::Lane(report)),
            None => Ok(()),
        }
    }
}
