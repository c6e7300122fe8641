//! Hostile and broken clients, byte for byte (security.md S13–S16, S24, S25): what each gets, that nothing
//! of it is kept, and that others notice nothing.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rstest::rstest;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use crate::{
    harness::{Api, Fate, until},
    server::{Server, ask, good, head, rest, write_to_the_end},
};

const HEAD_DEADLINE: Duration = Duration::from_millis(500);
const AMBIGUOUS: &str = "ambiguous_length";

fn impatient() -> Api {
    let deadlines = ["--header-deadline-ms=500", "--body-deadline-ms=500", "--idle-deadline-ms=2000"];
    Api::with(&deadlines, |_| Fate::Kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_half_sent_heads_are_closed_in_time_and_others_are_served_meanwhile() {
    // Both ends of every connection are in this process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let server = Server::start(impatient()).await;
    let mut slow = Vec::new();
    for _ in 0..1_000 {
        let mut stream = server.connect().await;
        stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        slow.push((stream, Instant::now()));
    }
    assert_eq!(ask(&mut server.connect().await, &good("")).await, 202);
    for (stream, since) in &mut slow {
        assert_eq!(rest(stream).await.0, "");
        assert!(since.elapsed() < HEAD_DEADLINE + Duration::from_secs(3), "{:?}", since.elapsed());
    }
    server.assert_ended("head_timeout", 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_and_a_head_that_drips_have_the_same_deadline() {
    let server = Server::start(impatient()).await;
    let since = Instant::now();
    assert_eq!(rest(&mut server.connect().await).await.0, "");
    assert!((HEAD_DEADLINE..HEAD_DEADLINE * 3).contains(&since.elapsed()), "{:?}", since.elapsed());

    let mut dripping = server.connect().await;
    let since = Instant::now();
    for byte in good("").iter().cycle() {
        if dripping.write_all(&[*byte]).await.is_err() || since.elapsed() > HEAD_DEADLINE * 3 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(since.elapsed() < HEAD_DEADLINE * 3, "{:?}", since.elapsed());
    server.assert_ended("head_timeout", 2).await;
    server.api.assert_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let server = Server::start(impatient()).await;
    let mut stream = server.connect().await;
    assert_eq!(ask(&mut stream, &good("")).await, 202);
    sleep(HEAD_DEADLINE * 2).await;
    assert_eq!(ask(&mut stream, &good("")).await, 202);
    // The next head has its deadline again, idleness its own.
    stream.write_all(b"POST").await.unwrap();
    let since = Instant::now();
    rest(&mut stream).await;
    assert!(since.elapsed() < HEAD_DEADLINE * 3, "{:?}", since.elapsed());
    let mut stream = server.connect().await;
    assert_eq!(ask(&mut stream, &good("")).await, 202);
    rest(&mut stream).await;
    server.assert_ended("head_timeout", 1).await;
    server.assert_ended("idle", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_408_and_closed() {
    let server = Server::start(impatient()).await;
    let request = format!("{}content-length: 100\r\n\r\n{{", head());
    assert_eq!(server.exchange(request.as_bytes()).await.code(), "body_timeout");
    let chunked = format!("{}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n", head());
    assert_eq!(server.exchange(chunked.as_bytes()).await.code(), "body_timeout");
    server.api.assert_nothing_kept();
}

#[rstest]
#[case::both("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", AMBIGUOUS)]
#[case::both_reversed(
    "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    AMBIGUOUS
)]
#[case::same_length_twice("content-length: 2\r\ncontent-length: 2\r\n\r\n{}", AMBIGUOUS)]
#[case::coded_and_chunked("transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", AMBIGUOUS)]
#[case::chunked_twice("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", AMBIGUOUS)]
#[case::bad_chunk_size("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "body_broken")]
#[case::huge_chunk_size("transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n", "body_broken")]
#[case::chunk_without_end("transfer-encoding: chunked\r\n\r\n2\r\n{}X0\r\n\r\n", "body_broken")]
#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_end_is_in_doubt_is_400_and_closed(#[case] rest: &str, #[case] code: &str) {
    let server = Server::start(Api::new()).await;
    // What follows would be a request of its own, if the first one's end were guessed.
    let bytes = [format!("{}{rest}", head()).as_bytes(), &good("")].concat();
    let text = server.exchange(&bytes).await;
    assert_eq!((text.statuses(), text.code().as_str()), (vec![400], code));
    server.api.assert_nothing_kept();
}

#[rstest]
#[case::two_lengths("content-length: 2\r\ncontent-length: 3\r\n")]
#[case::list("content-length: 2, 2\r\n")]
#[case::sign("content-length: +2\r\n")]
#[case::negative("content-length: -2\r\n")]
#[case::not_a_number("content-length: two\r\n")]
#[case::too_large_a_number("content-length: 99999999999999999999\r\n")]
#[case::chunked_not_last("transfer-encoding: chunked, identity\r\n")]
#[case::unknown_encoding("transfer-encoding: xchunked\r\n")]
#[case::space_before_colon("content-length : 2\r\n")]
#[case::folded("content-length:\r\n 2\r\n")]
#[case::nul("a: \0\r\n")]
#[case::no_colon("content-length 2\r\n")]
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_breaks_the_rules_is_400_and_closed(#[case] line: &str) {
    let server = Server::start(Api::new()).await;
    let bytes = [format!("{}{line}\r\n{{}}", head()).as_bytes(), &good("")].concat();
    let text = server.exchange(&bytes).await;
    assert_eq!(text.statuses(), [400], "{text:?}");
    assert!(!text.0.contains("server:") && !text.0.contains("two"), "{text:?}");
    server.api.assert_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_with_chunks_and_http_2_are_refused() {
    let server = Server::start(Api::new()).await;
    let old = head().replace("HTTP/1.1", "HTTP/1.0") + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(server.exchange(old.as_bytes()).await.statuses(), [400]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let text = server.exchange(preface).await;
    assert!(text.statuses().iter().all(|status| *status == 400), "{text:?}");
    let upgrade =
        good("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n");
    assert_eq!(ask(&mut server.connect().await, &upgrade).await, 202, "an upgrade is not taken up");
    server.assert_ended("not_http", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_100_lines_and_16_kib_and_a_uri_2_kib() {
    let server = Server::start(Api::new()).await;
    let lines = |count: usize| "a: b\r\n".repeat(count - 3);
    assert_eq!(ask(&mut server.connect().await, &good(&lines(100))).await, 202);
    assert_eq!(server.exchange(&good(&lines(101))).await.code(), "head_too_large");
    let long = |bytes: usize| format!("a: {}\r\n", "b".repeat(bytes));
    assert_eq!(ask(&mut server.connect().await, &good(&long(16_000))).await, 202);
    assert_eq!(server.exchange(&good(&long(16_400))).await.code(), "head_too_large");
    let endless = server.exchange(&good(&long(100_000))).await;
    assert_eq!(endless.statuses(), [431], "{endless:?}");
    let uri = |bytes: usize| {
        format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(bytes - 1))
    };
    assert_eq!(server.exchange(uri(2_048).as_bytes()).await.statuses(), [404]);
    assert_eq!(server.exchange(uri(2_049).as_bytes()).await.statuses(), [414]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_and_closed_whether_declared_or_in_chunks() {
    let server = Server::start(Api::new()).await;
    let declared = format!("{}content-length: 65537\r\n\r\n", head());
    assert_eq!(server.exchange(declared.as_bytes()).await.code(), "body_too_large");
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let chunks = format!("{}transfer-encoding: chunked\r\n\r\n{}", head(), chunk.repeat(3));
    assert_eq!(server.exchange(chunks.as_bytes()).await.code(), "body_too_large");
    server.api.assert_nothing_kept();
}

#[rstest]
#[case::too_large("", 413)]
#[case::of_an_unknown_type("content-encoding: br\r\n", 415)]
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_writes_its_body_to_the_end_first(
    #[case] line: &str,
    #[case] status: u16,
    #[values(true, false)] is_declared: bool,
) {
    let server = Server::start(Api::new()).await;
    let mut stream = server.connect().await;
    let answer = write_to_the_end(&mut stream, line, is_declared).await;
    assert_eq!(answer.statuses(), [status], "{answer:?}");
    assert!(answer.0.contains("connection: close"), "{answer:?}");
    drop(stream);
    server.assert_ended("closed", 1).await;
    server.api.assert_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_whose_body_has_come_whole_keeps_its_connection() {
    let server = Server::start(Api::new()).await;
    let mut stream = server.connect().await;
    assert_eq!(ask(&mut stream, &good("content-encoding: br\r\n")).await, 415);
    assert_eq!(ask(&mut stream, &good("")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_body_in_chunks_the_connection_is_closed() {
    let server = Server::start(Api::new()).await;
    let body = crate::harness::message("shop", "m-1").to_string();
    let request =
        format!("{}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", head(), body.len());
    let text = server.exchange(&[request.as_bytes(), &good("")].concat()).await;
    assert_eq!(text.statuses(), [202], "{text:?}");
    assert!(text.0.contains("connection: close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_503_until_another_is_closed() {
    let server = Server::start(Api::with(&["--connections-max=2"], |_| Fate::Kept)).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for stream in [&mut first, &mut second] {
        assert_eq!(ask(stream, &good("")).await, 202);
    }
    let refused = rest(&mut server.connect().await).await;
    assert_eq!(refused.code(), "too_many_connections");
    assert!(refused.0.contains("retry-after: 1") && refused.0.contains("x-request-id: "), "{refused:?}");
    assert_eq!(server.api.shared.metrics.ingest_connections_refused_total.get(), 1);
    let writing = [head().as_bytes(), b"content-length: 60000\r\n\r\n", &[b' '; 60_000]].concat();
    let code = server.exchange(&writing).await.code();
    assert_eq!(code, "too_many_connections", "it reaches who is writing, too");
    drop(second);
    until("one is gone", || server.api.shared.metrics.ingest_connections.get() <= 1).await;
    assert_eq!(ask(&mut server.connect().await, &good("")).await, 202);
}

#[rstest]
#[case::requests(&["--requests-in-flight-max=1"])]
#[case::bytes(&["--bytes-in-flight-max=65536", "--body-bytes-max=65536"])]
#[tokio::test(flavor = "multi_thread")]
async fn too_much_in_flight_is_503_with_retry_after_at_once(#[case] limit: &[&str]) {
    let server = Server::start(Api::with(limit, |_| Fate::Unanswered)).await;
    let mut first = server.connect().await;
    let held = format!("{}content-length: 65536\r\n\r\n{}", head(), "x".repeat(65_500));
    first.write_all(held.as_bytes()).await.unwrap();
    until("the bytes are held", || server.api.shared.metrics.ingest_bytes_in_flight.get() >= 65_500).await;
    let since = Instant::now();
    let refused = server.exchange(&good("connection: close\r\n")).await;
    assert_eq!((refused.statuses(), refused.code().as_str()), (vec![503], "too_many_requests_in_flight"));
    assert!(refused.0.contains("retry-after: 1") && since.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_declares_much_and_sends_nothing_takes_nothing_away() {
    let server = Server::start(Api::with(&["--bytes-in-flight-max=65536"], |_| Fate::Kept)).await;
    let declared = format!("{}content-length: 65536\r\n\r\n", head());
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = server.connect().await;
        stream.write_all(declared.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    until("100 are slow", || server.api.shared.metrics.ingest_requests_in_flight.get() >= 100).await;
    assert_eq!(ask(&mut server.connect().await, &good("")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_not_on_the_port_of_the_producers() {
    let server = Server::start(Api::new()).await;
    for path in ["/metrics", "/livez", "/readyz", "/", "/admin", "/v1"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let text = server.exchange(request.as_bytes()).await;
        assert_eq!((text.statuses(), text.code().as_str()), (vec![404], "not_found"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_idle_connections_and_takes_no_new_ones() {
    let server = Server::start(Api::new()).await;
    let address = server.address;
    let mut idle = server.connect().await;
    assert_eq!(ask(&mut idle, &good("")).await, 202);
    let since = Instant::now();
    server.stop().await;
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(rest(&mut idle).await.0, "");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
