//! The sender and the binary against a small server in this process, which judges messages with
//! `schemas` as the ingest API does and misbehaves on purpose.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod binary;
mod server;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use loadtest::{
    connection::Target,
    plan::{Kind, Plan, Request, Settings},
    run::{Ended, Options, run},
    schedule::Schedule,
    send::Policy,
    stats::{Stats, Tally},
};
use schemas::Timestamp;
use server::{Arrival, Server, Trouble};

/// The deadline is one that no reply misses on a busy machine, unless it never comes.
const IMPATIENT: Policy = Policy {
    deadline: Duration::from_secs(2),
    retries_max: 5,
    backoff_first: Duration::from_millis(5),
    backoff_longest: Duration::from_millis(20),
};

fn plan(messages: u64) -> Arc<Plan> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros()).unwrap();
    let base_time = Timestamp::from_micros(micros).unwrap();
    let mix = "valid=80,duplicate=10,invalid=10".parse().unwrap();
    let clients = u32::try_from(messages / 10).unwrap().max(2);
    let settings = Settings { messages, clients, sources: 10, mix, ..Settings::usual(base_time) };
    Arc::new(Plan::new(settings).unwrap())
}

async fn send(
    plan: &Arc<Plan>,
    server: &Server,
    connections: usize,
    rate: Option<&str>,
) -> (Ended, Duration, Tally) {
    let schedule = rate.map(|rate| Schedule::of(rate.parse().unwrap(), plan.settings().messages));
    let options = Options { schedule, ..options(server, connections) };
    send_with(plan, &options).await
}

async fn send_with(plan: &Arc<Plan>, options: &Options) -> (Ended, Duration, Tally) {
    let stats = Stats::new().unwrap();
    let (ended, elapsed) =
        run(Arc::clone(plan), options, &stats, None, std::future::pending()).await.unwrap();
    (ended, elapsed, stats.tally())
}

fn options(server: &Server, connections: usize) -> Options {
    let target = Target::parse(&server.url()).unwrap();
    Options {
        target,
        connections,
        schedule: None,
        batch: None,
        signer: None,
        provider: None,
        policy: IMPATIENT,
        time_limit: Duration::from_secs(600),
    }
}

/// What the plan says must come out when everything goes well.
fn assert_complete(plan: &Plan, (ended, _, report): &(Ended, Duration, Tally)) {
    let count = |wanted: fn(&Request) -> bool| plan.requests().filter(wanted).count() as u64;
    assert_eq!((*ended, report.figures.unexpected), (Ended::Complete, 0), "{:?}", report.examples);
    assert_eq!(report.figures.sent, plan.settings().messages);
    assert_eq!(report.figures.valid, count(|request| request.kind == Kind::Valid));
    assert_eq!(report.figures.duplicates, count(|request| matches!(request.kind, Kind::Duplicate { .. })));
    assert_eq!(report.figures.invalid, count(|request| matches!(request.kind, Kind::Invalid(_))));
    for status in [202, 400, 422] {
        let planned = plan.requests().filter(|request| request.expected_status() == status).count() as u64;
        assert_eq!(report.replies.get(&status).copied().unwrap_or(0), planned, "{status}");
    }
    let clients: HashSet<_> =
        plan.requests().filter(|request| request.kind == Kind::Valid).map(|request| request.client).collect();
    assert_eq!(
        (report.figures.expected_messages, report.figures.expected_clients),
        (report.figures.valid, clients.len() as u64)
    );
}

