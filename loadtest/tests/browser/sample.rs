//! Pages of runs that could have been: two minutes with a bad moment in them.

use std::{collections::BTreeMap, time::Duration};

use loadtest::{
    ledger::Place,
    plan::{ClientIndex, Kind, Request},
    report::{Facts, Report, html},
    run::Ended,
    schedule::Schedule,
    stats::{Lag, Outcome, Settlement, Stats},
    verify::{Finding, Verdict},
};

pub fn clean() -> String {
    page(&Verdict { promised: 22_800, rows: 22_800, clients: 2_280, ..Verdict::default() })
}

pub fn wrong() -> String {
    let mut verdict = Verdict { promised: 22_800, rows: 22_798, clients: 2_280, ..Verdict::default() };
    for index in [7, 9] {
        verdict.findings.add(Finding::Missing { message: format!("lt-00000000002a-{index}") });
    }
    verdict.findings.add(Finding::SeveralActive {
        client: "e60660c7-bd8f-5ba9-b814-6dbee9550932".to_owned(),
        dialogs: 2,
    });
    page(&verdict)
}

fn page(verdict: &Verdict) -> String {
    const SECONDS: u64 = 120;
    const PER_SECOND: u64 = 200;
    let stats = Stats::new().unwrap();
    for index in 0..SECONDS * PER_SECOND {
        let elapsed = Duration::from_micros(index * 1_000_000 / PER_SECOND);
        let is_bad_moment = (70..80).contains(&elapsed.as_secs());
        let micros = 1_500 + index * 7_919 % 4_000 + if index.is_multiple_of(101) { 30_000 } else { 0 };
        let latency = Duration::from_micros(if is_bad_moment { micros * 20 } else { micros });
        let kind =
            if index.is_multiple_of(20) { Kind::Duplicate { of: index - index % 20 } } else { Kind::Valid };
        let request = Request { index, client: ClientIndex(0), kind };
        stats.sent(&request);
        stats.replied(202);
        let place = Some(Place { partition: 0, offset: i64::try_from(index).unwrap() });
        let outcome = Outcome::Reply { status: 202, code: None };
        let settlement = Settlement { request_id: "r", outcome, latency, attempt: 0, place };
        stats.settled(&request, settlement, elapsed);
        if index.is_multiple_of(4) {
            stats.stored(latency * 2, elapsed);
        }
        let lag = Lag { records: if is_bad_moment { index % 2_000 } else { index % 40 }, age: latency };
        stats.lagging(lag, elapsed);
    }
    let schedule = Schedule::lasting("100..300".parse().unwrap(), Duration::from_secs(SECONDS));
    let report = Report::new(Facts {
        tally: &stats.tally(),
        ended: Ended::Complete,
        elapsed: Duration::from_secs(SECONDS),
        own_cpu: Duration::from_millis(360),
        schedule: Some(schedule),
        settings: BTreeMap::from([
            ("mix", "valid=90,duplicate=5,invalid=5".to_owned()),
            ("rate", "100..300".to_owned()),
        ]),
        seed: 1,
        verdict: Some((verdict, true)),
    });
    html::page(&report)
}
