//! A compressed body never costs more memory than a plain one may (S15), and a plain one never more than its
//! bytes, whatever it says.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};

use crate::harness::{Api, message, resident_bytes};

#[test]
fn bombs_are_refused_without_growing() {
    let api = Api::new();
    let bombs = [
        ("gzip", gzip_of_zeros(60 << 20)),
        ("gzip", gzip_of_zeros(200 << 20)),
        ("zstd", zstd::encode_all(std::io::repeat(0).take(200 << 20), 19).unwrap()),
    ];
    let send = |times: usize| {
        for (coding, bomb) in bombs.iter().cycle().take(times) {
            let headers = format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n");
            let (status, answer) = api.post("/v1/messages/batch", &headers, bomb);
            assert_eq!((status, &answer["code"]), (413, &"body_too_large".into()));
        }
    };
    send(10);
    let before = resident_bytes(api.running.server.pid());
    send(200);
    let after = resident_bytes(api.running.server.pid());
    assert!(after < before + (10 << 20), "resident memory grew from {before} to {after} bytes");
    assert_eq!(api.topic(), []);
}

#[test]
fn odd_members_that_wait_for_kafka_cost_their_bytes() {
    const REQUESTS: usize = 200;
    let (api, kafka) = Api::with_own_kafka(&[]);
    let odd = vec![r#"{"":0}"#; 9_000].join(",");
    kafka.freeze();
    let most = std::thread::scope(|scope| {
        let (api, odd) = (&api, &odd);
        let requests: Vec<_> = (0..REQUESTS)
            .map(|number| {
                scope.spawn(move || {
                    let own = message("odd", &format!("m-{number}")).to_string();
                    let body = format!(r#"{},"x":[{odd}]}}"#, &own[..own.len() - 1]);
                    api.post("/v1/messages", "content-type: application/json\r\n", body.as_bytes()).0
                })
            })
            .collect();
        let (mut most, mut waiting) = (0, 0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(6) {
            most = most.max(resident_bytes(api.running.server.pid()));
            waiting = waiting.max(api.in_flight());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(waiting, REQUESTS, "not all of them waited at once");
        kafka.thaw();
        for request in requests {
            let status = request.join().unwrap();
            assert!(matches!(status, 202 | 503), "{status}");
        }
        most
    });
    eprintln!("{REQUESTS} bodies of 63 KB while Kafka stood still: at most {} MiB", most >> 20);
    assert!(most < 160 << 20, "{} MiB", most >> 20);
}

fn gzip_of_zeros(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}
