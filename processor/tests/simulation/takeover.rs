//! Takeovers, halts that are written, and looks, step by step: stands in for `consume/takeover.rs`,
//! `supervisor/performed.rs` and `consume/rounds.rs`. What is decided about a partition is the production code
//! ([`decide`], [`guard`], [`another_topic`], [`differences`]); between two steps everything else may happen.

use std::collections::BTreeMap;

use processor::{
    consume::{
        decide::{Facts, Sound, Standing, Takeover, another_topic, decide, decide_standing},
        guard::guard,
        ownership::{Belief, Difference, Event, Sighted},
        rounds::{Round, Seen, Subject, differences},
        takeover::{Answer, all_wait},
        tickets::Ticket,
    },
    domain::{halt::StopReason, obstacle::Obstacle, progress::Progress},
    kafka::topic::TopicIdentity,
    store::halts::Halt,
};
use schemas::Partition;
use service_kit::Problems;

use crate::{
    brokers::index,
    check::{Checked, WANTED, must},
    node::Process,
    twin::Twin,
    what::What,
    world::World,
};

type Verdict = (Partition, Result<Sound, Answer>);
type Verdicts = Vec<Verdict>;

/// A try to take partitions up.
#[derive(Debug)]
pub struct Taking {
    asked: Vec<(Partition, Ticket)>,
    /// When the group had given each.
    given: Vec<Option<u64>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Begins,
    Gathered(Gathered),
    Decided(Verdicts),
    Answered(Vec<(Partition, Answer)>),
}

/// What was read of the rows.
#[derive(Debug)]
struct Gathered {
    found: TopicIdentity,
    rows: Vec<(Progress, Option<StopReason>)>,
}

impl Taking {
    pub fn new(asked: Vec<(Partition, Ticket)>, given: &BTreeMap<Partition, u64>) -> Self {
        let given = asked.iter().map(|(partition, _)| given.get(partition).copied()).collect();
        Self { asked, given, step: Step::Begins }
    }

    fn partitions(&self) -> Vec<Partition> {
        self.asked.iter().map(|(partition, _)| *partition).collect()
    }

    /// The same, one step further.
    fn with(self, step: Step) -> Self {
        Self { step, ..self }
    }
}

impl World {
    /// The next step of the task that takes up; none if it was aborted.
    pub fn take_over(&mut self, process: Process, taking: Taking) -> Checked {
        let (node, live) = (process.node, self.nodes[process.node].tickets.live());
        let orphans = self.twin == Twin::OrphanTakeover;
        let partitions = taking.partitions();
        if !orphans && !taking.asked.iter().any(|(_, ticket)| live.holds(*ticket)) {
            return Ok(());
        }
        let at = self.now + self.delay();
        let Taking { asked, given, step } = taking;
        let taking = Taking { asked, given, step: Step::Begins };
        match step {
            Step::Begins => {
                let step = if self.database.is_up {
                    Step::Gathered(self.gather(node, &partitions))
                } else {
                    Step::Answered(away(&partitions))
                };
                self.later(at, What::Takeover(process, taking.with(step)));
            }
            Step::Gathered(gathered) => {
                let verdicts = self.judge_all(node, &gathered);
                self.later(at, What::Takeover(process, taking.with(Step::Decided(verdicts))));
            }
            Step::Decided(mut verdicts) => {
                let is_live = |partition: &Partition| {
                    taking.asked.iter().any(|(asked, ticket)| asked == partition && live.holds(*ticket))
                };
                verdicts.retain(|(partition, _)| orphans || is_live(partition));
                self.check_wanted(node, &taking, &verdicts)?;
                self.later(at, What::Raise(process, taking.with(Step::Decided(verdicts))));
            }
            Step::Answered(answers) => {
                let with_ticket = answers.into_iter().filter_map(|(partition, answer)| {
                    let (_, ticket) = taking.asked.iter().find(|(asked, _)| *asked == partition)?;
                    Some((partition, *ticket, answer))
                });
                let answers = with_ticket.collect();
                self.happened(process, Event::Answered(answers))?;
            }
        }
        Ok(())
    }

    /// The group must not have taken the partitions since, as far as their processor has heard.
    fn check_wanted(&self, node: usize, taking: &Taking, verdicts: &[Verdict]) -> Checked {
        for (partition, verdict) in verdicts {
            let at = taking.asked.iter().position(|(asked, _)| asked == partition).unwrap();
            let now = self.nodes[node].given.get(partition).copied();
            must(verdict.is_err() || (now.is_some() && now == taking.given[at]), WANTED, || {
                format!("partition {partition} is taken for {:?}, now {now:?}", taking.given[at])
            })?;
        }
        Ok(())
    }

