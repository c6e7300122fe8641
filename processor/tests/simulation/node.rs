//! A processor without its tasks and threads: what it holds, and what becomes of an event. Stands in for
//! `consume/supervisor.rs`: [`Ownerships`], [`Tickets`] and [`Schedule`] are the production code, and the acts are
//! performed here at once, but for what needs somebody else.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use processor::{
    consume::{
        dialogs::CacheBudget,
        lane::{self, LaneReport},
        ownership::{Act, Event, Ownerships, Shown},
        rounds::{AuditConfig, Schedule},
        tickets::{Ticket, Tickets},
    },
    domain::{obstacle::Obstacle, seat::AssignmentEpoch},
    kafka::{context::Callback, continuity::Continuity, poller::Order, topic::TopicProfile},
};
use schemas::Partition;

use crate::{
    check::{Checked, ONE_THING, must},
    lane::Lane,
    takeover::Taking,
    twin::Twin,
    what::What,
    world::World,
};

/// As in `consume/supervisor.rs`.
const DRAIN_DEADLINE_MS: u64 = 3_000;

pub const LANES: usize = 2;

/// One life of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub node: usize,
    pub incarnation: u32,
}

/// A partition that is read.
pub struct Route {
    pub epoch: AssignmentEpoch,
    pub lane: usize,
    pub position: i64,
    pub continuity: Continuity,
    /// The log has lost what was read.
    pub is_cut: bool,
    /// The client reads no more of it until it is assigned again.
    pub is_dead: bool,
}

pub struct Drain {
    pub partitions: Vec<Partition>,
    /// The releases that it waits for.
    pub releases: Vec<u64>,
    pub until: u64,
}

pub struct Node {
    pub incarnation: u32,
    pub cluster: usize,
    pub is_alive: bool,
    pub frozen_until: u64,
    pub ownerships: Ownerships,
    pub tickets: Tickets,
    pub schedule: Schedule,
    pub lanes: Vec<Lane>,
    pub reports: VecDeque<LaneReport>,
    pub orders: VecDeque<Order>,
    pub routes: BTreeMap<Partition, Route>,
    pub drains: Vec<Drain>,
    /// The releases that the lanes have not answered, and how many there were.
    pub unanswered: BTreeSet<u64>,
    releases: u64,
    /// What the group has to say, and the revocation that is to be answered before the next is heard.
    pub callbacks: VecDeque<Callback>,
    pub awaited: Option<Vec<Partition>>,
    /// The group has thrown it out, which it has not heard yet.
    pub is_lost: bool,
    /// What the group has given, as the callbacks say, each time under another number.
    pub given: BTreeMap<Partition, u64>,
    pub times_given: u64,
    /// What the acts have made of it.
    live: BTreeMap<Ticket, Partition>,
    pub adopted: BTreeMap<Partition, AssignmentEpoch>,
    pub waits: BTreeMap<Partition, Obstacle>,
    /// By how many seconds its wall clock is wrong.
    pub skew: i64,
}

impl Node {
    pub fn new(cluster: usize, now: Instant) -> Self {
        let cache = CacheBudget::new(24);
        let audit = AuditConfig { profile: TopicProfile::Development, every: Duration::from_secs(60) };
        Self {
            incarnation: 0,
            cluster,
            is_alive: false,
            frozen_until: 0,
            ownerships: Ownerships::new(LANES),
            tickets: Tickets::default(),
            schedule: Schedule::new(audit, now),
            lanes: (0..LANES).map(|_| Lane::new(&cache, now)).collect(),
            reports: VecDeque::new(),
            orders: VecDeque::new(),
            routes: BTreeMap::new(),
            drains: Vec::new(),
            unanswered: BTreeSet::new(),
            releases: 0,
            callbacks: VecDeque::new(),
            awaited: None,
            is_lost: false,
            given: BTreeMap::new(),
            times_given: 0,
            live: BTreeMap::new(),
            adopted: BTreeMap::new(),
            waits: BTreeMap::new(),
            skew: 0,
        }
    }

    /// Each partition that the group has given is one thing, and lanes have what is active.
    fn check(&self) -> Checked {
        let all = self.ownerships.all();
        must(self.given.keys().eq(&all), ONE_THING, || format!("given {:?}, here {all:?}", self.given))?;
        let beliefs = self.ownerships.beliefs();
        let active = beliefs.iter().map(|belief| (&belief.partition, &belief.epoch));
        must(self.adopted.iter().eq(active), ONE_THING, || {
            format!("adopted {:?}, believed {beliefs:?}", self.adopted)
        })?;
        let standing = self.ownerships.standing();
        for partition in self.given.keys() {
            let tickets = self.live.values().filter(|of| *of == partition).count();
            let others =
                usize::from(standing.contains(partition)) + usize::from(self.adopted.contains_key(partition));
            must(tickets + others == 1, ONE_THING, || {
                format!("partition {partition}: {:?}, standing {standing:?}, {beliefs:?}", self.live)
            })?;
        }
        Ok(())
    }
}

