//! What a lane does about each event in each phase, and stories of several.

use schemas::PartitionCount;

use super::*;
use crate::{
    consume::attempt::Outcome,
    domain::{
        applied::Applied, fold::ForeignWrite, halt::SchemaFault, position::Offset, progress::Progress,
        record::RawRecord,
    },
    store::{StoreError, apply::ApplyError},
};

const P: Partition = Partition(3);
const EPOCH: AssignmentEpoch = AssignmentEpoch(7);
const OWNER: OwnerEpoch = OwnerEpoch(4);

/// A lane that has been told to apply a partition from its beginning, and when that was.
fn lane() -> (LaneMachine, Instant) {
    let config = LaneConfig {
        batch: BatchConfig {
            batch_records_max: 100,
            batch_kib_max: 64,
            batch_age_max: Duration::from_millis(25),
            copy_records_min: 1,
        },
        dead_letters: DeadLetterConfig { dead_letters_per_minute_max: 100, dead_letters_percent_max: 1 },
        cache: CacheBudget::new(10),
        commit: Commit::Durable,
        spans: Spans::default(),
    };
    let (now, backoff) = (Instant::now(), Backoff::new(Duration::from_millis(50), Duration::from_secs(3)));
    let clock = Arc::new(AttemptClock::new(now));
    let mut lane = LaneMachine::new(config, backoff, Arc::new(Metrics::new().unwrap()), clock);
    assert!(hear(&mut lane, adopt(0), now).is_empty());
    (lane, now)
}

fn adopt(next_offset: i64) -> Event {
    let start =
        Start { partition: P, next_offset: NextOffset(next_offset), assignment_epoch: EPOCH, lane: 0 };
    Event::Adopt(start, OWNER, Arc::new(PartitionRules::new(P, PartitionCount::new(12).unwrap())))
}

fn chunk(offsets: std::ops::Range<i64>) -> Event {
    let raw = |offset| RawRecord::new(P, Offset(offset), Timestamp::EPOCH, None, None, std::iter::empty());
    Event::Chunk(offsets.map(|offset| (EPOCH, Entry::Record(raw(offset)))).collect())
}

fn failed(error: impl Into<ApplyError>) -> Event {
    Event::Ended(Ended { is_cache_wrong: false, outcome: Outcome::Failed(error.into()) })
}

fn unsettled() -> Event {
    failed(ApplyError::Unsettled("a test says so"))
}

fn applied() -> Event {
    Event::Ended(Ended { is_cache_wrong: false, outcome: Outcome::Applied(Applied::default()) })
}

/// The row as it was read.
fn read(next_offset: i64) -> Event {
    let next_offset = NextOffset(next_offset);
    let row = Progress { next_offset, owner_epoch: OWNER, ..Progress::born(P, Offset(0)) };
    Event::Ended(Ended { is_cache_wrong: false, outcome: Outcome::Read(vec![row]) })
}

/// What the lane does about an event, and then next, in words.
fn hear(lane: &mut LaneMachine, event: Event, now: Instant) -> Vec<String> {
    let mut acts = lane.on(event, now);
    acts.extend(lane.proceed(now));
    let span = |work: &Work| {
        work.batch().runs.iter().map(|run| format!("{}..{}", run.from, run.to)).collect::<String>()
    };
    let in_words = |act: &Act| match act {
        Act::Start(work @ Work::Apply(_), _) => ["apply ".to_owned(), span(work)].concat(),
        Act::Start(work @ Work::Settle(_), _) => ["read ".to_owned(), span(work)].concat(),
        Act::LeaveBehind => "leave".to_owned(),
        Act::Released(number) => format!("released {number}"),
        Act::Report(report) => match &report.news {
            LaneNews::Arrived(_) => "arrived".to_owned(),
            LaneNews::Advanced(to, _) => format!("advanced {to}"),
            LaneNews::Stops => "stops".to_owned(),
            LaneNews::Fenced => "fenced".to_owned(),
            LaneNews::Halted(reason) => format!("halted {}", reason.as_str()),
        },
    };
    acts.iter().map(in_words).collect()
}

/// A lane that is idle, busy with four records, or waiting to try them again; and what the time is.
fn in_phases() -> [(LaneMachine, Instant); 3] {
    let (idle, (mut busy, now), (mut waiting, then)) = (lane(), lane(), lane());
    assert_eq!(hear(&mut busy, chunk(0..4), now), ["arrived", "apply 0..4"]);
    assert_eq!(hear(&mut waiting, chunk(0..4), then), ["arrived", "apply 0..4"]);
    assert!(hear(&mut waiting, failed(StoreError::Deadline), then).is_empty());
    [idle, (busy, now), (waiting, then)]
}

