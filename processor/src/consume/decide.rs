//! May a partition be taken up? Pure: what was gathered comes in, a verdict comes out. [`Sound`] is made here
//! alone, and nothing else can be passed to what raises an owner epoch.
//!
//! What stops a partition, in the order in which it is asked. The first that holds is the reason:
//!
//! 1. another topic (`other_cluster`, `topic_recreated`): nothing else that is known is about this one,
//! 2. a halt that stands: a person's decision is missing, whatever the checks would say now,
//! 3. no row (`unregistered_partition`): nobody knows how far it is applied,
//! 4. the row against itself (`not_conserved`),
//! 5. the row against the log's range (`below_log_start`, `beyond_log_end`),
//! 6. the row against the last applied record (`digest_mismatch`),
//! 7. the rules (`awaits_switch`): first the clients that came from other partitions, then the next record.

use std::sync::Arc;

use schemas::{Partition, PartitionCount};

use super::guard::guard;
use crate::{
    domain::{
        halt::StopReason,
        position::{LogRange, NextOffset, Offset, OwnerEpoch, RecordDigest},
        progress::Progress,
        rules::PartitionRules,
    },
    kafka::topic::TopicIdentity,
    store::{
        halts::SeenRow,
        registry::{RegisteredTopic, Topic},
    },
};

/// What became of a partition that was to be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeover {
    Owned {
        /// From where it is to be read.
        next_offset: NextOffset,
        /// The stretch of ownership in PostgreSQL.
        owner_epoch: OwnerEpoch,
        /// The end of its log.
        log_end: Offset,
        rules: Arc<PartitionRules>,
    },
    /// It must not go on, as its row was seen.
    Halted(StopReason, SeenRow),
    /// It was halted before, and nobody has resumed it.
    StillHalted(StopReason),
}

/// What is known of a partition before its log is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The topic that the rows belong to.
    pub registered: &'a RegisteredTopic,
    /// The topic that the brokers have under this name.
    pub found: &'a TopicIdentity,
    /// The halt that stands, if one does.
    pub halt: Option<&'a StopReason>,
    pub row: Option<&'a Progress>,
}

/// Everything that decides about a partition.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub standing: Standing<'a>,
    /// The range of its log.
    pub log: LogRange,
    /// The digest of the record that stands where the last applied one should; `None` where [`guard`] asks for
    /// none.
    pub last: Option<RecordDigest>,
    pub rules: &'a Arc<PartitionRules>,
    /// The counts of partitions that are not in force everywhere yet.
    pub awaited: &'a [PartitionCount],
}

/// A row that may be taken: as it was read, with what was found about it.
#[derive(Debug, Clone)]
pub struct Sound {
    row: Progress,
    log: LogRange,
    rules: Arc<PartitionRules>,
}

impl Sound {
    pub const fn partition(&self) -> Partition {
        self.row.partition
    }

    /// The row as it was read: it is taken only while it is still so.
    pub const fn row(&self) -> &Progress {
        &self.row
    }

    /// The range of the log.
    pub const fn log(&self) -> LogRange {
        self.log
    }

    /// What the partition's records mean.
    pub const fn rules(&self) -> &Arc<PartitionRules> {
        &self.rules
    }
}

/// What the rows alone decide: `Err` without a look at the log, `Ok` with the row that the log is held against.
pub fn decide_standing<'a>(standing: &Standing<'a>) -> Result<&'a Progress, Takeover> {
    let Standing { registered, found, halt, row } = *standing;
    if let Some(reason) = another_topic(registered, found) {
        return Err(halted(reason, row));
    }
    if let Some(reason) = halt {
        return Err(Takeover::StillHalted(reason.clone()));
    }
    row.ok_or_else(|| halted(StopReason::UnregisteredPartition, None))
}

/// Whether a partition may be taken up.
pub fn decide(facts: &Facts<'_>) -> Result<Sound, Takeover> {
    let row = decide_standing(&facts.standing)?;
    let stop = |reason| halted(reason, Some(row));
    if let Some((offset, applied)) = guard(row, facts.log).map_err(stop)?
        && facts.last != Some(applied)
    {
        return Err(stop(StopReason::DigestMismatch { offset }));
    }
    if let Some(reason) = awaits_switch(row, facts) {
        return Err(stop(reason));
    }
    Ok(Sound { row: row.clone(), log: facts.log, rules: Arc::clone(facts.rules) })
}

/// Why the topic that was found is not the registered one.
#[must_use]
pub fn another_topic(registered: &RegisteredTopic, found: &TopicIdentity) -> Option<StopReason> {
    let Topic { topic_id, .. } = registered.topic;
    if topic_id == found.topic_id {
        None
    } else if registered.cluster_id == found.cluster_id {
        Some(StopReason::TopicRecreated { registered: topic_id, found: found.topic_id })
    } else {
        Some(StopReason::OtherCluster {
            registered: registered.cluster_id.clone(),
            found: found.cluster_id.clone(),
            topic_id: found.topic_id,
        })
    }
}

/// A partition waits if records of its clients are not applied yet in the partitions where these clients were before,
/// or if its next record came before the switch that gives it keys.
fn awaits_switch(row: &Progress, facts: &Facts<'_>) -> Option<StopReason> {
    let offset = row.next_offset.offset();
    let came_with = facts.rules.came_with().filter(|count| facts.awaited.contains(count));
    let count = came_with.or_else(|| {
        let waits = facts.log.end > offset && facts.rules.awaits_switch(offset);
        waits.then(|| facts.rules.count_at(offset))
    });
    count.map(|count| StopReason::AwaitsSwitch { offset, partition_count: count.get() })
}

