//! The world: what is going to happen and when, in simulated time. It has a bad time first, then heals, and is held
//! to what must be true at the end.
//!
//! What it does not do: grow the topic, hold records that say more than that a dialog is to be closed, let others write
//! to the tables or change them, let a Kafka client stall without a word (so the watchdog is not there, and nothing may
//! need it). It spares the machine what that cannot see: a log whose end is lost between a takeover's look and the
//! first fetch, control records alone that are lost, and retention or compaction that removes the only trace of what
//! was lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use processor::{
    consume::ownership::Event,
    domain::{position::TopicRef, rules::PartitionRules},
    store::registry::{RegisteredTopic, Topic},
};
use schemas::Partition;

use crate::{
    brokers::{Brokers, count, partition},
    check::{Checked, FINISHED, LIVES, NOTICED, must},
    database::Database,
    dice::Dice,
    group::{Group, Protocol},
    node::{Node, Process},
    twin::Twin,
    what::What,
};

/// How long after the last fault an owner may believe in a row that has moved back, and how long everything may take.
const NOTICED_MS: u64 = 20_000;
const FINISHED_MS: u64 = 60_000;

const SESSION_MS: u64 = 6_000;

const TRACE_MAX: usize = 80;

pub struct World {
    pub twin: Twin,
    pub dice: Dice,
    /// Milliseconds since the beginning.
    pub now: u64,
    base: Instant,
    queue: BTreeMap<(u64, u64), What>,
    queued: u64,
    pub attempts: u64,
    pub registered: RegisteredTopic,
    pub rules: Vec<Arc<PartitionRules>>,
    pub brokers: Brokers,
    pub database: Database,
    pub groups: Vec<Group>,
    pub nodes: Vec<Node>,
    /// Which nodes were started and not killed since.
    up: Vec<bool>,
    pub heals_at: u64,
    pub is_healed: bool,
    /// Nothing more is appended from then on, nothing more replicated.
    pub quiet_from: (u64, u64),
    /// Which kinds of faults this world knows.
    pub faults: u64,
    is_over: bool,
    trace: Option<VecDeque<String>>,
}

impl World {
    pub fn new(seed: u64, twin: Twin, traces: bool) -> Self {
        let mut dice = Dice::new(seed);
        let (partitions, nodes) = (2 + dice.pick(3), 2 + dice.pick(2));
        let is_foreign = dice.one_in(12);
        let mut brokers = Brokers::new(partitions);
        brokers.is_foreign = is_foreign;
        let count = count(partitions);
        let rules = (0..count.get()).map(|at| Arc::new(PartitionRules::new(Partition(at), count)));
        let heals_at = 10_000 + dice.below(15_000);
        let quiet = if dice.one_in(2) { dice.below(8_000) } else { 0 };
        let protocol = |is_classic| if is_classic { Protocol::Classic } else { Protocol::ByBrokers };
        let groups = (0..2).map(|_| Group::new(partitions, protocol(dice.one_in(2)))).collect();
        let base = Instant::now();
        let cluster = |node: usize| usize::from(is_foreign && node + 1 == nodes);
        let mut world = Self {
            twin,
            now: 0,
            base,
            queue: BTreeMap::new(),
            queued: 0,
            attempts: 0,
            registered: RegisteredTopic {
                topic: Topic {
                    topic_ref: TopicRef(1),
                    topic_id: brokers.registered,
                    partition_count: count,
                    known_partitions: count.get(),
                },
                cluster_id: "here".to_owned(),
            },
            rules: rules.collect(),
            database: Database::new(partitions, twin),
            groups,
            nodes: (0..nodes).map(|node| Node::new(cluster(node), base)).collect(),
            up: vec![false; nodes],
            brokers,
            heals_at,
            is_healed: false,
            quiet_from: (heals_at - quiet, heals_at - dice.below(6_000)),
            faults: dice.below(u64::MAX),
            is_over: false,
            trace: traces.then(VecDeque::new),
            dice,
        };
        for what in [What::Append, What::Replicate, What::Fault] {
            world.later(0, what);
        }
        world.later(heals_at, What::Heal);
        for node in 0..nodes {
            let at = world.dice.below(500);
            world.later(at, What::Start(node));
        }
        world
    }