#[test]
fn each_event_in_each_phase_has_its_acts() {
    type Make = fn() -> Event;
    let fault = SchemaFault {
        sqlstate: "42703".to_owned(),
        table: None,
        column: None,
        constraint: None,
        routine: None,
    };
    let record = StoreError::Record { sqlstate: "22021".to_owned(), constraint: None, why: "a test says so" };
    let foreign = ForeignWrite { partition: P, offset: Offset(0) };
    let ended: [(Event, &[&str], &[&str]); 9] = [
        // What was started has ended; at once, and when the lane wakes up by itself.
        (applied(), &["advanced 4"], &[]),
        (unsettled(), &["read 0..4"], &["leave", "read 0..4"]),
        (read(4), &["advanced 4"], &[]),
        (read(0), &["apply 0..4"], &["leave", "read 0..4"]),
        (read(2), &["fenced"], &[]),
        (failed(StoreError::Deadline), &[], &["apply 0..4"]),
        (failed(StoreError::TooMuch(sqlx::Error::PoolTimedOut)), &[], &["apply 0..2"]),
        (failed(record), &["apply 0..2"], &["leave", "read 0..2"]),
        (failed(StoreError::Tables(Box::new(fault))), &["halted schema_mismatch"], &[]),
    ];
    for (event, at_once, later) in ended {
        let [_, (mut busy, now), _] = in_phases();
        let shown = format!("{event:?}");
        assert_eq!(hear(&mut busy, event, now), at_once, "{shown}");
        let acts = busy.wake_at().map(|wake_at| hear(&mut busy, Event::Due, wake_at)).unwrap_or_default();
        assert_eq!(acts, later, "later, after {shown}");
    }
    let others: [(Make, [&[&str]; 3]); 5] = [
        (|| Event::Release(1, vec![P]), [&["released 1"], &[], &["released 1"]]),
        (|| Event::Due, [&[], &[], &[]]),
        (applied, [&[], &["advanced 4"], &[]]),
        (|| chunk(4..5), [&["halted offset_gap"], &[], &[]]),
        (|| chunk(5..6), [&["halted offset_gap"], &["stops"], &["stops"]]),
    ];
    for (make, expected) in others {
        for ((mut lane, now), expected) in in_phases().into_iter().zip(expected) {
            assert_eq!(hear(&mut lane, make(), now), expected, "{:?}", make());
        }
    }
    for event in
        [failed(StoreError::Present("dialogs_pkey".to_owned())), failed(ApplyError::Foreign(foreign))]
    {
        let [_, (mut busy, now), _] = in_phases();
        let shown = format!("{event:?}");
        assert_eq!(hear(&mut busy, event, now), ["read 0..4"], "{shown}: it may be our own");
        assert_eq!(hear(&mut busy, read(0), now), ["apply 0..4"]);
        let again = hear(&mut busy, failed(ApplyError::Foreign(foreign)), now);
        assert_eq!(again, ["halted foreign_write"], "{shown}: it is not");
    }
}

/// A failover may lose the raise of an epoch, so that the same number is given again.
#[test]
fn what_was_under_way_when_a_partition_was_let_go_says_nothing_about_it_when_it_is_owned_again() {
    for (end, acts) in [
        (applied(), ["apply 0..2"]),
        (unsettled(), ["apply 0..2"]),
        (failed(StoreError::Deadline), ["apply 0..2"]),
    ] {
        let [_, (mut lane, now), _] = in_phases();
        assert!(hear(&mut lane, adopt(0), now).is_empty(), "the four records are under way");
        assert_eq!(hear(&mut lane, chunk(0..2), now), ["arrived"]);
        assert_eq!(hear(&mut lane, end, now), acts, "nothing has advanced, nothing is asked");
    }
    let [_, _, (mut lane, now)] = in_phases();
    assert!(hear(&mut lane, adopt(0), now).is_empty(), "the four records that waited are dropped");
    assert_eq!(hear(&mut lane, chunk(0..1), now), ["arrived", "apply 0..1"]);
}

#[test]
fn a_release_is_answered_when_no_attempt_holds_its_partition() {
    let [_, (mut busy, now), _] = in_phases();
    assert!(hear(&mut busy, Event::Release(1, vec![P]), now).is_empty());
    assert_eq!(hear(&mut busy, Event::Release(2, vec![Partition(5)]), now), ["released 2"]);
    assert_eq!(hear(&mut busy, applied(), now), ["released 1"], "and nothing is said of its records");

    let [_, (mut busy, now), _] = in_phases();
    assert!(hear(&mut busy, Event::Release(1, vec![P]), now).is_empty());
    let late = now + ATTEMPT_DEADLINE;
    assert_eq!(busy.wake_at(), Some(late));
    assert_eq!(hear(&mut busy, Event::Due, late), ["leave", "released 1"]);
    assert!(hear(&mut busy, applied(), late).is_empty(), "nobody listens to what was left behind");
}

#[test]
fn a_partition_that_stops_is_applied_up_to_there_and_then_halts() {
    let [_, (mut busy, now), _] = in_phases();
    assert!(hear(&mut busy, chunk(4..6), now).is_empty());
    assert_eq!(hear(&mut busy, chunk(7..8), now), ["stops"]);
    assert!(hear(&mut busy, chunk(6..7), now).is_empty(), "nothing more is taken in");
    assert_eq!(hear(&mut busy, applied(), now), ["advanced 4", "apply 4..6"]);
    assert_eq!(hear(&mut busy, unsettled(), now), ["read 4..6"]);
    assert_eq!(hear(&mut busy, read(6), now), ["advanced 6", "halted offset_gap"]);
}