fn halted(reason: StopReason, row: Option<&Progress>) -> Takeover {
    let seen = row.map_or(SeenRow::Absent, |row| SeenRow::Read(row.next_offset, row.owner_epoch));
    Takeover::Halted(reason, seen)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        counters::Counters,
        position::{LastRecord, NextOffset, Offset, OwnerEpoch, TopicRef},
    };

    const DIGEST: RecordDigest = RecordDigest([7; 32]);

    struct Case {
        registered: RegisteredTopic,
        found: TopicIdentity,
        halt: Option<StopReason>,
        row: Option<Progress>,
        log: LogRange,
        last: Option<RecordDigest>,
        rules: Arc<PartitionRules>,
        awaited: Vec<PartitionCount>,
    }

    impl Case {
        /// Partition 13 of a topic of 12, which a switch to 24 has given keys: everything is well.
        fn sound() -> Self {
            let [twelve, more] = [12, 24].map(|count| PartitionCount::new(count).unwrap());
            let mut rules = PartitionRules::new(Partition(13), twelve);
            rules.place_from(Offset(0), more);
            Self {
                registered: RegisteredTopic {
                    topic: Topic {
                        topic_ref: TopicRef(1),
                        topic_id: Uuid::from_u128(1),
                        partition_count: twelve,
                        known_partitions: 24,
                    },
                    cluster_id: "here".to_owned(),
                },
                found: TopicIdentity {
                    cluster_id: "here".to_owned(),
                    name: "telex.messages".to_owned(),
                    topic_id: Uuid::from_u128(1),
                    partition_count: more,
                },
                halt: None,
                row: Some(Progress {
                    next_offset: NextOffset(9),
                    owner_epoch: OwnerEpoch(4),
                    last_digest: Some(LastRecord { offset: Offset(8), digest: DIGEST }),
                    counters: Counters { messages: 9, ..Counters::default() },
                    ..Progress::born(Partition(13), Offset(0))
                }),
                log: LogRange { start: Offset(0), end: Offset(12) },
                last: Some(DIGEST),
                rules: Arc::new(rules),
                awaited: Vec::new(),
            }
        }

        fn decide(&self) -> Result<NextOffset, Takeover> {
            let standing = Standing {
                registered: &self.registered,
                found: &self.found,
                halt: self.halt.as_ref(),
                row: self.row.as_ref(),
            };
            let Self { log, last, rules, awaited, .. } = self;
            let facts = Facts { standing, log: *log, last: *last, rules, awaited };
            decide(&facts).map(|sound| sound.row().next_offset)
        }

        fn code(&self) -> &'static str {
            match self.decide() {
                Ok(_) => "sound",
                Err(Takeover::Halted(reason, _)) => reason.as_str(),
                Err(Takeover::StillHalted(_)) => "still_halted",
                Err(Takeover::Owned { .. }) => "owned",
            }
        }
    }

    #[test]
    fn a_partition_whose_row_log_record_and_rules_agree_is_sound() {
        assert_eq!(Case::sound().decide(), Ok(NextOffset(9)));
    }

    /// What plants each reason, the first to be asked last: planted on top of all others, each wins.
    #[test]
    fn of_several_reasons_the_first_in_the_order_of_precedence_is_named() {
        type Plant = fn(&mut Case);
        let plant: [(&str, Plant); 10] = [
            ("awaits_switch", |case| {
                let twelve = PartitionCount::new(12).unwrap();
                case.rules = Arc::new(PartitionRules::new(Partition(13), twelve));
            }),
            ("awaits_switch", |case| {
                let sound = Case::sound();
                (case.rules, case.awaited) = (sound.rules, vec![PartitionCount::new(24).unwrap()]);
            }),
            ("digest_mismatch", |case| case.last = Some(RecordDigest([8; 32]))),
            ("beyond_log_end", |case| case.log.end = Offset(8)),
            ("below_log_start", |case| case.log.start = Offset(10)),
            ("not_conserved", |case| {
                case.row = case.row.take().map(|row| Progress { skipped: 1, ..row });
            }),
            ("unregistered_partition", |case| case.row = None),
            ("still_halted", |case| case.halt = Some(StopReason::UnregisteredPartition)),
            ("topic_recreated", |case| case.found.topic_id = Uuid::from_u128(2)),
            ("other_cluster", |case| case.found.cluster_id = "there".to_owned()),
        ];
        let mut case = Case::sound();
        for (expected, plant) in plant {
            plant(&mut case);
            assert_eq!(case.code(), expected);
        }
    }

    #[test]
    fn a_halt_names_the_row_that_was_seen() {
        let mut case = Case::sound();
        case.last = None;
        let expected = Takeover::Halted(
            StopReason::DigestMismatch { offset: Offset(8) },
            SeenRow::Read(NextOffset(9), OwnerEpoch(4)),
        );
        assert_eq!(case.decide(), Err(expected), "a record that must be compared and is not there");
        case.row = None;
        let expected = Takeover::Halted(StopReason::UnregisteredPartition, SeenRow::Absent);
        assert_eq!(case.decide(), Err(expected));
    }

    #[test]
    fn a_partition_without_keys_waits_only_for_a_record() {
        let mut case = Case::sound();
        case.rules = Arc::new(PartitionRules::new(Partition(13), PartitionCount::new(12).unwrap()));
        assert_eq!(case.code(), "awaits_switch");
        case.log.end = Offset(9);
        assert_eq!(case.code(), "sound");
    }
}