    /// Lets everything happen.
    pub fn run(&mut self) -> Checked {
        while !self.is_over {
            let Some(((at, _), what)) = self.queue.pop_first() else {
                return must(false, FINISHED, || "nothing is left to happen".to_owned());
            };
            self.now = at;
            if let Some(process) = what.by() {
                let frozen_until = self.nodes[process.node].frozen_until;
                if !self.is_here(process) {
                    continue;
                }
                if frozen_until > self.now {
                    let at = frozen_until + self.dice.below(50);
                    self.later(at, what);
                    continue;
                }
            }
            self.happen(what)?;
            let gone = (0..self.nodes.len()).find(|node| self.up[*node] && !self.nodes[*node].is_alive);
            must(gone.is_none(), LIVES, || format!("{gone:?} has ended"))?;
        }
        Ok(())
    }

    fn happen(&mut self, what: What) -> Checked {
        match what {
            What::Append => self.append(),
            What::Replicate => self.replicate(),
            What::Fault => self.fault(),
            What::Heal => self.heal(),
            What::LookForEnd => self.look_for_the_end()?,
            What::Evict(process) => self.evict(process),
            What::Start(node) => self.start(node),
            What::Lead(partition) => self.brokers.topics[0].logs[partition].has_leader = true,
            What::ComeUp => self.database.is_up = true,
            What::Turn(process) => self.turn(process)?,
            What::Tick(process) => {
                self.begin_rounds(process);
                let seconds = i64::try_from(self.now / 1_000).unwrap();
                let unix_seconds = 1_764_000_000 + seconds + self.nodes[process.node].skew;
                self.happened(process, Event::Tick { unix_seconds })?;
                self.later(self.now + 1_000, What::Tick(process));
            }
            What::Takeover(process, taking) => self.take_over(process, taking)?,
            What::Record(process, ticket, halt) => self.record(process, ticket, halt)?,
            What::Recorded(process, ticket, partition, recorded) => {
                self.happened(process, Event::HaltRecorded(partition, ticket, recorded))?;
            }
            What::Look(process, round, subject) => self.look(process, round, subject),
            What::Seen(process, seen) => self.on_seen(process, seen)?,
            What::Send(process, attempt) => self.send(process, attempt),
            What::Ended(process, lane, number, ended) => self.ended(process, lane, number, ended),
            What::Raise(process, taking) => self.raise(process, taking),
            What::Serve(process, attempt) => self.serve(process, attempt)?,
            What::Expire(id) => self.database.abort(id),
        }
        Ok(())
    }

    /// A few things that a processor may do next, in any order.
    fn turn(&mut self, process: Process) -> Checked {
        for _ in 0..6 {
            if !self.is_here(process) {
                return Ok(());
            }
            match self.dice.below(8) {
                0 => self.call_back(process)?,
                1 | 2 => self.poll(process)?,
                3 | 4 => self.work(process)?,
                5 | 6 => self.hear(process)?,
                _ => self.drained(process)?,
            }
        }
        let at = self.now + self.dice.between(5, 120);
        self.later(at, What::Turn(process));
        Ok(())
    }

    pub fn is_here(&self, process: Process) -> bool {
        let node = &self.nodes[process.node];
        node.is_alive && node.incarnation == process.incarnation
    }

    pub fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    pub fn later(&mut self, at: u64, what: What) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    /// How long something is on its way: now and then for longer than anybody waits. Nothing is, once all is well.
    pub fn delay(&mut self) -> u64 {
        let usual = self.dice.between(1, 15);
        if self.now >= self.heals_at {
            return usual;
        }
        let delay = match self.dice.below(600) {
            0 => self.dice.between(5_000, 40_000),
            1..=12 => self.dice.between(100, 3_000),
            _ => usual,
        };
        delay.min(self.heals_at + 500 - self.now)
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE_MAX {
            trace.pop_front();
        }
        trace.push_back(format!("{:>6} ms  {}", self.now, what()));
    }

    pub fn trace(&self) -> String {
        self.trace.iter().flatten().map(|line| format!("{line}\n")).collect()
    }

