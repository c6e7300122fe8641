//! A compressed body never costs more memory than a plain one may (S15).

use std::io::{Read as _, Write as _};

use flate2::{Compression, write::GzEncoder};

use crate::harness::{Api, resident_bytes};

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

fn gzip_of_zeros(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}
