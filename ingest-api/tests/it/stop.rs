//! SIGTERM under load (A3): nothing that was accepted is cut, nothing that was acknowledged is lost.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Ended, block_on},
    harness::{Api, join_all},
};

/// Requests that are certainly on their way to Kafka when the signal comes.
const HELD: usize = 200;
/// Connections that send one message after the other, to the end.
const BUSY: usize = 32;

#[test]
fn sigterm_under_load_cuts_no_accepted_request_and_loses_nothing_acknowledged() {
    // Records wait for so long that those sent right after the first answers are caught in the queue.
    let mut api = Api::with(&["--linger-ms=4000"]);
    let address = api.running.address.unwrap();
    let (held, busy, took) = block_on(async {
        let answered = Arc::new(AtomicUsize::new(0));
        let busy: Vec<_> = (0..BUSY)
            .map(|number| service_kit::spawn("busy", send_to_the_end(address, number, Arc::clone(&answered))))
            .collect();
        let mut clients = Vec::with_capacity(HELD);
        for _ in 0..HELD {
            clients.push(Client::connect(address).await.unwrap());
        }
        until("every connection has had an answer", || answered.load(Ordering::Relaxed) >= BUSY).await;
        let held: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| service_kit::spawn("held", send_one(client, number)))
            .collect();
        until("the held requests are in flight", || api.in_flight() >= HELD).await;
        let since = Instant::now();
        api.running.stop().unwrap();
        let took = since.elapsed();
        (join_all(held).await, join_all(busy).await.concat(), took)
    });
    assert!(took <= Duration::from_secs(10), "{took:?}");
    assert!(held.iter().all(|(_, ended)| *ended == Ended::Answered(202)), "{held:?}");
    assert!(busy.iter().all(|(_, ended)| *ended != Ended::Cut), "an answer was cut");
    let kept = |(id, ended): (String, Ended)| (ended == Ended::Answered(202)).then_some(id);
    let acknowledged: HashSet<String> = held.into_iter().chain(busy).filter_map(kept).collect();
    assert!(acknowledged.len() > HELD + BUSY, "{} acknowledged", acknowledged.len());
    let topic: HashSet<String> = api
        .topic()
        .into_iter()
        .map(|record| record.value["external_message_id"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&topic).collect();
    assert!(lost.is_empty(), "acknowledged and not in the topic: {lost:?}");
}

async fn send_one(mut client: Client, number: usize) -> (String, Ended) {
    let id = format!("held-{number}");
    let ended = client.post("shop", &id).await;
    (id, ended)
}

/// Until nobody accepts connections any more.
async fn send_to_the_end(
    address: SocketAddr,
    connection: usize,
    answered: Arc<AtomicUsize>,
) -> Vec<(String, Ended)> {
    let mut sent = Vec::new();
    while let Ok(mut client) = Client::connect(address).await {
        loop {
            let id = format!("busy-{connection}-{}", sent.len());
            let ended = client.post("shop", &id).await;
            sent.push((id, ended));
            answered.fetch_add(1, Ordering::Relaxed);
            if matches!(ended, Ended::Closed | Ended::Cut) {
                break;
            }
        }
    }
    sent
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