impl World {
    /// Lets the machine decide about an event, and does what it says.
    pub fn happened(&mut self, process: Process, event: Event) -> Checked {
        if !self.is_here(process) {
            return Ok(());
        }
        self.note(|| format!("{process:?} hears {event:?}"));
        let now = self.instant();
        let acts = self.nodes[process.node].ownerships.on(event, now);
        for act in acts {
            if matches!(act, Act::Rebuild(_)) {
                self.note(|| format!("{process:?} is built again"));
                self.start(process.node);
                return Ok(());
            }
            self.perform(process, act)?;
        }
        self.nodes[process.node].check()
    }

    fn perform(&mut self, process: Process, act: Act) -> Checked {
        if !matches!(act, Act::Show(_)) {
            self.note(|| format!("  {act:?}"));
        }
        let later = self.now + self.delay();
        let (at, orphans) = (self.now, self.twin == Twin::OrphanTakeover);
        let node = &mut self.nodes[process.node];
        match act {
            Act::Take { asked, after, .. } => {
                let tickets: Vec<Ticket> = asked.iter().map(|(_, ticket)| *ticket).collect();
                node.tickets.open(&tickets);
                node.live.extend(asked.iter().map(|(partition, ticket)| (*ticket, *partition)));
                let taking = Taking::new(asked, &node.given);
                let after = u64::try_from(after.as_millis()).unwrap();
                self.later(later + after, What::Takeover(process, taking));
            }
            Act::Forget(ticket) => {
                node.live.remove(&ticket);
                if !orphans {
                    node.tickets.close(ticket);
                }
            }
            Act::Adopt { start, owner_epoch, rules } => {
                let former = node.adopted.insert(start.partition, start.assignment_epoch);
                must(former.is_none(), ONE_THING, || format!("{start:?} is adopted beside {former:?}"))?;
                self.lane_hears(process, start.lane, lane::Event::Adopt(start, owner_epoch, rules));
            }
            Act::Release(lane, partition) => {
                self.release(process, lane, vec![partition])?;
            }
            Act::Drain { lanes, partitions, lost } => {
                let released =
                    lanes.into_iter().map(|(lane, partitions)| self.release(process, lane, partitions));
                let releases = released.collect::<Checked<Vec<u64>>>()?;
                let until = if lost { at } else { at + DRAIN_DEADLINE_MS };
                self.nodes[process.node].drains.push(Drain { partitions, releases, until });
            }
            Act::Order(order) => node.orders.push_back(order),
            Act::Record(ticket, halt) => {
                node.tickets.open(&[ticket]);
                node.live.insert(ticket, halt.partition);
                self.later(later, What::Record(process, ticket, halt));
            }
            Act::Show(Shown::Waits(partition, obstacle)) => {
                node.waits.insert(partition, obstacle);
            }
            Act::Show(Shown::NoLongerWaits(partition, _)) => {
                node.waits.remove(&partition);
            }
            Act::Show(_) | Act::Rebuild(_) => {}
        }
        Ok(())
    }

    /// The partitions leave their lane, which answers to a number when nothing of them is under way.
    fn release(&mut self, process: Process, lane: usize, partitions: Vec<Partition>) -> Checked<u64> {
        let node = &mut self.nodes[process.node];
        for partition in &partitions {
            let former = node.adopted.remove(partition);
            must(former.is_some(), ONE_THING, || format!("{partition} is released and was not adopted"))?;
        }
        node.releases += 1;
        let number = node.releases;
        node.unanswered.insert(number);
        self.lane_hears(process, lane, lane::Event::Release(number, partitions));
        Ok(number)
    }

    /// Tells the supervisor of revoked partitions of which nothing is under way, or not for long enough.
    pub fn drained(&mut self, process: Process) -> Checked {
        let (now, node) = (self.now, &mut self.nodes[process.node]);
        let is_answered = |release: &u64| !node.unanswered.contains(release);
        let is_over = |drain: &Drain| drain.until <= now || drain.releases.iter().all(is_answered);
        let Some(at) = node.drains.iter().position(is_over) else { return Ok(()) };
        let partitions = node.drains.remove(at).partitions;
        self.happened(process, Event::Drained(partitions))
    }

    /// The client hands out the next callback of the group, if it has the answer to the former one.
    pub fn call_back(&mut self, process: Process) -> Checked {
        let node = &mut self.nodes[process.node];
        if node.awaited.is_some() {
            return Ok(());
        }
        let callback = if std::mem::take(&mut node.is_lost) {
            let partitions: Vec<Partition> = node.given.keys().copied().collect();
            if partitions.is_empty() {
                self.join(process.node);
                return Ok(());
            }
            Callback::Revoke { partitions, lost: true }
        } else {
            let Some(callback) = node.callbacks.pop_front() else { return Ok(()) };
            callback
        };
        let node = &mut self.nodes[process.node];
        let event = match callback {
            Callback::Assign(partitions) => {
                for partition in &partitions {
                    node.times_given += 1;
                    node.given.insert(*partition, node.times_given);
                }
                Event::Assigned(partitions)
            }
            Callback::Revoke { partitions, lost } => {
                node.given.retain(|given, _| !partitions.contains(given));
                node.awaited = Some(partitions.clone());
                Event::Revoked { partitions, lost }
            }
            Callback::LogEnds(ends) => Event::LogEnds(ends),
        };
        self.happened(process, event)
    }
}
