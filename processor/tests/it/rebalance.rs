//! Processors that come and go while messages flow.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dev_env::programs::{PARTITIONS, Running};
use rstest::rstest;
use sqlx::{Connection as _, PgConnection};

use crate::harness::{SOON, Telex, block_on, wait_for};

/// Three seconds on a machine of its own, which this one is not.
const HAND_OVER_MAX: Duration = Duration::from_secs(10);
/// How often rows are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Watches each partition's next offset: for how long does none move, although messages come all the time?
struct Watch {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<BTreeMap<i32, Vec<Instant>>>,
}

impl Watch {
    fn start(telex: &Telex) -> Self {
        let url = telex.programs.database_url.clone();
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            block_on(async {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                let mut moves: BTreeMap<i32, Vec<Instant>> = BTreeMap::new();
                let mut last: BTreeMap<i32, i64> = BTreeMap::new();
                while stopped.recv_timeout(LOOK).is_err() {
                    let rows: Vec<(i32, i64)> =
                        sqlx::query_as("select partition, next_offset from partition_progress")
                            .fetch_all(&mut connection)
                            .await
                            .unwrap();
                    for (partition, next_offset) in rows {
                        if last.insert(partition, next_offset) != Some(next_offset) {
                            moves.entry(partition).or_default().push(Instant::now());
                        }
                    }
                }
                moves
            })
        });
        Self { stop, thread }
    }

    /// The longest time without progress that has a part in `[from, to]`.
    fn finish(self, spans: &[(&'static str, Instant, Instant)]) -> Vec<(&'static str, Duration)> {
        self.stop.send(()).unwrap();
        let moves = self.thread.join().unwrap();
        let longest = |from: Instant, to: Instant| {
            let gaps = moves.values().flat_map(|moments| moments.windows(2));
            let during = gaps.filter(|gap| gap[1] >= from && gap[0] <= to);
            during.map(|gap| gap[1] - gap[0]).max().unwrap_or_default()
        };
        spans.iter().map(|(name, from, to)| (*name, longest(*from, *to))).collect()
    }
}

/// Scales to `count` processors, waits until every partition has been handed over, and lets it run a while.
fn scale(telex: &mut Telex, processors: &mut Vec<Running>, protocol: &str, count: usize) {
    while processors.len() > count {
        processors.pop().unwrap().stop().unwrap();
    }
    while processors.len() < count {
        processors.push(telex.processor_with(&["--group-protocol", protocol]));
    }
    wait_for("the partitions to be spread", SOON, || {
        let owned = |processor: &Running| metric(processor, "processor_owned_partitions");
        let each: Vec<i64> = processors.iter().map(owned).collect();
        each.iter().sum::<i64>() == i64::from(PARTITIONS) && each.iter().all(|owned| *owned > 0)
    });
    std::thread::sleep(Duration::from_secs(3));
}

/// The sum of a metric's series; -1 if the program does not answer.
fn metric(of: &Running, name: &str) -> i64 {
    let page = of.metrics();
    if page.is_empty() {
        return -1;
    }
    let series = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    });
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum()
}