    /// The statement that raises epochs, on the server: whoever sent it may have gone.
    pub fn raise(&mut self, process: Process, taking: Taking) {
        let partitions = taking.partitions();
        let Taking { asked, given, step } = taking;
        let Step::Decided(verdicts) = step else { return };
        let answers: Vec<(Partition, Answer)> = if self.database.is_up {
            let answer = |(partition, verdict): Verdict| {
                let answer = match verdict {
                    Err(answer) => answer,
                    Ok(sound) => match self.database.take(sound.row(), process) {
                        None => Answer::Waits(Obstacle::RowMoves),
                        Some(owner_epoch) => Answer::Taken(Takeover::Owned {
                            next_offset: sound.row().next_offset,
                            owner_epoch,
                            log_end: sound.log().end,
                            rules: std::sync::Arc::clone(sound.rules()),
                        }),
                    },
                };
                (partition, answer)
            };
            verdicts.into_iter().map(answer).collect()
        } else {
            away(&partitions)
        };
        let at = self.now + self.delay();
        let taking = Taking { asked, given, step: Step::Answered(answers) };
        self.later(at, What::Takeover(process, taking));
    }

    /// Tries to write a halt, until it is written or its ticket is closed.
    pub fn record(&mut self, process: Process, ticket: Ticket, halt: Halt) -> Checked {
        if !self.nodes[process.node].tickets.live().holds(ticket) && self.twin != Twin::HaltUnseen {
            return Ok(());
        }
        let recorded = if self.database.is_up { self.database.record(&halt, &self.brokers)? } else { None };
        let at = self.now + self.delay();
        match recorded {
            Some(recorded) => self.later(at, What::Recorded(process, ticket, halt.partition, recorded)),
            None => self.later(at + 200, What::Record(process, ticket, halt)),
        }
        Ok(())
    }

    fn gather(&self, node: usize, partitions: &[Partition]) -> Gathered {
        let row = |partition: &Partition| {
            let row = self.database.row(*partition).progress.clone();
            (row, self.database.halt(*partition).cloned())
        };
        Gathered { found: self.found(node), rows: partitions.iter().map(row).collect() }
    }

    /// The topic that a processor finds.
    fn found(&self, node: usize) -> TopicIdentity {
        let mut found = self.brokers.topics[self.nodes[node].cluster].identity.clone();
        let is_foreign = found.cluster_id != self.registered.cluster_id;
        if is_foreign && self.twin == Twin::ForeignCluster {
            found.cluster_id = self.registered.cluster_id.clone();
            found.topic_id = self.registered.topic.topic_id;
        }
        found
    }

    fn judge_all(&self, node: usize, gathered: &Gathered) -> Verdicts {
        let logs = &self.brokers.topics[self.nodes[node].cluster].logs;
        let lacks = |(row, _): &(Progress, Option<StopReason>)| !logs[index(row.partition)].has_leader;
        if self.twin == Twin::AllOrNothing && gathered.rows.iter().any(lacks) {
            let obstacle = Obstacle::Brokers("a log has no range".to_owned());
            let all = gathered.rows.iter().map(|(row, _)| row.partition).collect::<Vec<_>>();
            let waits = all_wait(&all, &obstacle).into_iter();
            return waits.map(|(partition, answer)| (partition, Err(answer))).collect();
        }
        let verdict = |(row, halt): &(Progress, Option<StopReason>)| {
            let standing = Standing {
                registered: &self.registered,
                found: &gathered.found,
                halt: halt.as_ref(),
                row: Some(row),
            };
            (row.partition, self.judge_one(node, standing))
        };
        gathered.rows.iter().map(verdict).collect()
    }

    fn judge_one(&self, node: usize, standing: Standing<'_>) -> Result<Sound, Answer> {
        let row = decide_standing(&standing).map_err(Answer::Taken)?;
        let at = index(row.partition);
        let log = &self.brokers.topics[self.nodes[node].cluster].logs[at];
        if !log.has_leader {
            return Err(Answer::Waits(Obstacle::LogRange("LeaderNotAvailable".to_owned())));
        }
        let last = match guard(row, log.range()) {
            Ok(Some((offset, _))) => {
                let Some(serial) = log.record(offset.0) else {
                    return Err(Answer::Waits(Obstacle::NoRecord(offset)));
                };
                Some(self.brokers.raw(serial).digest())
            }
            Ok(None) | Err(_) => None,
        };
        let facts = Facts { standing, log: log.range(), last, rules: &self.rules[at], awaited: &[] };
        decide(&facts).map_err(Answer::Taken)
    }

