//! What goes wrong, what producers append meanwhile, and how it all becomes well again. Each world knows some of
//! the faults only, so that none hides what another would show.

use crate::{brokers::partition, what::What, world::World};

const KINDS: u64 = 13;

/// Kinds that attempts meet.
pub const REFUSED_RECORDS: u64 = 13;
pub const TOO_MUCH: u64 = 14;

impl World {
    pub fn append(&mut self) {
        if self.now >= self.quiet_from.0 {
            return;
        }
        for _ in 0..self.dice.between(1, 3) {
            self.append_one();
        }
        let at = self.now + self.dice.between(20, 400);
        self.later(at, What::Append);
    }

    fn append_one(&mut self) {
        let cluster = self.dice.pick(4) / 3;
        let (partition, is_control) = (self.dice.pick(self.rules.len()), self.dice.one_in(8));
        // The brokers' clock may jump back.
        let at = i64::try_from(self.now + self.dice.below(5_000)).unwrap();
        self.brokers.append(cluster, partition, is_control, at);
    }

    pub fn replicate(&mut self) {
        self.database.replicate();
        let at = self.now + self.dice.between(50, 2_000);
        if at < self.quiet_from.1 {
            self.later(at, What::Replicate);
        }
    }

    /// One fault, if this world knows it.
    pub fn fault(&mut self) {
        let at = self.now + self.dice.between(200, 2_500);
        if at >= self.heals_at {
            return;
        }
        self.later(at, What::Fault);
        let kind = self.dice.below(KINDS);
        if !self.knows(kind) {
            return;
        }
        self.note(|| format!("fault {kind}"));
        let (node, log) = (self.dice.pick(self.nodes.len()), self.dice.pick(self.rules.len()));
        let rest = self.heals_at - self.now;
        match kind {
            0 | 1 => {
                self.groups[0].rebalance(&mut self.dice);
                self.tell(0);
            }
            2 => {
                let lasts = self.dice.between(500, 15_000).min(rest);
                self.freeze(node, lasts);
            }
            3 if self.nodes[node].is_alive => {
                let down_for = self.dice.below(8_000).min(rest);
                self.kill(node, down_for);
            }
            4 => {
                self.database.restart();
                self.database.is_up = false;
                let at = self.now + self.dice.between(100, 4_000).min(rest);
                self.later(at, What::ComeUp);
            }
            5 => self.database.fail_over(),
            6 => {
                self.brokers.topics[0].logs[log].has_leader = false;
                let at = self.now + self.dice.between(100, 9_000).min(rest);
                self.later(at, What::Lead(log));
            }
            7 => self.trim(log),
            8 if self.dice.one_in(4) => self.truncate(log),
            9 if self.dice.one_in(12) => self.recreate(),
            10 => self.database.change_rules(),
            11 => {
                self.database.skip(partition(log), &self.brokers);
                self.nodes[node].skew = i64::try_from(self.dice.below(7_200)).unwrap() - 3_600;
            }
            12 => self.compact(log),
            _ => {}
        }
    }

    /// Whether this world knows a kind of faults.
    pub const fn knows(&self, kind: u64) -> bool {
        (self.faults >> kind) & 1 == 1
    }

    /// Retention comes close to what is applied, and passes it now and then.
    fn trim(&mut self, log: usize) {
        let next = self.database.row(partition(log)).progress.next_offset.0;
        let ahead = if self.dice.one_in(3) { 4 } else { 0 };
        let start = next + ahead - i64::try_from(self.dice.below(4)).unwrap();
        self.brokers.trim(log, start);
    }

    /// A record is gone that is not applied yet, or was applied last.
    fn compact(&mut self, log: usize) {
        let next = self.database.row(partition(log)).progress.next_offset.0;
        let most = self.brokers.topics[0].logs[log].end() - next;
        let Ok(most) = u64::try_from(most) else { return };
        let offset = next - 1 + i64::try_from(self.dice.between(0, most)).unwrap();
        self.brokers.compact(log, offset);
    }

    fn truncate(&mut self, log: usize) {
        let lost = i64::try_from(self.dice.between(1, 5)).unwrap();
        let is_taken_up = self.nodes.iter().any(|node| {
            let is_given = node.is_alive && node.given.contains_key(&partition(log));
            is_given && node.cluster == 0 && !node.routes.contains_key(&partition(log))
        });
        if is_taken_up {
            return;
        }
        let Some(end) = self.brokers.truncate(log, lost) else { return };
        for node in self.nodes.iter_mut().filter(|node| node.cluster == 0) {
            if let Some(route) = node.routes.get_mut(&partition(log)) {
                route.is_cut |= route.position > end;
            }
        }
    }

    /// The topic is deleted and created again, perhaps with many records at once.
    fn recreate(&mut self) {
        if self.brokers.is_recreated {
            return;
        }
        let ends: Vec<i64> = self.brokers.topics[0].logs.iter().map(|log| log.end()).collect();
        self.brokers.recreate();
        let grows = self.dice.one_in(2);
        for (log, end) in ends.into_iter().enumerate() {
            let count = if grows { end + 6 } else { 0 };
            for _ in 0..count {
                let at = i64::try_from(self.now).unwrap();
                self.brokers.append(0, log, false, at);
            }
        }
    }

    /// All is well again, but perhaps for one partition that has no leader any more.
    pub fn heal(&mut self) {
        self.is_healed = true;
        if self.dice.one_in(2) {
            self.note(|| "the last failover".to_owned());
            self.database.fail_over();
        }
        self.database.is_up = true;
        for log in &mut self.brokers.topics[0].logs {
            log.has_leader = true;
        }
        if self.dice.one_in(4) {
            let log = self.dice.pick(self.rules.len());
            self.note(|| format!("partition {log} has no leader for good"));
            self.brokers.topics[0].logs[log].has_leader = false;
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_alive || self.dice.one_in(4) {
                self.start(node);
            }
        }
        self.later(self.now + 2_000, What::LookForEnd);
    }
}
