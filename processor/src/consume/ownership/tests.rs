//! Stories, and any order of events.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one act among many")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use schemas::{PartitionCount, Timestamp};

use super::{log::UNREADABLE_AFTER, *};
use crate::{consume::lane::LaneReport, domain::rules::PartitionRules};

const P: Partition = Partition(3);

fn owned() -> Answer {
    Answer::Taken(Takeover::Owned {
        next_offset: NextOffset(10),
        owner_epoch: OwnerEpoch(4),
        log_end: Offset(12),
        rules: std::sync::Arc::new(PartitionRules::new(P, PartitionCount::new(12).unwrap())),
    })
}

fn recreated() -> StopReason {
    StopReason::TopicRecreated { registered: uuid::Uuid::from_u128(1), found: uuid::Uuid::from_u128(2) }
}

/// What a lane says of a partition.
fn lane(partition: Partition, epoch: AssignmentEpoch, news: LaneNews) -> Event {
    Event::Lane(LaneReport { partition, epoch, news })
}

fn tickets(acts: &[Act]) -> Vec<(Partition, Ticket)> {
    let asked = acts.iter().filter_map(|act| match act {
        Act::Take { asked, .. } => Some(asked.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

fn orders(acts: &[Act]) -> Vec<Order> {
    let orders = acts.iter().filter_map(|act| match act {
        Act::Order(order) => Some(order.clone()),
        _ => None,
    });
    orders.collect()
}

fn recorded(acts: &[Act]) -> Option<(Ticket, StopReason)> {
    acts.iter().find_map(|act| match act {
        Act::Record(ticket, halt) => Some((*ticket, halt.reason.clone())),
        _ => None,
    })
}

/// A partition that is taken up, and the stretch of its ownership.
fn active(ownerships: &mut Ownerships) -> AssignmentEpoch {
    let asked = tickets(&ownerships.on(Event::Assigned(vec![P]), Instant::now()));
    let [(_, ticket)] = asked[..] else { panic!("{asked:?}") };
    ownerships.on(Event::Answered(vec![(P, ticket, owned())]), Instant::now());
    ownerships.beliefs()[0].epoch
}

#[test]
fn what_can_be_taken_up_is_read_at_once_and_the_rest_is_tried_by_itself() {
    let mut ownerships = Ownerships::new(2);
    let given = vec![Partition(0), Partition(1), Partition(2)];
    let acts = ownerships.on(Event::Assigned(given), Instant::now());
    let asked = tickets(&acts);
    assert_eq!(asked.len(), 3);
    let answers = vec![
        (asked[0].0, asked[0].1, owned()),
        (asked[1].0, asked[1].1, Answer::Waits(Obstacle::LogRange("LeaderNotAvailable".to_owned()))),
        (asked[2].0, asked[2].1, owned()),
    ];
    let acts = ownerships.on(Event::Answered(answers), Instant::now());
    let [Order::Assign(starts)] = &orders(&acts)[..] else { panic!("{acts:?}") };
    let lanes: Vec<_> = starts.iter().map(|start| (start.partition.0, start.lane)).collect();
    assert_eq!(lanes, [(0, 0), (2, 1)]);
    assert_eq!(tickets(&acts), [asked[1]], "the same takeover goes on");
    let waits = |act: &Act| matches!(act, Act::Show(Shown::Waits(Partition(1), _)));
    assert!(acts.iter().any(waits), "{acts:?}");
}

#[test]
fn an_answer_that_comes_after_the_partition_has_left_is_dropped() {
    let mut ownerships = Ownerships::new(1);
    let first = tickets(&ownerships.on(Event::Assigned(vec![P]), Instant::now()))[0].1;
    let left = ownerships.on(Event::Revoked { partitions: vec![P], lost: true }, Instant::now());
    assert!(left.iter().any(|act| matches!(act, Act::Forget(ticket) if *ticket == first)), "{left:?}");
    let second = tickets(&ownerships.on(Event::Assigned(vec![P]), Instant::now()))[0].1;
    assert_ne!(first, second);
    let acts = ownerships.on(Event::Answered(vec![(P, first, owned())]), Instant::now());
    assert_eq!(orders(&acts), []);
    let acts = ownerships.on(Event::Answered(vec![(P, second, owned())]), Instant::now());
    assert_eq!(orders(&acts).len(), 1);
}

#[test]
fn a_fenced_partition_is_not_read_until_it_is_taken_up_again() {
    let mut ownerships = Ownerships::new(1);
    let epoch = active(&mut ownerships);
    let acts = ownerships.on(lane(P, epoch, LaneNews::Fenced), Instant::now());
    assert!(orders(&acts).contains(&Order::Halt(P)), "{acts:?}");
    let ticket = tickets(&acts)[0].1;
    let still = Answer::Taken(Takeover::StillHalted(recreated()));
    let acts = ownerships.on(Event::Answered(vec![(P, ticket, still)]), Instant::now());
    assert_eq!(orders(&acts), [], "halted: it stays unread");
    assert_eq!(ownerships.standing(), [P]);
}

#[test]
fn a_row_that_is_elsewhere_has_its_partition_taken_up_again() {
    let mut ownerships = Ownerships::new(1);
    let epoch = active(&mut ownerships);
    let stale = Event::Differ(vec![(P, AssignmentEpoch(epoch.0 - 1), Difference::NextOffset)]);
    assert_eq!(tickets(&ownerships.on(stale, Instant::now())), [], "of a former stretch of ownership");
    let acts = ownerships.on(Event::Differ(vec![(P, epoch, Difference::NextOffset)]), Instant::now());
    assert_eq!(tickets(&acts).len(), 1);
    assert!(acts.iter().any(|act| matches!(act, Act::Release(0, P))), "its cache is dropped: {acts:?}");
}

#[test]
fn a_halt_that_came_too_late_is_no_halt() {
    let mut ownerships = Ownerships::new(1);
    let epoch = active(&mut ownerships);
    let acts = ownerships.on(lane(P, epoch, LaneNews::Halted(recreated())), Instant::now());
    let (ticket, _) = recorded(&acts).unwrap();
    let acts = ownerships.on(Event::HaltRecorded(P, ticket, Recorded::Fenced), Instant::now());
    assert_eq!(tickets(&acts).len(), 1);
    assert_eq!(ownerships.standing(), []);
}

#[test]
fn a_gap_halts_only_a_row_that_stands_before_it() {
    let seen = |found| {
        let mut ownerships = Ownerships::new(1);
        let epoch = active(&mut ownerships);
        let gap = StopReason::OffsetGap { expected: NextOffset(12), found: Offset(found) };
        let acts = ownerships.on(lane(P, epoch, LaneNews::Halted(gap)), Instant::now());
        acts.iter().find_map(|act| match act {
            Act::Record(_, halt) => Some(halt.seen),
            _ => None,
        })
    };
    assert_eq!(seen(14), Some(SeenRow::Read(NextOffset(12), OwnerEpoch(4))));
    assert_eq!(seen(11), Some(SeenRow::Owned(OwnerEpoch(4))), "what was in hand is not applied");
}

#[test]
fn an_accepted_topic_has_everything_built_again() {
    let mut ownerships = Ownerships::new(1);
    let ticket = tickets(&ownerships.on(Event::Assigned(vec![P]), Instant::now()))[0].1;
    let halted = Answer::Taken(Takeover::StillHalted(recreated()));
    ownerships.on(Event::Answered(vec![(P, ticket, halted)]), Instant::now());
    let acts = ownerships.on(Event::Resumed(vec![P]), Instant::now());
    assert!(acts.iter().any(|act| matches!(act, Act::Rebuild(Cause::TopicChanged))));
}

#[test]
fn a_batch_that_cannot_be_read_halts_its_partition_when_it_has_had_its_time() {
    let (mut ownerships, start) = (Ownerships::new(1), Instant::now());
    let epoch = active(&mut ownerships);
    let seen =
        |offset| Event::Sighted(P, epoch, Sighted::Unreadable(Offset(offset), "NotImplemented".to_owned()));
    assert_eq!(recorded(&ownerships.on(seen(10), start)), None);
    assert_eq!(recorded(&ownerships.on(seen(9), start + UNREADABLE_AFTER)), None, "it has passed that");
    assert_eq!(recorded(&ownerships.on(seen(10), start + UNREADABLE_AFTER / 2)), None);
    let (_, reason) = recorded(&ownerships.on(seen(10), start + UNREADABLE_AFTER)).unwrap();
    assert_eq!(reason.as_str(), "unreadable_batch");
}

#[test]
fn a_partition_that_stops_is_read_no_more_and_stays_ours_until_it_halts() {
    let mut ownerships = Ownerships::new(1);
    let epoch = active(&mut ownerships);
    let mut hear = |news| ownerships.on(lane(P, epoch, news), Instant::now());
    assert_eq!(orders(&hear(LaneNews::Stops)), [Order::Halt(P)]);
    assert!(orders(&hear(LaneNews::Advanced(NextOffset(11), None))).is_empty());
    let halted = recorded(&hear(LaneNews::Halted(recreated())));
    assert_eq!(halted.map(|(_, reason)| reason), Some(recreated()));
}

#[test]
fn a_doubt_about_the_logs_lasts_until_a_look_has_answered_that_began_after_it() {
    let (mut ownerships, now) = (Ownerships::new(1), Instant::now());
    let epoch = active(&mut ownerships);
    let sound = |doubts| Event::Sighted(P, epoch, Sighted::Sound { at: NextOffset(10), doubts });
    assert_eq!(ownerships.to_be_looked_at(), [], "it was looked at when it was taken up");
    let before = ownerships.beliefs()[0].doubts;
    ownerships.doubt_logs();
    assert_eq!(ownerships.to_be_looked_at(), [P]);
    ownerships.on(sound(before), now);
    assert_eq!(ownerships.to_be_looked_at(), [P], "that look had begun before, or was not answered at all");
    let doubts = ownerships.beliefs()[0].doubts;
    ownerships.on(sound(doubts), now);
    assert_eq!(ownerships.to_be_looked_at(), []);
}

#[test]
fn tries_come_later_each_time_and_those_that_share_an_obstacle_come_together() {
    let mut ownerships = Ownerships::new(1);
    let mut asked =
        tickets(&ownerships.on(Event::Assigned(vec![Partition(0), Partition(1)]), Instant::now()));
    let mut delays = Vec::new();
    for _ in 0..8 {
        let away = Answer::Waits(Obstacle::Database("away".to_owned()));
        let answers = asked.iter().map(|(partition, ticket)| (*partition, *ticket, away.clone())).collect();
        let acts = ownerships.on(Event::Answered(answers), Instant::now());
        let after = acts.iter().find_map(|act| match act {
            Act::Take { after, asked, .. } if asked.len() == 2 => Some(after.as_millis()),
            _ => None,
        });
        delays.push(after.unwrap());
        asked = tickets(&acts);
    }
    assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_000, 3_000, 3_000]);
}

/// What group, lanes and poller know, as the acts have told them.
#[derive(Debug, Default)]
struct World {
    given: BTreeSet<Partition>,
    live: BTreeMap<Ticket, Partition>,
    lanes: BTreeMap<Partition, AssignmentEpoch>,
    reading: BTreeMap<Partition, AssignmentEpoch>,
    /// Everything that was ever given out, for answers that come too late.
    tickets: Vec<(Partition, Ticket)>,
    epochs: Vec<(Partition, AssignmentEpoch)>,
}

impl World {
    fn event(&self, (kind, which, how): (u8, u8, u8)) -> Event {
        let partition = Partition(i32::from(which % 4));
        let ticket = |default| {
            self.tickets.get(usize::from(which) % self.tickets.len().max(1)).copied().unwrap_or(default)
        };
        let (p, t) = ticket((partition, Ticket(0)));
        let epoch = self.epochs.get(usize::from(which) % self.epochs.len().max(1)).copied();
        let (ep, epoch) = epoch.unwrap_or((partition, AssignmentEpoch(0)));
        match kind % 10 {
            0 if !self.given.contains(&partition) => Event::Assigned(vec![partition]),
            0 => Event::Revoked { partitions: vec![partition], lost: how % 2 == 0 },
            1..=3 => Event::Answered(vec![(
                p,
                t,
                match how % 5 {
                    0..=2 => owned(),
                    3 => Answer::Waits(Obstacle::RowMoves),
                    _ => Answer::Taken(Takeover::Halted(recreated(), SeenRow::Absent)),
                },
            )]),
            4 => lane(ep, epoch, LaneNews::Fenced),
            5 => lane(ep, epoch, LaneNews::Advanced(NextOffset(i64::from(how)), None)),
            6 if how % 2 == 0 => lane(ep, epoch, LaneNews::Halted(recreated())),
            6 => lane(ep, epoch, LaneNews::Arrived(Timestamp::EPOCH)),
            7 => {
                let recorded = if how % 3 == 0 { Recorded::Fenced } else { Recorded::Standing };
                Event::HaltRecorded(p, t, recorded)
            }
            8 => Event::Resumed(vec![partition]),
            _ => match how % 3 {
                0 => Event::Differ(vec![(ep, epoch, Difference::OwnerEpoch)]),
                1 => Event::Sighted(ep, epoch, Sighted::Sound { at: NextOffset(10), doubts: 0 }),
                _ => Event::Tick { unix_seconds: 0 },
            },
        }
    }

    /// Does what the acts say, and holds each against what must be true of it.
    fn obey(&mut self, event: &Event, acts: &[Act]) {
        match event {
            Event::Assigned(partitions) => self.given.extend(partitions),
            Event::Revoked { partitions, .. } => self.given.retain(|given| !partitions.contains(given)),
            _ => {}
        }
        let mut drains = 0;
        for act in acts {
            match act {
                Act::Take { asked, .. } => {
                    for (partition, ticket) in asked {
                        assert!(self.given.contains(partition), "taken without being given");
                        self.live.insert(*ticket, *partition);
                        self.tickets.push((*partition, *ticket));
                    }
                }
                Act::Forget(ticket) => drop(self.live.remove(ticket)),
                Act::Record(ticket, halt) => {
                    self.live.insert(*ticket, halt.partition);
                    self.tickets.push((halt.partition, *ticket));
                }
                Act::Adopt { start, .. } => {
                    let Event::Answered(answers) = event else { panic!("adopted without an answer") };
                    let sound = |(p, _, answer): &(Partition, Ticket, Answer)| {
                        *p == start.partition && matches!(answer, Answer::Taken(Takeover::Owned { .. }))
                    };
                    assert!(answers.iter().any(sound), "adopted without being sound");
                    assert!(self.given.contains(&start.partition));
                    let former = self.lanes.insert(start.partition, start.assignment_epoch);
                    assert_eq!(former, None, "two stretches of ownership at once");
                    assert!(self.epochs.iter().all(|(_, epoch)| *epoch != start.assignment_epoch));
                    self.epochs.push((start.partition, start.assignment_epoch));
                }
                Act::Release(_, partition) => {
                    assert!(self.lanes.remove(partition).is_some(), "released without being adopted");
                }
                Act::Drain { lanes, partitions, .. } => {
                    drains += 1;
                    for partition in lanes.values().flatten() {
                        assert!(partitions.contains(partition));
                        assert!(self.lanes.remove(partition).is_some(), "released without being adopted");
                        self.reading.remove(partition);
                    }
                }
                Act::Order(Order::Assign(starts)) => {
                    for start in starts {
                        assert_eq!(self.lanes.get(&start.partition), Some(&start.assignment_epoch));
                        let former = self.reading.insert(start.partition, start.assignment_epoch);
                        assert_eq!(former, None, "read twice");
                    }
                }
                Act::Order(Order::Halt(partition)) => {
                    assert!(self.reading.remove(partition).is_some(), "halted without being read");
                }
                Act::Order(Order::Unassign(_) | Order::Mirror(_) | Order::Stop) => {}
                Act::Show(_) | Act::Rebuild(_) => {}
            }
        }
        let is_revoked = matches!(event, Event::Revoked { .. });
        assert_eq!(drains, usize::from(is_revoked), "each revocation is answered once");
    }

    fn check(&self, ownerships: &Ownerships) {
        let active: BTreeMap<Partition, AssignmentEpoch> =
            ownerships.beliefs().iter().map(|belief| (belief.partition, belief.epoch)).collect();
        assert_eq!(active, self.lanes, "lanes have what is active");
        assert_eq!(active, self.reading, "what is active is read");
        assert_eq!(ownerships.all().into_iter().collect::<BTreeSet<_>>(), self.given);
        for partition in &self.given {
            let tickets = self.live.values().filter(|of| *of == partition).count();
            let standing = ownerships.standing().contains(partition);
            let is_active = active.contains_key(partition);
            let states = tickets + usize::from(standing) + usize::from(is_active);
            assert_eq!(states, 1, "partition {partition} is one thing at a time");
        }
        assert!(self.live.values().all(|partition| self.given.contains(partition)), "a ticket outlives");
    }
}

proptest! {
    #[test]
    fn whatever_happens_in_whatever_order_a_partition_has_one_owner_and_one_reader(
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..300)
    ) {
        let (mut ownerships, mut world) = (Ownerships::new(2), World::default());
        for step in steps {
            let event = world.event(step);
            let acts = ownerships.on(event.clone(), Instant::now());
            world.obey(&event, &acts);
            world.check(&ownerships);
        }
    }

    #[test]
    fn each_drained_revocation_is_answered_by_one_unassign(lost: bool, count in 0_i32..4) {
        let mut ownerships = Ownerships::new(1);
        let partitions: Vec<Partition> = (0..count).map(Partition).collect();
        ownerships.on(Event::Assigned(partitions.clone()), Instant::now());
        ownerships.on(Event::Revoked { partitions: partitions.clone(), lost }, Instant::now());
        let acts = ownerships.on(Event::Drained(partitions.clone()), Instant::now());
        prop_assert_eq!(orders(&acts), [Order::Unassign(partitions)]);
    }
}
