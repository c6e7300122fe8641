//! Who may send, over HTTP: signatures on raw bytes before anything is parsed, one answer for every cause,
//! rates, reloads.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ingest_api::files::Refresh as _;
use rstest::rstest;
use serde_json::json;
use service_kit::clock::unix_time;
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Api, BATCH, Fate, Frames, MESSAGES, Temporary, message, posted, until};

const KEY: [u8; 24] = [1; 24];
const OLD_KEY: [u8; 24] = [2; 24];
const API_KEY: &str = "an-api-key-of-forty-characters-0123456789";

/// An API with a producers file.
struct Signed {
    api: Api,
    file: Temporary,
}

fn secret(key: &[u8]) -> String {
    format!("{{ secret = \"whsec_{}\" }}", STANDARD.encode(key))
}

fn producers(secrets: &[&[u8]], more: &str) -> String {
    let secrets = secrets.iter().map(|key| secret(key)).collect::<Vec<_>>().join(", ");
    let digest = hex::encode(Sha256::digest(API_KEY));
    format!(
        "[[producers]]\nname = \"crm\"\nsecrets = [{secrets}]\napi_keys = [{{ sha256 = \"{digest}\" }}]\n\
         external_client_ids = [\"shop\"]\n{more}\n"
    )
}

impl Signed {
    fn new(more: &str) -> Self {
        Self::of(&producers(&[&KEY, &OLD_KEY], more), &[])
    }

    /// With this producers file and more settings.
    fn of(text: &str, more: &[&str]) -> Self {
        let file = Temporary::new("authentication", text);
        let setting = format!("--producers-file={}", file.path());
        let settings: Vec<&str> = more.iter().copied().chain([setting.as_str()]).collect();
        Self { api: Api::with(&settings, |_| Fate::Kept), file }
    }

    async fn send(&self, path: &str, body: &str, headers: &[(&str, String)]) -> Answer {
        let json = ("content-type", "application/json".to_owned());
        self.api.send(posted(path, &[&[json][..], headers].concat(), body.to_owned())).await
    }

    /// Sends the body signed with a key.
    async fn signed(&self, path: &str, body: &str, key: &[u8]) -> Answer {
        self.send(path, body, &signature(body, key, 0)).await
    }

    fn refused(&self, cause: &str) -> u64 {
        self.api.shared.metrics.ingest_authentication_failures_total.with_label_values(&[cause]).get()
    }

    fn rewrite(&self, text: &str) {
        std::fs::write(self.file.path(), text).unwrap();
        self.api.shared.producers.as_ref().unwrap().refresh(false);
    }
}

/// The headers of a body that was signed some seconds ago.
fn signature(body: &str, key: &[u8], age_seconds: i64) -> Vec<(&'static str, String)> {
    let timestamp = unix_time().as_secs().checked_add_signed(-age_seconds).unwrap().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("msg_1.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    vec![
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ]
}

fn hello() -> String {
    message("shop", "m-1").to_string()
}

#[rstest]
#[case::now(0, 202)]
#[case::old(299, 202)]
#[case::too_old(302, 401)]
#[case::ahead(-298, 202)]
#[case::too_far_ahead(-302, 401)]
#[tokio::test]
async fn a_signed_request_is_taken_within_five_minutes(#[case] age_seconds: i64, #[case] status: u16) {
    let signed = Signed::new("");
    let answer = signed.send(MESSAGES, &hello(), &signature(&hello(), &KEY, age_seconds)).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(signed.refused("timestamp"), u64::from(status == 401));
}