    /// One look of a round.
    pub fn look(&mut self, process: Process, round: Round, subject: Subject) {
        let seen = self.see(process.node, round, subject);
        let at = self.now + self.delay();
        self.later(at, What::Seen(process, seen));
    }

    fn see(&self, node: usize, round: Round, Subject { beliefs, partitions }: Subject) -> Seen {
        let (is_up, database) = (self.database.is_up, &self.database);
        match round {
            Round::LogEnds => {
                let logs = &self.brokers.topics[self.nodes[node].cluster].logs;
                let asked: Vec<Partition> = beliefs.iter().map(|belief| belief.partition).collect();
                let led = asked.iter().filter(|partition| logs[index(**partition)].has_leader);
                let ends = led.map(|partition| (*partition, logs[index(*partition)].range().end)).collect();
                Seen::LogEnds { asked, ends }
            }
            Round::Rows if is_up && self.twin != Twin::RowsNotLookedAt => {
                let rows: Vec<Progress> =
                    beliefs.iter().map(|belief| database.row(belief.partition).progress.clone()).collect();
                let believed = beliefs.iter().map(|belief| belief.partition);
                let halted: Vec<Partition> = believed.filter(|of| database.halt(*of).is_some()).collect();
                let differences = differences(&beliefs, &rows, &halted);
                Seen::Rows { rows, differences }
            }
            Round::Rows => Seen::Rows { rows: Vec::new(), differences: Vec::new() },
            Round::Topic => {
                let (mut differences, mut sound) = (Vec::new(), Vec::new());
                let is_other = another_topic(&self.registered, &self.found(node)).is_some();
                if self.twin == Twin::RecreatedUnseen {
                    return Seen::Topic { differences, sound };
                }
                let looked_at = if is_up && !is_other { partitions } else { Vec::new() };
                if is_other {
                    let all = beliefs.iter().map(|it| (it.partition, it.epoch, Difference::Topic));
                    differences.extend(all);
                }
                for (partition, verdict) in self.judge_all(node, &self.gather(node, &looked_at)) {
                    let Some(belief) = beliefs.iter().find(|belief| belief.partition == partition) else {
                        continue;
                    };
                    match verdict {
                        Ok(row) => sound.push((*belief, row.row().next_offset)),
                        Err(Answer::Taken(_)) => {
                            differences.push((partition, belief.epoch, Difference::Log));
                        }
                        Err(Answer::Waits(_)) => {}
                    }
                }
                Seen::Topic { differences, sound }
            }
            Round::Halts => {
                let is_resumed = |partition: &Partition| is_up && database.halt(*partition).is_none();
                Seen::Resumed(partitions.into_iter().filter(is_resumed).collect())
            }
            Round::Audit => Seen::Audit(Some(Problems::default())),
            Round::Batches => Seen::Batches(Vec::new()),
        }
    }

    /// What the supervisor makes of a look.
    pub fn on_seen(&mut self, process: Process, seen: Seen) -> Checked {
        let now = self.instant();
        self.nodes[process.node].schedule.done(seen.round(), now);
        match seen {
            Seen::LogEnds { ends, .. } => self.happened(process, Event::LogEnds(ends)),
            Seen::Rows { differences, .. } => self.happened(process, Event::Differ(differences)),
            Seen::Topic { differences, sound } => {
                for (Belief { partition, epoch, doubts, .. }, at) in sound {
                    let sighted = Sighted::Sound { at, doubts };
                    self.happened(process, Event::Sighted(partition, epoch, sighted))?;
                }
                self.happened(process, Event::Differ(differences))
            }
            Seen::Resumed(partitions) => self.happened(process, Event::Resumed(partitions)),
            Seen::Audit(_) | Seen::Batches(_) => Ok(()),
        }
    }

    /// The looks that are due.
    pub fn begin_rounds(&mut self, process: Process) {
        let now = self.instant();
        let node = &mut self.nodes[process.node];
        let mut begun = Vec::new();
        for round in node.schedule.begin(now) {
            let beliefs = node.ownerships.beliefs();
            let partitions = match round {
                Round::LogEnds | Round::Rows | Round::Audit => Vec::new(),
                Round::Halts => node.ownerships.standing(),
                Round::Topic => node.ownerships.to_be_looked_at(),
                Round::Batches => node.ownerships.stuck(),
            };
            begun.push((round, Subject { beliefs, partitions }));
        }
        for (round, subject) in begun {
            let at = self.now + self.delay();
            self.later(at, What::Look(process, round, subject));
        }
    }
}

fn away(partitions: &[Partition]) -> Vec<(Partition, Answer)> {
    all_wait(partitions, &Obstacle::Database("away".to_owned()))
}
