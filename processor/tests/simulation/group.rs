//! The consumer group of one cluster: who is to own each partition, and in which order its members hear of it. A
//! partition that a member must give up goes to another only when the member has answered, or was thrown out.

use processor::kafka::context::Callback;
use schemas::Partition;

use crate::{
    brokers::{index, partition},
    dice::Dice,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Cooperative: nobody is given anything before everybody has given up what moves.
    Classic,
    /// KIP-848: each partition moves by itself.
    ByBrokers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nobody,
    By(usize),
    /// Taken from a member that has not answered.
    Leaving(usize),
}

#[derive(Debug)]
pub struct Group {
    protocol: Protocol,
    held: Vec<Held>,
    members: Vec<usize>,
    /// Who is to own each partition.
    target: Vec<Option<usize>>,
}

impl Group {
    pub fn new(partitions: usize, protocol: Protocol) -> Self {
        Self {
            protocol,
            held: vec![Held::Nobody; partitions],
            members: Vec::new(),
            target: vec![None; partitions],
        }
    }

    pub fn join(&mut self, node: usize, dice: &mut Dice) {
        if !self.members.contains(&node) {
            self.members.push(node);
        }
        self.rebalance(dice);
    }

    /// A member that was not heard of for too long: others may have its partitions at once.
    pub fn evict(&mut self, node: usize, dice: &mut Dice) {
        self.members.retain(|member| *member != node);
        for held in &mut self.held {
            if matches!(held, Held::By(by) | Held::Leaving(by) if *by == node) {
                *held = Held::Nobody;
            }
        }
        self.rebalance(dice);
    }

    pub fn is_member(&self, node: usize) -> bool {
        self.members.contains(&node)
    }

    pub fn rebalance(&mut self, dice: &mut Dice) {
        for target in &mut self.target {
            let keeps = target.is_some_and(|target| self.members.contains(&target)) && !dice.one_in(3);
            if !keeps {
                *target = (!self.members.is_empty()).then(|| self.members[dice.pick(self.members.len())]);
            }
        }
    }

    /// A member has given partitions up.
    pub fn given_up(&mut self, node: usize, partitions: &[Partition]) {
        for partition in partitions {
            let held = &mut self.held[index(*partition)];
            if *held == Held::Leaving(node) {
                *held = Held::Nobody;
            }
        }
    }

    /// What members are to hear next.
    pub fn callbacks(&mut self, dice: &mut Dice) -> Vec<(usize, Callback)> {
        let (mut revoked, mut assigned) = (Vec::new(), Vec::new());
        let mut told = |list: &mut Vec<(usize, Vec<Partition>)>, node: usize, at: usize| {
            let partition = partition(at);
            let apart = self.protocol == Protocol::ByBrokers && dice.one_in(2);
            match list.iter_mut().find(|(of, _)| *of == node && !apart) {
                Some((_, partitions)) => partitions.push(partition),
                None => list.push((node, vec![partition])),
            }
        };
        for (at, held) in self.held.iter_mut().enumerate() {
            if let Held::By(node) = *held
                && self.target[at] != Some(node)
            {
                *held = Held::Leaving(node);
                told(&mut revoked, node, at);
            }
        }
        let waits = self.held.iter().any(|held| matches!(held, Held::Leaving(_)));
        if !waits || self.protocol == Protocol::ByBrokers {
            for (at, held) in self.held.iter_mut().enumerate() {
                if let (Held::Nobody, Some(node)) = (*held, self.target[at]) {
                    *held = Held::By(node);
                    told(&mut assigned, node, at);
                }
            }
        }
        let revoked = revoked
            .into_iter()
            .map(|(node, partitions)| (node, Callback::Revoke { partitions, lost: false }));
        let assigned = assigned.into_iter().map(|(node, partitions)| (node, Callback::Assign(partitions)));
        revoked.chain(assigned).collect()
    }
}
