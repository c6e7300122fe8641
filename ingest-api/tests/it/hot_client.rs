//! A client with half of the traffic does not slow the answers of the others.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    client::{Client, Ended, block_on, p99},
    harness::{Api, join_all},
};

/// As many as [`p99`] has: half of the traffic.
const CONNECTIONS: usize = 4;
/// A p99 on a machine that others use, too, is never better known than that.
const FLOOR: Duration = Duration::from_millis(50);

#[test]
fn a_client_with_half_of_the_traffic_does_not_slow_the_others() {
    let api = Api::new();
    let address = api.running.address.unwrap();
    block_on(async {
        p99(address, "warm", 400).await;
        let spread = beside(address, "spread", |number| format!("client-{number}")).await;
        let hot = beside(address, "hot", |_| "hot".to_owned()).await;
        eprintln!(
            "p99 of the others: {hot:?} beside a hot client, {spread:?} beside as many messages of many"
        );
        assert!(hot < spread * 2 + FLOOR, "{hot:?} instead of {spread:?}");
    });
}

/// The p99 of messages beside as many of the clients that `client` names.
async fn beside(address: SocketAddr, name: &'static str, client: fn(usize) -> String) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let stop = Arc::clone(&stop);
            service_kit::spawn("beside", async move {
                let mut connected = Client::connect(address).await.unwrap();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("{name}-{connection}-{number}");
                    assert_eq!(connected.post(&client(number), &id).await, Ended::Answered(202));
                }
            })
        })
        .collect();
    let took = p99(address, name, 2_000).await;
    stop.store(true, Ordering::Relaxed);
    join_all(senders).await;
    took
}