/// Once a message was kept, only what follows it in the plan arrives from its client, or a
/// duplicate: so the order in which messages are kept is the client's own.
fn assert_in_order(plan: &Plan, server: &Server) {
    let mut planned = HashMap::<_, Vec<String>>::new();
    for request in plan.requests().filter(|request| request.kind == Kind::Valid) {
        let message = server::judge(&plan.body(&request)).unwrap();
        planned.entry(message.client_id()).or_default().push(message.external_message_id().to_string());
    }
    let mut kept = HashMap::<_, Vec<String>>::new();
    for Arrival { body, status, .. } in server.arrivals() {
        if let (202, Ok(message)) = (status, server::judge(&body)) {
            let ids = kept.entry(message.client_id()).or_default();
            let id = message.external_message_id().to_string();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    assert_eq!(kept, planned);
}

/// Sends a plan to such a server: everything goes well in the end, and in order. What it got, how long it took, and
/// what was counted.
async fn complete(
    messages: u64,
    trouble: Trouble,
    connections: usize,
    rate: Option<&str>,
) -> (Server, Duration, Tally) {
    let (plan, server) = (plan(messages), Server::start(trouble).await);
    let outcome = send(&plan, &server, connections, rate).await;
    assert_complete(&plan, &outcome);
    assert_in_order(&plan, &server);
    (server, outcome.1, outcome.2)
}

#[tokio::test]
async fn a_server_in_order_gets_the_whole_plan_in_the_order_of_each_client() {
    let (server, _, tally) = complete(2_000, Trouble::None, 8, None).await;
    assert_eq!(tally.figures.retries, 0);
    assert_eq!(server.arrivals().len(), 2_000);
}

#[tokio::test]
async fn after_a_503_the_same_bytes_are_sent_again_under_a_new_request_id() {
    let (server, _, tally) = complete(1_000, Trouble::FirstTryUnavailable { one_in: 3 }, 8, None).await;

    let arrivals = server.arrivals();
    let request_ids: BTreeSet<&str> = arrivals.iter().map(|arrival| arrival.request_id.as_str()).collect();
    assert_eq!(request_ids.len(), arrivals.len(), "a request id came twice");
    assert!(request_ids.iter().all(|id| schemas::RequestId::parse(*id).is_ok()));

    let refused: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.status == 503).collect();
    assert!(refused.len() > 100, "{}", refused.len());
    assert_eq!(tally.figures.retries, refused.len() as u64);
    assert_eq!(tally.replies.get(&503), Some(&tally.figures.retries));
    for arrival in refused {
        let (request, _attempt) = arrival.request_id.rsplit_once('-').unwrap();
        let again = arrivals.iter().find(|other| other.request_id == format!("{request}-1")).unwrap();
        assert_eq!(again.body, arrival.body);
    }
}

#[tokio::test]
async fn a_request_that_its_last_attempt_settles_does_not_end_the_run() {
    let (plan, server) = (plan(300), Server::start(Trouble::FirstTryUnavailable { one_in: 3 }).await);
    let policy = Policy { retries_max: 1, ..IMPATIENT };
    let outcome = send_with(&plan, &Options { policy, ..options(&server, 4) }).await;
    assert_complete(&plan, &outcome);
    assert!(outcome.2.figures.retries > 0);
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_kept() {
    let (_server, elapsed, tally) = complete(5, Trouble::UnavailableForASecond, 1, None).await;
    assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
    assert_eq!(tally.figures.retries, 1);
}

#[tokio::test]
async fn a_reply_that_never_comes_is_not_waited_for_beyond_the_deadline() {
    let (_server, _, tally) = complete(50, Trouble::FirstTrySilent { one_in: 20 }, 4, None).await;
    assert!(tally.figures.retries > 0);
}

#[tokio::test]
async fn broken_connections_are_opened_again_and_the_request_repeated() {
    let (_server, _, tally) = complete(200, Trouble::ConnectionsBreak { first: 5 }, 4, None).await;
    assert!(tally.figures.retries > 0);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_after_a_reply_costs_no_retry() {
    let (server, _, tally) = complete(200, Trouble::CloseAfterReply, 4, None).await;
    assert_eq!(tally.figures.retries, 0);
    assert!(server.connections() >= 200);
}

#[tokio::test]
async fn a_connection_that_the_server_closes_when_idle_costs_no_retry() {
    let (server, _, tally) = complete(10, Trouble::CloseWhenIdle, 1, Some("8")).await;
    assert_eq!(tally.figures.retries, 0);
    assert!(server.connections() >= 10, "{}", server.connections());
}

#[tokio::test]
async fn a_server_that_never_takes_anything_ends_the_run() {
    let (plan, server) = (plan(1_000), Server::start(Trouble::AlwaysUnavailable).await);
    let (ended, _, tally) = send(&plan, &server, 1, None).await;
    assert_eq!(
        (ended, tally.figures.sent, tally.figures.retries, tally.figures.unexpected),
        (Ended::GaveUp, 1, 5, 1)
    );
    assert_eq!(tally.figures.expected_messages, 0);
    let shown = tally.examples.first().unwrap().to_string();
    assert!(shown.starts_with("a valid message: expected 202, got 503 kafka_unavailable"), "{shown}");
}

#[tokio::test]
async fn replies_other_than_planned_are_counted_and_shown_without_what_people_wrote() {
    let (plan, server) = (plan(1_000), Server::start(Trouble::TakesEverything).await);
    let (ended, _, tally) = send(&plan, &server, 4, None).await;
    assert_eq!((ended, tally.figures.unexpected), (Ended::Complete, tally.figures.invalid));
    assert!(!tally.examples.is_empty());
    for example in &tally.examples {
        let shown = example.to_string();
        assert!(shown.contains(", got 202 (x-request-id lt-") && !shown.contains("7000"), "{shown}");
    }
}

#[tokio::test]
async fn a_slow_server_does_not_slow_the_schedule_down_and_cannot_hide_it() {
    // 100 requests due within half a second, at a server that needs a second for them.
    let (_server, elapsed, tally) =
        complete(100, Trouble::Slow(Duration::from_millis(10)), 1, Some("200")).await;
    let last = Duration::from_micros(tally.latency.max());
    assert!(last >= Duration::from_millis(400), "{last:?}");
    assert!(elapsed >= Duration::from_millis(900), "{elapsed:?}");
}

#[tokio::test]
async fn a_fast_server_is_not_sent_more_than_the_rate() {
    let (_server, elapsed, _) = complete(100, Trouble::None, 8, Some("200")).await;
    assert!(elapsed >= Duration::from_millis(490), "{elapsed:?}");
}

#[tokio::test]
async fn a_run_that_is_stopped_says_how_far_it_came() {
    let (plan, server) = (plan(10_000), Server::start(Trouble::Slow(Duration::from_millis(10))).await);
    let options = options(&server, 2);
    let stats = Stats::new().unwrap();
    let stop = tokio::time::sleep(Duration::from_millis(300));
    let (ended, _) = run(plan, &options, &stats, None, stop).await.unwrap();
    let tally = stats.tally();
    assert_eq!((ended, tally.figures.unexpected), (Ended::Interrupted, 0));
    assert!((5..1_000).contains(&tally.figures.sent), "{}", tally.figures.sent);
}

#[tokio::test]
async fn a_run_that_takes_too_long_ends_by_itself_and_says_how_far_it_came() {
    let (plan, server) = (plan(10_000), Server::start(Trouble::Slow(Duration::from_millis(10))).await);
    let options = Options { time_limit: Duration::from_millis(300), ..options(&server, 2) };
    let (ended, elapsed, tally) = send_with(&plan, &options).await;
    assert_eq!((ended, tally.figures.unexpected), (Ended::OutOfTime, 0));
    assert!((5..1_000).contains(&tally.figures.sent), "{}", tally.figures.sent);
    assert!(elapsed >= options.time_limit, "{elapsed:?}");
}

#[tokio::test]
async fn a_target_that_does_not_listen_is_named_at_once() {
    let server = Server::start(Trouble::None).await;
    let options = options(&server, 2);
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (stats, stop) = (Stats::new().unwrap(), std::future::pending());
    let error = run(plan(10), &options, &stats, None, stop).await.unwrap_err();
    assert_eq!(error.to_string(), "the target does not accept connections");
}

#[tokio::test]
async fn batches_carry_the_whole_plan_in_the_order_of_each_client() {
    for trouble in [Trouble::None, Trouble::FirstTryUnavailable { one_in: 7 }] {
        let (plan, server) = (plan(2_000), Server::start(trouble).await);
        let options = Options { batch: Some(30), ..options(&server, 4) };
        let outcome = send_with(&plan, &options).await;
        assert_complete(&plan, &outcome);
        assert_in_order(&plan, &server);
        let requests: BTreeSet<_> = server.arrivals().into_iter().map(|arrival| arrival.request_id).collect();
        assert!(requests.len() < 200, "{} requests", requests.len());
    }
}

#[tokio::test]
async fn shards_together_send_the_plan_once() {
    let server = Server::start(Trouble::None).await;
    let whole = plan(1_000);
    for shard in ["0/2", "1/2"] {
        let settings = Settings { shard: shard.parse().unwrap(), ..whole.settings().clone() };
        let (ended, _, tally) =
            send_with(&Arc::new(Plan::new(settings).unwrap()), &options(&server, 4)).await;
        assert_eq!((ended, tally.figures.unexpected), (Ended::Complete, 0), "{:?}", tally.examples);
    }
    assert_eq!(server.arrivals().len(), 1_000);
}

#[tokio::test]
async fn a_ramp_begins_slowly_and_ends_fast() {
    let (_server, elapsed, tally) = complete(300, Trouble::None, 8, Some("50..550")).await;
    // A second for 300 of them on average, and a quarter of that second's requests in its first half.
    assert!(elapsed >= Duration::from_millis(950), "{elapsed:?}");
    let slots = tally.timeline.slots();
    assert!(slots[0].settled >= 250, "{}", slots[0].settled);
}
