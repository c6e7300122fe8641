//! Kafka is away under load, for any length of time: answers stay under their deadline, memory stays flat,
//! and the first 202 comes soon after its return (R2, A2).

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Ended, block_on, many_files},
    harness::{Api, join_all, resident_bytes},
};

/// Requests a second, whatever becomes of them; fewer where not all their connections may be open.
const RATE: u64 = 2_000;
/// `--ack-deadline-ms`, and what a busy machine adds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(9 + 3);
/// Until everything that may be in flight is.
const FULL_AFTER: Duration = Duration::from_secs(12);
/// Until the allocator has seen all sizes of so many connections.
const SETTLED_AFTER: Duration = Duration::from_secs(75);
const GROWTH_MAX: u64 = 24 << 20;
const OTHER_FILES: u64 = 500;

struct Sent {
    id: String,
    due: Instant,
    answered: Instant,
    ended: Ended,
}

#[test]
fn kafka_away_under_load_costs_answers_but_neither_memory_nor_what_was_acknowledged() {
    // Whoever is too many gets an answer, rather than no connection; and of the connections that a long
    // outage leaves idle none is closed just when it is used again.
    let (api, mut kafka) = Api::with_own_kafka(&["--connections-max=30000", "--idle-deadline-ms=900000"]);
    let (address, pid) = (api.running.address.unwrap(), api.running.server.pid());
    let outage = outage();
    let files = many_files(RATE * ANSWERED_WITHIN.as_secs() + OTHER_FILES);
    let load = Load::start(address, RATE.min((files.limit - OTHER_FILES) / ANSWERED_WITHIN.as_secs()));
    std::thread::sleep(Duration::from_secs(3));
    kafka.kill();
    let settled = (outage / 2).clamp(FULL_AFTER, SETTLED_AFTER);
    std::thread::sleep(settled);
    let full = resident_bytes(pid);
    std::thread::sleep(outage - settled);
    let after = resident_bytes(pid);
    kafka.start_again().unwrap();
    let back = Instant::now();
    std::thread::sleep(Duration::from_secs(20));
    let sent = load.stop();

    assert!(after < full + GROWTH_MAX, "resident memory grew from {full} to {after} bytes in {outage:?}");
    let slowest = sent.iter().map(|sent| sent.answered - sent.due).max().unwrap();
    assert!(slowest < ANSWERED_WITHIN, "an answer took {slowest:?}");
    let kept = |sent: &&Sent| sent.ended == Ended::Answered(202);
    let first = sent.iter().filter(kept).map(|sent| sent.answered).filter(|at| *at > back).min();
    let first = first.expect("no 202 after its return") - back;
    eprintln!(
        "{} requests, {} kept; the slowest answer {slowest:?}; memory {} to {} MiB; first 202 after {first:?}",
        sent.len(),
        sent.iter().filter(kept).count(),
        full >> 20,
        after >> 20,
    );
    assert!(first < Duration::from_secs(15), "the first 202 came {first:?} after its return");
    let other = sent.iter().find(|sent| !matches!(sent.ended, Ended::Answered(202 | 503)));
    assert_eq!(other.map(|sent| sent.ended), None);
    let topic = api.topic();
    let there: HashSet<&str> =
        topic.iter().map(|record| record.value["external_message_id"].as_str().unwrap()).collect();
    let lost = sent.iter().filter(kept).filter(|sent| !there.contains(sent.id.as_str())).count();
    assert_eq!(lost, 0, "acknowledged and not in the topic");
}

/// 20 seconds, or as many as `TELEX_TEST_OUTAGE_SECONDS` says.
#[expect(clippy::disallowed_methods, reason = "the test's configuration")]
fn outage() -> Duration {
    let seconds = std::env::var("TELEX_TEST_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20)).max(FULL_AFTER)
}

/// An open loop: a request every half millisecond on a connection that is free, or on a new one.
struct Load {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Sent>>,
}

impl Load {
    fn start(address: SocketAddr, rate: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            block_on(async move {
                let (start, free) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
                let mut requests = Vec::new();
                for number in 0.. {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = start + Duration::from_nanos(1_000_000_000 / rate * number);
                    tokio::time::sleep_until(due.into()).await;
                    let request = send(address, Arc::clone(&free), (number, due));
                    requests.push(service_kit::spawn("request", request));
                }
                join_all(requests).await
            })
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn send(address: SocketAddr, free: Arc<Mutex<Vec<Client>>>, (number, due): (u64, Instant)) -> Sent {
    let id = format!("m-{number}");
    let idle = free.lock().unwrap().pop();
    let mut client = match idle {
        Some(client) => client,
        None => Client::connect(address).await.unwrap(),
    };
    let ended = client.post(&format!("client-{}", number % 500), &id).await;
    if ended != Ended::Closed && ended != Ended::Cut {
        free.lock().unwrap().push(client);
    }
    Sent { id, due, answered: Instant::now(), ended }
}