    /// A process begins, or begins again.
    pub fn start(&mut self, node: usize) {
        let (cluster, incarnation) = (self.nodes[node].cluster, self.nodes[node].incarnation + 1);
        self.groups[cluster].evict(node, &mut self.dice);
        let mut fresh = Node::new(cluster, self.instant());
        (fresh.incarnation, fresh.is_alive) = (incarnation, true);
        (self.nodes[node], self.up[node]) = (fresh, true);
        let process = Process { node, incarnation };
        self.later(self.now, What::Turn(process));
        self.later(self.now + 1_000, What::Tick(process));
        self.join(node);
    }

    pub fn kill(&mut self, node: usize, down_for: u64) {
        (self.nodes[node].is_alive, self.up[node]) = (false, false);
        let process = Process { node, incarnation: self.nodes[node].incarnation };
        self.later(self.now + SESSION_MS, What::Evict(process));
        self.later(self.now + down_for, What::Start(node));
    }

    pub fn freeze(&mut self, node: usize, lasts: u64) {
        self.nodes[node].frozen_until = self.now + lasts;
        let process = Process { node, incarnation: self.nodes[node].incarnation };
        if lasts > SESSION_MS {
            self.later(self.now + SESSION_MS, What::Evict(process));
        }
    }

    /// The group has not heard of a member for too long.
    fn evict(&mut self, process: Process) {
        let Process { node, incarnation } = process;
        let member = &mut self.nodes[node];
        if member.incarnation != incarnation || (member.is_alive && member.frozen_until <= self.now) {
            return;
        }
        member.callbacks.clear();
        member.is_lost = member.is_alive;
        let cluster = member.cluster;
        self.groups[cluster].evict(node, &mut self.dice);
        self.tell(cluster);
    }

    pub fn join(&mut self, node: usize) {
        let cluster = self.nodes[node].cluster;
        self.groups[cluster].join(node, &mut self.dice);
        self.tell(cluster);
    }

    pub fn given_up(&mut self, node: usize, partitions: &[Partition]) {
        let (cluster, is_lost) = (self.nodes[node].cluster, self.nodes[node].is_lost);
        self.groups[cluster].given_up(node, partitions);
        if !is_lost && !self.groups[cluster].is_member(node) {
            self.groups[cluster].join(node, &mut self.dice);
        }
        self.tell(cluster);
    }

    /// The members hear what the group has decided.
    pub fn tell(&mut self, cluster: usize) {
        for (node, callback) in self.groups[cluster].callbacks(&mut self.dice) {
            self.nodes[node].callbacks.push_back(callback);
        }
    }

    /// When all is well again: has everything come to its end, and was it noticed in time?
    fn look_for_the_end(&mut self) -> Checked {
        let unfinished = (0..self.rules.len()).find(|at| !self.is_finished(*at));
        let ahead = self.nodes.iter().filter(|node| node.is_alive).find_map(|node| {
            let believed = node.ownerships.beliefs().into_iter();
            let row = |partition| &self.database.row(partition).progress;
            believed.into_iter().find(|belief| belief.next_offset > row(belief.partition).next_offset)
        });
        let lasts = self.now - self.heals_at;
        must(ahead.is_none() || lasts < NOTICED_MS, NOTICED, || format!("{ahead:?}"))?;
        must(unfinished.is_none() || lasts < FINISHED_MS, FINISHED, || {
            let row = unfinished.map(|at| self.database.row(partition(at)));
            let waits: Vec<_> = self.nodes.iter().map(|node| &node.waits).collect();
            format!("{row:?}, waiting {waits:?}")
        })?;
        self.is_over = unfinished.is_none() && ahead.is_none();
        self.later(self.now + 500, What::LookForEnd);
        Ok(())
    }

    /// Applied to its end, halted, or held up by what holds it up.
    fn is_finished(&self, at: usize) -> bool {
        let (partition, log) = (partition(at), &self.brokers.topics[0].logs[at]);
        let row = self.database.row(partition);
        if self.database.halt(partition).is_some() || !log.has_leader {
            return true;
        }
        let last = row.progress.last_digest.map(|last| last.offset.0);
        // Where the last applied record stood there is none any more, which cannot be compared.
        let is_gone = last.is_some_and(|last| last >= log.start && log.record(last).is_none());
        let is_explained = |last| log.is_hole(last) || self.brokers.was_lost(at, last);
        let is_at_end = log.end() == row.progress.next_offset.0 && !self.brokers.is_recreated;
        is_at_end || (is_gone && last.is_some_and(is_explained))
    }
}