#[tokio::test]
async fn every_cause_gets_the_same_answer_and_nothing_is_kept() {
    let signed = Signed::new("");
    let mut twice = signature(&hello(), &KEY, 0);
    twice.push(("webhook-id", "msg_1".to_owned()));
    let mut unknown = signature(&hello(), &KEY, 0);
    unknown.push(("x-telex-producer", "nobody".to_owned()));
    let bearer = |key: &str| vec![("authorization", format!("Bearer {key}"))];
    let causes = [
        ("no_credential", Vec::new()),
        ("signature", signature(&hello(), &[9; 24], 0)),
        ("signature", signature("another body", &KEY, 0)),
        ("timestamp", signature(&hello(), &KEY, 1_000)),
        ("malformed", twice),
        ("unknown_producer", unknown),
        ("malformed", bearer("short")),
        ("api_key", bearer(&API_KEY.replace('a', "b"))),
    ];
    let mut texts = std::collections::HashSet::new();
    for (cause, headers) in causes {
        let before = signed.refused(cause);
        let answer = signed.send(MESSAGES, &hello(), &headers).await;
        answer.assert_problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(signed.refused(cause), before + 1, "{cause}");
        let mut problem = answer.json();
        problem["request_id"] = json!("");
        texts.insert(problem.to_string());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    signed.api.assert_nothing_kept();
}

#[tokio::test]
async fn the_signature_is_checked_before_the_body_is_parsed_or_decoded() {
    let signed = Signed::new("");
    signed.signed(MESSAGES, "not json", &[9; 24]).await.assert_problem(401, "unauthorized");
    signed.signed(MESSAGES, "not json", &KEY).await.assert_problem(400, "malformed_json");
    let mut gzip = signature("not gzip", &[9; 24], 0);
    gzip.push(("content-encoding", "gzip".to_owned()));
    signed.send(MESSAGES, "not gzip", &gzip).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn what_the_head_disproves_is_refused_before_a_byte_of_the_body_is_read() {
    let signed = Signed::new("");
    let with = |more: (&'static str, &str)| {
        let mut headers = signature(&hello(), &KEY, 0);
        headers.retain(|(name, _)| *name != more.0);
        headers.push((more.0, more.1.to_owned()));
        headers
    };
    let key = API_KEY.replace('a', "b");
    let cases = [
        (Vec::new(), 401),
        (with(("x-telex-producer", "nobody")), 401),
        (with(("webhook-signature", "v1,AAAA")), 401),
        (signature(&hello(), &KEY, 1_000), 401),
        (vec![("authorization", format!("Bearer {key}"))], 401),
        (with(("content-encoding", "br")), 415),
        (with(("content-type", "text/plain")), 415),
    ];
    for (mut headers, status) in cases {
        let polled = Arc::default();
        let body = Frames { never_ends: true, polled: Arc::clone(&polled), ..Frames::default() };
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json".to_owned()));
        }
        let answer = signed.api.send(posted(MESSAGES, &headers, Body::new(body))).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(polled.load(Ordering::Relaxed), 0, "{headers:?}");
    }
    signed.api.assert_nothing_kept();
}

#[tokio::test]
async fn strangers_who_sign_in_a_producers_name_take_up_no_place_of_those_who_can() {
    let settings =
        ["--requests-in-flight-max=4", "--bytes-in-flight-max=2000000", "--unproven-requests-max=8"];
    let signed = Arc::new(Signed::of(&producers(&[&KEY], ""), &settings));
    let strangers: Vec<_> = (0..20)
        .map(|_| {
            let signed = Arc::clone(&signed);
            service_kit::spawn("stranger", async move {
                let frames = [Ok(Bytes::from(vec![b' '; 60_000]))].into();
                let body = Body::new(Frames { frames, never_ends: true, ..Frames::default() });
                let mut headers = signature(&hello(), &[9; 24], 0);
                headers.push(("content-type", "application/json".to_owned()));
                headers.push(("x-telex-producer", "crm".to_owned()));
                signed.api.send(posted(MESSAGES, &headers, body)).await.status
            })
        })
        .collect();
    let metrics = &signed.api.shared.metrics;
    until("12 make room", || metrics.ingest_unproven_evicted_total.get() >= 12).await;
    assert_eq!((metrics.ingest_unproven_requests.get(), metrics.ingest_unproven_bytes.get()), (8, 480_000));
    assert_eq!((metrics.ingest_requests_in_flight.get(), metrics.ingest_bytes_in_flight.get()), (0, 0));
    for _ in 0..10 {
        let mut named = signature(&hello(), &KEY, 0);
        named.push(("x-telex-producer", "crm".to_owned()));
        assert_eq!(signed.send(MESSAGES, &hello(), &named).await.status, 202);
    }
    let mut refused = 0;
    for stranger in strangers {
        if stranger.is_finished() {
            assert_eq!(stranger.await.unwrap(), 503, "it may have been a slow producer");
            refused += 1;
        } else {
            stranger.abort();
        }
    }
    assert!((12..=22).contains(&refused), "{refused} of 20 had to make room");
}

#[tokio::test]
async fn a_producers_tolerance_lets_a_retry_carry_the_time_of_its_first_attempt() {
    let signed = Signed::of(&producers(&[&KEY], "timestamp_tolerance_seconds = 3600"), &[]);
    assert_eq!(signed.send(MESSAGES, &hello(), &signature(&hello(), &KEY, 3_590)).await.status, 202);
    let answer = signed.send(MESSAGES, &hello(), &signature(&hello(), &KEY, 3_610)).await;
    answer.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn the_headers_of_svix_and_several_lines_of_signatures_are_taken() {
    let signed = Signed::new("");
    let [id, timestamp, (_, right)] = signature(&hello(), &KEY, 0).try_into().unwrap();
    let unpadded = right.replace('=', "");
    let svix =
        [("svix-id", id.1.clone()), ("svix-timestamp", timestamp.1.clone()), ("svix-signature", unpadded)];
    assert_eq!(signed.send(MESSAGES, &hello(), &svix).await.status, 202);
    let lines = ["v1,AAAA", &right].map(|line| ("webhook-signature", line.to_owned()));
    let headers: Vec<_> = [id, timestamp].into_iter().chain(lines).collect();
    assert_eq!(signed.send(MESSAGES, &hello(), &headers).await.status, 202);
}

#[tokio::test]
async fn a_signed_command_closes_no_client_but_the_one_that_is_signed() {
    let all =
        producers(&[&KEY], "").replace("external_client_ids = [\"shop\"]", "all_external_client_ids = true");
    let signed = Signed::of(&all, &[]);
    let path = |client: &str| format!("/v1/clients/{client}/dialog/close");
    let (one, other) = ("e60660c7-bd8f-5ba9-b814-6dbee9550932", "6f1d6f0e-52c4-5f2c-9a39-3f2f3d2f1c11");
    for silent in ["", "{}"] {
        let answer = signed.signed(&path(one), silent, &KEY).await;
        answer.assert_problem(422, "client_id_not_signed");
        assert!(answer.json()["detail"].as_str().unwrap().contains("client_id"), "{}", answer.text);
    }
    let body = json!({ "client_id": one }).to_string();
    let seen = signature(&body, &KEY, 0);
    signed.api.assert_refused(&signed.send(&path(other), &body, &seen).await, 422, "client_id_mismatch");
    assert_eq!(signed.send(&path(one), &body, &seen).await.status, 202);
    let key = [("authorization", format!("Bearer {API_KEY}"))];
    assert_eq!(signed.send(&path(one), "", &key).await.status, 202, "a key covers no body either");
    signed.send(&path(other), &body, &key).await.assert_problem(422, "client_id_mismatch");
    assert_eq!(signed.api.records().len(), 2);
}

#[tokio::test]
async fn an_api_key_is_taken_as_well() {
    let signed = Signed::new("");
    let headers = [("authorization", format!("Bearer {API_KEY}"))];
    assert_eq!(signed.send(MESSAGES, &hello(), &headers).await.status, 202);
}

#[tokio::test]
async fn another_producers_source_is_403_and_in_a_batch_for_each_message() {
    let signed = Signed::new("");
    let foreign = message("other", "m-2").to_string();
    signed.api.assert_refused(&signed.signed(MESSAGES, &foreign, &KEY).await, 403, "source_not_allowed");
    let batch = format!("[{},{foreign}]", hello());
    let answer = signed.signed(BATCH, &batch, &KEY).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let results = answer.json()["results"].clone();
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(202), &json!(403)));
    assert_eq!(results[1]["code"], "source_not_allowed");
    assert_eq!(signed.api.records().len(), 1);
    let close = format!("/v1/clients/{}/dialog/close", "6f1d6f0e-52c4-5f2c-9a39-3f2f3d2f1c11");
    signed.signed(&close, "", &KEY).await.assert_problem(403, "source_not_allowed");
    let metrics = &signed.api.shared.metrics;
    let count = |result| metrics.ingest_producer_messages_total.with_label_values(&["crm", result]).get();
    assert_eq!((count("accepted"), count("source_not_allowed")), (1, 2));
}

