use super::*;
use crate::stats::{self, Stats};

fn report(stats: &Stats, ended: Ended) -> Report {
    Report::new(facts(&stats.tally(), ended))
}

fn facts(tally: &Tally, ended: Ended) -> Facts<'_> {
    let (elapsed, own_cpu, settings) = (Duration::from_secs(2), Duration::from_millis(30), BTreeMap::new());
    Facts { tally, ended, elapsed, own_cpu, schedule: None, settings, seed: 7, verdict: None }
}

#[test]
fn the_json_has_exactly_the_agreed_keys() {
    let stats = Stats::new().unwrap();
    stats.replied(202);
    let report = report(&stats, Ended::Complete);
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut agreed = [
        "ended",
        "settings",
        "sent",
        "replies",
        "examples",
        "unexpected",
        "retries",
        "valid",
        "duplicates",
        "invalid",
        "expected_messages",
        "expected_clients",
        "elapsed_seconds",
        "requests_per_second",
        "achieved_share",
        "sustained",
        "own_cpu_micros",
        "latency_ms",
        "stored_ms",
        "stored_samples",
        "lag_max",
        "verification",
        "latency_histogram",
        "stored_histogram",
        "timeline",
        "seed",
    ];
    agreed.sort_unstable();
    assert_eq!(keys, agreed);
    assert_eq!(json["replies"], serde_json::json!({"202": 1}));
    assert_eq!(json["ended"], "complete");
    let read: Report = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read, report);
    assert!(["p50", "p90", "p99", "p999", "max"].iter().all(|key| json["latency_ms"][key].is_number()));
}

#[test]
fn bars_hold_everything_that_was_recorded() {
    let stats = Stats::new().unwrap();
    for millis in [1, 2, 2, 900, 60_000] {
        stats.stored(Duration::from_millis(millis), Duration::from_millis(millis));
    }
    let report = report(&stats, Ended::Complete);
    assert_eq!(report.stored_histogram.iter().map(|bar| bar.count).sum::<u64>(), 5);
    assert!(report.stored_histogram.first().unwrap().count > 0);
    assert!(report.stored_histogram.last().unwrap().to_ms > 60_000.0);
    assert!(report.latency_histogram.is_empty());
}

#[test]
fn a_slot_that_is_not_full_has_the_rate_of_its_time() {
    let stats = Stats::new().unwrap();
    let request = crate::plan::Request {
        index: 0,
        client: crate::plan::ClientIndex(0),
        kind: crate::plan::Kind::Valid,
    };
    for millis in (0..1_500).step_by(10) {
        let outcome = crate::stats::Outcome::Reply { status: 202, code: None };
        let settlement = crate::stats::Settlement {
            request_id: "r",
            outcome,
            latency: Duration::from_millis(3),
            attempt: 0,
            place: None,
        };
        stats.settled(&request, settlement, Duration::from_millis(millis));
    }
    let tally = stats.tally();
    let schedule = Some(Schedule::lasting("100".parse().unwrap(), Duration::from_millis(1_500)));
    let points = points(&tally, Duration::from_millis(1_500), schedule);
    let rates: Vec<_> =
        points.iter().map(|point| (point.offered_per_second, point.achieved_per_second)).collect();
    assert_eq!(rates, [(Some(100.0), 100.0), (Some(100.0), 100.0)]);
}

#[test]
fn a_rate_is_sustained_if_everything_came_in_time_and_is_there() {
    let (clean, mut wrong) = (Verdict::default(), Verdict::default());
    wrong.findings.add(crate::verify::Finding::Strays { rows: 1 });
    // How long the run took, and how far the tables were behind at worst.
    let sustained = |elapsed_ms, lag_ms, verdict, ended| {
        let stats = Stats::new().unwrap();
        stats.lagging(stats::Lag { records: 9, age: Duration::from_millis(lag_ms) }, Duration::ZERO);
        let (tally, elapsed) = (stats.tally(), Duration::from_millis(elapsed_ms));
        let schedule = Some(Schedule::lasting("100".parse().unwrap(), Duration::from_secs(2)));
        Report::new(Facts { elapsed, schedule, verdict, ..facts(&tally, ended) }).sustained
    };
    let compared = Some((&clean, true));
    assert_eq!(sustained(2_040, 1_999, compared, Ended::Complete), Some(true));
    assert_eq!(sustained(2_050, 1_999, compared, Ended::Complete), Some(false));
    assert_eq!(sustained(2_040, 2_000, compared, Ended::Complete), Some(false));
    assert_eq!(sustained(2_000, 0, Some((&clean, false)), Ended::Complete), Some(false));
    assert_eq!(sustained(2_000, 0, Some((&wrong, true)), Ended::Complete), Some(false));
    assert_eq!(sustained(2_000, 0, None, Ended::Complete), None);
    assert_eq!(sustained(2_000, 0, compared, Ended::Interrupted), None);
    assert_eq!(report(&Stats::new().unwrap(), Ended::Complete).sustained, None);
}

#[test]
fn a_verification_that_is_not_clean_found_at_least_one_thing() {
    let mut verdict = Verdict::default();
    assert_eq!(Verification::new(&verdict, true).found(), 0);
    assert_eq!(Verification::new(&verdict, false).found(), 1);
    (0..3).for_each(|_| verdict.findings.add(crate::verify::Finding::Strays { rows: 1 }));
    assert_eq!(Verification::new(&verdict, true).found(), 3);
}

#[test]
fn what_was_written_twice_is_a_figure_and_no_finding() {
    let verdict = Verdict { written_twice: 6, ..Verdict::default() };
    let tally = Stats::new().unwrap().tally();
    let report = Report::new(Facts { verdict: Some((&verdict, true)), ..facts(&tally, Ended::Complete) });
    assert!(report.is_clean());
    assert_eq!(serde_json::to_value(&report).unwrap()["verification"]["written_twice"], 6);
    let page = html::page(&report);
    assert!(page.contains("<th>written twice</th><td>6</td>"), "{page}");
}

#[test]
fn what_the_load_tester_costs_is_said_by_request() {
    let stats = Stats::new().unwrap();
    let (client, kind) = (crate::plan::ClientIndex(0), crate::plan::Kind::Valid);
    for index in 0..10 {
        stats.sent(&crate::plan::Request { index, client, kind });
    }
    let own = report(&stats, Ended::Complete).own_cpu_micros;
    assert!((own - 3_000.0).abs() < 1e-6, "{own}");
}
