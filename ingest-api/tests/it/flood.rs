//! Thousands of connections that do nothing, or nothing fast, do not stop a client that does (S13, S14).

use std::{net::SocketAddr, time::Duration};

use tokio::task::JoinHandle;

use crate::{
    client::{Client, Ended, block_on, many_files, p99},
    harness::{Api, join_all},
};

const IDLE: u64 = 20_000;
const SLOW: u64 = 500;
/// What else the test and the program hold open.
const OTHERS: u64 = 500;
/// A p99 on a machine that others use, too, is never better known than that.
const FLOOR: Duration = Duration::from_millis(50);

#[test]
fn idle_and_slow_connections_do_not_stop_a_good_client() {
    let files = many_files(IDLE + SLOW + OTHERS);
    let limit = files.limit;
    let idle = IDLE.min(limit.saturating_sub(SLOW + OTHERS));
    if idle < IDLE {
        eprintln!("only {idle} idle connections: the limit of open files is {limit} and cannot be raised");
    }
    let api = Api::with(&["--connections-max=25000"]);
    let address = api.running.address.unwrap();
    block_on(async {
        p99(address, "warm", 400).await;
        let quiet = p99(address, "quiet", 2_000).await;
        let slow: Vec<JoinHandle<()>> =
            (0..SLOW).map(|_| service_kit::spawn("slow", slowloris(address))).collect();
        let connections = open_idle(address, idle).await;
        // What the flood does stays; what other tests do at that moment passes.
        let mut flooded = Duration::MAX;
        for look in ["flooded", "flooded 2", "flooded 3"] {
            flooded = flooded.min(p99(address, look, 2_000).await);
            eprintln!("p99: {quiet:?} quiet, {flooded:?} beside {idle} idle and {SLOW} slow connections");
            if flooded < quiet * 2 + FLOOR {
                break;
            }
        }
        assert!(flooded < quiet * 2 + FLOOR, "{flooded:?} instead of {quiet:?}");
        let metrics = api.running.metrics();
        let open = metrics.lines().find_map(|line| line.strip_prefix("ingest_connections ")).unwrap();
        assert!(open.parse::<u64>().unwrap() >= idle, "{open} connections");
        assert!(metrics.contains("ingest_connections_refused_total 0"));
        drop(connections);
        slow.iter().for_each(JoinHandle::abort);
    });
}

/// Connections that have had an answer, and then say nothing more.
async fn open_idle(address: SocketAddr, count: u64) -> Vec<Client> {
    const AT_ONCE: u64 = 200;
    let mut idle = Vec::new();
    for _ in 0..count.div_ceil(AT_ONCE) {
        let some: Vec<JoinHandle<Client>> = (0..AT_ONCE)
            .map(|_| {
                service_kit::spawn("idle", async move {
                    let mut client = Client::connect(address).await.unwrap();
                    client.write(b"GET / HTTP/1.1\r\nhost: telex\r\n\r\n").await.unwrap();
                    assert_eq!(client.answer().await, Ended::Answered(404));
                    client
                })
            })
            .collect();
        idle.extend(join_all(some).await);
    }
    idle
}

/// Sends a head byte by byte forever, and connects again when it is cut off.
async fn slowloris(address: SocketAddr) {
    loop {
        let Ok(mut client) = Client::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let head = b"POST /v1/messages HTTP/1.1\r\nhost: telex\r\nx-a: ";
        for byte in head.iter().chain(std::iter::repeat(&b'a')) {
            if client.write(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