#[tokio::test]
async fn a_producer_over_its_rate_is_429_with_the_time_to_wait() {
    let signed = Signed::new("messages = { per_second = 1, burst = 3 }");
    for _ in 0..3 {
        assert_eq!(signed.signed(MESSAGES, &hello(), &KEY).await.status, 202);
    }
    let limited = signed.signed(MESSAGES, &hello(), &KEY).await;
    limited.assert_problem(429, "rate_limited");
    assert_eq!(limited.header("retry-after"), Some("1"));
    let labels = ["crm", "rate_limited"];
    assert_eq!(signed.api.shared.metrics.ingest_producer_messages_total.with_label_values(&labels).get(), 1);
    assert_eq!(signed.api.answered(MESSAGES, StatusCode::TOO_MANY_REQUESTS, "rate_limited"), 1);
}

#[tokio::test]
async fn a_batch_costs_as_many_messages_as_it_has() {
    let signed = Signed::new("messages = { per_second = 1, burst = 3 }");
    let batch = json!([message("shop", "1"), message("shop", "2"), message("shop", "3")]).to_string();
    assert_eq!(signed.signed(BATCH, &batch, &KEY).await.status, 202);
    signed.signed(MESSAGES, &hello(), &KEY).await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn bytes_have_a_rate_of_their_own() {
    let signed = Signed::new("bytes = { per_second = 10, burst = 200 }");
    assert_eq!(signed.signed(MESSAGES, &hello(), &KEY).await.status, 202);
    signed.signed(MESSAGES, &hello(), &KEY).await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn a_rotation_goes_through_without_a_restart_and_a_broken_file_changes_nothing() {
    let signed = Signed::new("");
    for key in [&KEY, &OLD_KEY] {
        assert_eq!(signed.signed(MESSAGES, &hello(), key).await.status, 202, "both are valid");
    }
    signed.rewrite(&producers(&[&KEY], ""));
    assert_eq!(signed.signed(MESSAGES, &hello(), &KEY).await.status, 202);
    signed.signed(MESSAGES, &hello(), &OLD_KEY).await.assert_problem(401, "unauthorized");
    signed.rewrite("[[producers]]\nname = \"crm\"\n");
    assert_eq!(signed.signed(MESSAGES, &hello(), &KEY).await.status, 202, "the old version stays");
    let reloads = &signed.api.shared.metrics.ingest_producers_reloads_total;
    let count = |result| reloads.with_label_values(&[result]).get();
    assert_eq!((count("applied"), count("refused")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_dropped_while_the_file_is_reloaded() {
    let signed = Arc::new(Signed::new(""));
    let until = Instant::now() + Duration::from_secs(1);
    let send = |signed: Arc<Signed>| async move {
        let mut sent = 0;
        while Instant::now() < until {
            assert_eq!(signed.signed(MESSAGES, &hello(), &KEY).await.status, 202);
            sent += 1;
            tokio::task::yield_now().await;
        }
        sent
    };
    let senders: Vec<_> = (0..4).map(|_| service_kit::spawn("sender", send(Arc::clone(&signed)))).collect();
    let mut round = 0;
    while Instant::now() < until {
        let keys: [&[&[u8]]; 2] = [&[&KEY], &[&OLD_KEY, &KEY]];
        signed.rewrite(&producers(keys[round % 2], ""));
        round += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.unwrap();
    }
    let reloads = &signed.api.shared.metrics.ingest_producers_reloads_total;
    let applied = reloads.with_label_values(&["applied"]).get();
    assert!(sent > 100 && applied >= 10, "{sent} requests, {applied} reloads");
}
