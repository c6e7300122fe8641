use uuid::Uuid;

use super::*;

fn topic(topic_ref: i16) -> Topic {
    Topic {
        topic_ref: TopicRef(topic_ref),
        topic_id: Uuid::nil(),
        partition_count: PartitionCount::new(4).unwrap(),
        known_partitions: 4,
    }
}

/// A place of the topic in force.
fn here(partition: i32, offset: i64) -> Coordinates {
    (TopicRef(2), Partition(partition), Offset(offset))
}

fn applied(partition: i32, birth: i64, next: i64) -> Applied {
    let partition = Partition(partition);
    let progress = Progress { next_offset: NextOffset(next), ..Progress::born(partition, Offset(birth)) };
    let rules = PartitionRules::new(partition, PartitionCount::new(4).unwrap());
    Applied { topic: topic(2), is_former: false, progress, rules, skipped: Skipped::default() }
}

fn range(start: i64, end: i64) -> impl Fn(Partition) -> LogRange {
    move |_| LogRange { start: Offset(start), end: Offset(end) }
}

#[test]
fn every_place_belongs_to_the_slice_that_reads_it_or_to_none() {
    let (first, second) = (applied(0, 10, 200_000), applied(2, 0, 5));
    let spans = Spans::new(Scope::Full, vec![first, second], &[], range(0, 300_000));
    assert_eq!((spans.records(), spans.slices), (199_995, 5));
    for jobs in [1, 2, 50] {
        let runs = spans.runs(jobs);
        let slices: Vec<_> = runs.into_iter().flatten().collect();
        assert_eq!(slices.iter().map(|(slice, _)| *slice).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        for (slice, Stretch { partition, from, to }) in slices {
            for offset in [from.0, to.0 - 1] {
                assert_eq!(spans.locate(here(partition.0, offset)), Location::Slice(slice));
            }
        }
    }
    for (partition, offset) in [(0, 9), (0, 200_000), (0, -1), (1, 0), (2, 5), (3, 0)] {
        assert_eq!(spans.locate(here(partition, offset)), Location::Nowhere);
    }
}

#[test]
fn a_log_that_lacks_records_is_told_from_one_that_was_proved_before() {
    let full = |(start, end)| Spans::new(Scope::Full, vec![applied(0, 0, 100)], &[], range(start, end));
    let trimmed = full((40, 100));
    assert!(trimmed.spans[0].is_trimmed);
    assert_eq!(trimmed.locate(here(0, 39)), Location::Gone(0));
    assert_eq!(trimmed.locate(here(0, 40)), Location::Slice(1));
    assert_eq!(trimmed.locate(here(0, -1)), Location::Nowhere);
    let cut: Vec<_> = trimmed.runs(1).concat().iter().map(|(at, s)| (*at, s.from.0, s.to.0)).collect();
    assert_eq!(cut, [(0, 0, 40), (1, 40, 100)]);
    let taken = [-1, 0, 39, 40].map(|offset| trimmed.spans[0].is_taken(Offset(offset)));
    assert_eq!(taken, [false, true, true, false]);
    let short = full((0, 60));
    assert_eq!((short.spans[0].log_end, short.records()), (Some(Offset(60)), 60));
    let gone = full((500, 520));
    assert_eq!((gone.spans[0].is_trimmed, gone.records(), gone.spans[0].lost), (true, 0, 400));
    let ahead = full((0, 107)).spans.remove(0);
    assert_eq!((ahead.beyond.from, ahead.beyond.to, ahead.lost), (NextOffset(100), NextOffset(107), 0));

    let proved = Proved {
        partition: Partition(0),
        proved_to: NextOffset(50),
        last_digest: None,
        counters: Counters::default(),
    };
    let since_last =
        |start| Spans::new(Scope::SinceLast, vec![applied(0, 0, 100)], &[proved], range(start, 100));
    let rest = since_last(40);
    assert_eq!((rest.spans[0].is_trimmed, rest.records()), (false, 50));
    assert_eq!(rest.locate(here(0, 49)), Location::Outside);
    assert!(rest.spans[0].is_taken(Offset(49)) && !rest.spans[0].is_taken(Offset(50)));
    let broken = since_last(60);
    assert_eq!((broken.spans[0].is_trimmed, broken.records()), (true, 40));
    assert_eq!(broken.locate(here(0, 55)), Location::Outside);
}

#[test]
fn a_former_topic_is_a_log_of_which_everything_is_gone_or_was_proved() {
    let former =
        |partition, next| Applied { topic: topic(1), is_former: true, ..applied(partition, 10, next) };
    let spans = |scope| {
        let applied = vec![former(0, 70_010), former(1, 10), applied(0, 0, 5), applied(1, 0, 0)];
        Spans::new(scope, applied, &[], range(0, 9))
    };
    let there = |offset| (TopicRef(1), Partition(0), Offset(offset));
    let full = spans(Scope::Full);
    assert_eq!((full.records(), full.places(), full.slices), (5, 70_005, 3));
    assert_eq!(full.locate(there(10)), Location::Gone(0));
    assert_eq!(full.locate(there(70_009)), Location::Gone(1));
    assert_eq!(full.locate(here(0, 4)), Location::Slice(2));
    assert_eq!(full.locate(there(9)), Location::Nowhere);
    assert_eq!(full.locate(there(70_010)), Location::Nowhere);
    assert_eq!(full.locate((TopicRef(3), Partition(0), Offset(3))), Location::Nowhere);
    let of_slice = [0, 1, 2].map(|slice| full.of_slice(slice).unwrap().0);
    assert_eq!(of_slice, [0, 0, 2]);
    for spans in [&full, &spans(Scope::SinceLast)] {
        let (at, span) = spans.of(TopicRef(1), Partition(0)).unwrap();
        assert_eq!((at, span.log_end, span.lost, spans.records()), (0, None, 0, 5));
        assert_eq!(span.beyond.cut().count(), 0);
        let taken = [9, 10, 70_009, 70_010].map(|offset| span.is_taken(Offset(offset)));
        assert_eq!(taken[1..], [true, true, false]);
        assert!(!spans.of(TopicRef(2), Partition(0)).unwrap().1.is_taken(Offset(3)));
    }
    assert_eq!(spans(Scope::SinceLast).slices, 1);
}

#[test]
fn skipped_offsets_are_passed_over_from_both_sides() {
    let skipped = Skipped(vec![(3, 5), (5, 9), (20, 30)]);
    assert_eq!([2, 3, 6, 9, 29].map(|offset| skipped.next(offset)), [2, 9, 9, 9, 30]);
    assert_eq!([30, 31, 9, 8].map(|end| skipped.end_before(end)), [20, 31, 3, 8]);
    assert_eq!(Skipped::default().next(7), 7);
    assert_eq!([(0, 3), (2, 6), (4, 9), (8, 25)].map(|(a, b)| skipped.kept_between(a, b)), [3, 1, 0, 11]);

    let applied = Applied { skipped: Skipped(vec![(0, 40), (60, 70), (90, 100)]), ..applied(0, 0, 100) };
    let spans = Spans::new(Scope::Full, vec![applied], &[], range(40, 95));
    let span = &spans.spans[0];
    assert_eq!((span.is_trimmed, span.ends_applied(), spans.records()), (false, false, 50));
    let locations = [39, 40, 60, 70, 90].map(|offset| spans.locate(here(0, offset)));
    let (slice, nowhere) = (Location::Slice(0), Location::Nowhere);
    assert_eq!(locations, [nowhere, slice, nowhere, slice, nowhere]);
}
