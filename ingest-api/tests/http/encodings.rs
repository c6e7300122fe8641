//! Bodies that are compressed, on both routes that take some.

use std::io::Write as _;

use rstest::rstest;
use serde_json::json;

use crate::harness::{Answer, Api, BATCH, Fate, MESSAGES, message, posted};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 0).unwrap()
}

async fn post(api: &Api, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
    api.send(posted(path, &headers, body)).await
}

#[rstest]
#[case("gzip", gzip)]
#[case("zstd", zstd)]
#[tokio::test]
async fn a_compressed_body_is_read_as_if_it_were_plain(
    #[case] encoding: &str,
    #[case] encode: fn(&[u8]) -> Vec<u8>,
) {
    let api = Api::new();
    let one = message("shop", "m-1");
    assert_eq!(post(&api, MESSAGES, encoding, encode(one.to_string().as_bytes())).await.status, 202);
    let plain = api.post(MESSAGES, one.to_string()).await;
    assert_eq!(plain.status, 202);
    let batch = json!([one, message("shop", "m-2")]).to_string();
    assert_eq!(post(&api, BATCH, encoding, encode(batch.as_bytes())).await.status, 202);
    let records = api.records();
    assert_eq!(records.len(), 4);
    assert_eq!(records[0].0.value, records[1].0.value);
    assert_eq!(api.shared.metrics.ingest_bytes_in_flight.get(), 0);
}

#[rstest]
#[case("gzip", gzip)]
#[case("zstd", zstd)]
#[tokio::test]
async fn a_bomb_is_refused_on_every_route(
    #[case] encoding: &str,
    #[case] encode: fn(&[u8]) -> Vec<u8>,
    #[values(MESSAGES, BATCH, "/v1/clients/e60660c7-bd8f-5ba9-b814-6dbee9550932/dialog/close")] path: &str,
) {
    let api = Api::new();
    // Small enough for the raw limit of its route.
    let bomb = encode(&vec![b' '; if path.ends_with("close") { 200_000 } else { 60 << 20 }]);
    api.assert_refused(&post(&api, path, encoding, bomb).await, 413, "body_too_large");
}

#[tokio::test]
async fn room_is_kept_for_what_a_compressed_body_may_become() {
    let api = Api::with(&["--bytes-in-flight-max=100000"], |_| Fate::Kept);
    let body = message("shop", "m-1").to_string();
    let share = api.shared.admission.admit(40_000).unwrap();
    let refused = post(&api, MESSAGES, "gzip", gzip(body.as_bytes())).await;
    refused.assert_problem(503, "too_many_requests_in_flight");
    assert_eq!(api.post(MESSAGES, body.clone()).await.status, 202, "a plain one fits");
    drop(share);
    assert_eq!(post(&api, MESSAGES, "gzip", gzip(body.as_bytes())).await.status, 202);
    assert_eq!(api.shared.metrics.ingest_bytes_in_flight.get(), 0, "all of it is given back");
}

#[rstest]
#[case("br")]
#[case("deflate")]
#[case("gzip, gzip")]
#[case("SECRET")]
#[tokio::test]
async fn an_unknown_coding_is_refused_with_those_that_are_known(
    #[case] encoding: &str,
    #[values(MESSAGES, BATCH)] path: &str,
) {
    let api = Api::new();
    let answer = post(&api, path, encoding, gzip(b"{}")).await;
    api.assert_refused(&answer, 415, "unsupported_content_encoding");
    assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd"));
}

#[rstest]
#[case::plain("gzip", message("shop", "m-1").to_string().into_bytes())]
#[case::of_the_other_kind("zstd", gzip(message("shop", "m-1").to_string().as_bytes()))]
#[case::cut_off("gzip", gzip(message("shop", "m-1").to_string().as_bytes())[..40].to_vec())]
#[tokio::test]
async fn a_body_that_its_coding_does_not_fit_is_refused(#[case] encoding: &str, #[case] body: Vec<u8>) {
    let api = Api::new();
    api.assert_refused(&post(&api, MESSAGES, encoding, body).await, 400, "body_not_decodable");
}