#[rstest]
#[case::classic("classic")]
#[case::consumer("consumer")]
fn processors_scale_1_3_6_1_under_load_and_every_partition_goes_on(#[case] protocol: &str) {
    let (mut telex, api) = Telex::with_api();
    let mut load = telex.load(&api, 200_000, 600);
    let mut processors = Vec::new();
    scale(&mut telex, &mut processors, protocol, 1);
    wait_for("every partition's first rows", SOON, || {
        telex.number("select count(*) from partition_progress where next_offset > 0") == i64::from(PARTITIONS)
    });
    // The chain of each partition: no owner's step is missing, none is doubled (P7).
    telex.execute(
        "create table chain (
             step bigint generated always as identity, partition integer, from_offset bigint, to_offset bigint,
             from_epoch bigint, to_epoch bigint);
         create function chain() returns trigger language plpgsql as $$ begin
             insert into chain (partition, from_offset, to_offset, from_epoch, to_epoch)
             values (new.partition, old.next_offset, new.next_offset, old.owner_epoch, new.owner_epoch);
             return new;
         end $$;
         create trigger chain after update on partition_progress for each row execute function chain()",
    );
    let watch = Watch::start(&telex);
    let mut spans = Vec::new();
    for (name, count) in [("1 to 3", 3), ("3 to 6", 6), ("6 to 1", 1)] {
        let from = Instant::now();
        scale(&mut telex, &mut processors, protocol, count);
        spans.push((name, from, Instant::now()));
    }
    let pauses = watch.finish(&spans);
    load.stop(Duration::from_secs(30)).unwrap();
    for (name, pause) in &pauses {
        eprintln!(
            "{protocol}, {name} processors: a partition made no progress for at most {} ms",
            pause.as_millis()
        );
    }
    telex.assert_clean();
    assert!(pauses.iter().all(|(_, pause)| *pause < HAND_OVER_MAX), "{pauses:?}");
    let broken = "select count(*) from (
            select from_offset, lag(to_offset) over w as before, to_offset,
                   from_epoch, lag(to_epoch) over w as epoch_before, to_epoch
            from chain window w as (partition by partition order by step)) as step
        where from_offset <> before or to_offset < from_offset or from_epoch <> epoch_before or to_epoch < from_epoch";
    assert_eq!(telex.number(broken), 0, "a partition's chain has a gap");
    assert!(
        telex.number("select max(owner_epoch) from partition_progress") >= 3,
        "partitions were handed over"
    );
    let fenced: i64 = processors.iter().map(|processor| metric(processor, "processor_fenced_total")).sum();
    assert_eq!(fenced, 0, "nobody was fenced by a polite hand-over");
}

#[test]
fn a_paused_partition_that_leaves_and_comes_back_is_read_again() {
    let (mut telex, api) = Telex::with_api();
    let mut load = telex.load(&api, 400_000, 2_500);
    // Little room, so that the poller soon has to pause.
    let small = ["--batch-records-max=50", "--lanes=1"];
    let first = telex.processor_with(&small);
    wait_for("the first rows", SOON, || telex.applied_offsets() > 500);
    block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        // Writers wait; a processor that starts may look at the table.
        let block = "begin; lock table messages in exclusive mode";
        sqlx::raw_sql(block).execute(&mut connection).await.unwrap();
        wait_for("a pause", SOON, || metric(&first, "processor_paused_partitions") > 0);
        // Some of the paused partitions leave, and come back while the others are still paused.
        let mut second = telex.processor_with(&small);
        wait_for("partitions to leave", SOON, || metric(&second, "processor_owned_partitions") > 0);
        second.stop().unwrap();
        wait_for("partitions to come back", SOON, || {
            metric(&first, "processor_owned_partitions") == i64::from(PARTITIONS)
        });
        sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
    });
    load.stop(Duration::from_secs(30)).unwrap();
    telex.assert_clean();
    assert_eq!(metric(&first, "processor_paused_partitions"), 0);
}

#[test]
fn a_processor_whose_partitions_were_lost_does_not_hand_them_back() {
    let (mut telex, api) = Telex::with_api();
    let mut load = telex.load(&api, 100_000, 300);
    let frozen = telex.processor();
    wait_for("the first rows", SOON, || telex.applied_offsets() > 300);
    frozen.server.freeze();
    let heir = telex.processor();
    wait_for("all partitions to move", Duration::from_secs(90), || {
        metric(&heir, "processor_owned_partitions") == i64::from(PARTITIONS)
    });
    frozen.server.thaw();
    wait_for("the loss to be noticed", SOON, || {
        frozen.metrics().contains(r#"processor_rebalances_total{event="lost"} "#)
    });
    load.stop(Duration::from_secs(30)).unwrap();
    telex.assert_clean();
}
