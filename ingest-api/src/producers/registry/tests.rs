use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rstest::rstest;
use schemas::ExternalClientId;
use sha2::Sha256;

use super::*;
use crate::{
    error::ApiError,
    producers::{
        entry::{Entry, Scope},
        producer::Outcome,
    },
    rate::{Cost, Rate},
    signature::{SigningKey, TOLERANCE},
};

const NOW: u64 = 1_800_000_000;
const BODY: &[u8] = b"{}";
const API_KEY: &str = "an-api-key-of-forty-characters-0123456789";

fn secret(number: u8) -> String {
    format!("whsec_{}", STANDARD.encode([number; 24]))
}

fn entry(name: &str, secrets: &[u8]) -> Entry {
    Entry {
        name: name.to_owned(),
        secrets: secrets.iter().map(|number| SigningKey::parse(&secret(*number)).unwrap()).collect(),
        api_keys: Vec::new(),
        tolerance: TOLERANCE,
        scope: Scope::All,
        messages: None,
        bytes: None,
        hooks: Vec::new(),
    }
}

fn keyed(name: &str, secrets: &[u8]) -> Entry {
    Entry { api_keys: vec![ApiKey::of(API_KEY)], ..entry(name, secrets) }
}

fn producers(entries: Vec<Entry>) -> Arc<Producers> {
    let metrics = Metrics::new().unwrap();
    let secrets = entries.iter().map(|entry| entry.secrets.len()).sum();
    let made = entries
        .into_iter()
        .map(|entry| (entry.name.clone(), Arc::new(Producer::new(entry, None, &metrics, Instant::now()))));
    Arc::new(Producers { by_name: made.collect(), hooks: BTreeMap::new(), secrets })
}

/// A request signed with the key of this number.
fn signed(number: u8, body: &[u8]) -> HeaderMap {
    signed_at(number, body, NOW)
}

/// The same, and names its producer.
fn naming(name: &str, mut headers: HeaderMap) -> HeaderMap {
    headers.insert(PRODUCER_HEADER, name.parse().unwrap());
    headers
}

fn signed_at(number: u8, body: &[u8], at: u64) -> HeaderMap {
    let mut mac = Hmac::<Sha256>::new_from_slice(&[number; 24]).unwrap();
    mac.update(format!("msg_1.{at}.").as_bytes());
    mac.update(body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    headers(&[
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &at.to_string()),
        ("webhook-signature", &signature),
    ])
}

fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
    all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Who sent a request with this body, from its head to its last byte.
fn authenticate(producers: &Arc<Producers>, headers: &HeaderMap, body: &[u8]) -> Result<Principal, Refused> {
    producers.claim(headers, NOW)?.prove(body)
}

fn sender(producers: &Arc<Producers>, headers: &HeaderMap) -> Result<String, Refused> {
    authenticate(producers, headers, BODY).map(|principal| principal.name().to_owned())
}

/// Signed with the key of this number, so many seconds ago.
fn signed_ago(number: u8, seconds: u64) -> HeaderMap {
    signed_at(number, BODY, NOW - seconds)
}

#[test]
fn a_signature_tells_who_sent_the_request_also_with_the_other_secret_of_a_rotation() {
    let producers = producers(vec![entry("crm", &[1, 2]), entry("sms", &[3])]);
    for (number, name) in [(1, "crm"), (2, "crm"), (3, "sms")] {
        assert_eq!(sender(&producers, &signed(number, BODY)), Ok(name.to_owned()));
    }
    assert_eq!(sender(&producers, &signed(4, BODY)), Err(Refused::Signature));
    assert_eq!(sender(&producers, &signed(1, b"{ }")), Err(Refused::Signature), "another body");
}

#[test]
fn a_removed_secret_is_refused_and_the_others_notice_nothing() {
    let after = producers(vec![entry("crm", &[2]), entry("sms", &[3])]);
    assert_eq!(sender(&after, &signed(1, BODY)), Err(Refused::Signature));
    assert_eq!(sender(&after, &signed(2, BODY)), Ok("crm".to_owned()));
    assert_eq!(sender(&after, &signed(3, BODY)), Ok("sms".to_owned()));
}

#[test]
fn a_named_producer_is_the_only_one_that_is_tried() {
    let producers = producers(vec![entry("crm", &[1]), entry("sms", &[2])]);
    let named = |name: &str, number| sender(&producers, &naming(name, signed(number, BODY)));
    assert_eq!(named("sms", 2), Ok("sms".to_owned()));
    assert_eq!(named("sms", 1), Err(Refused::Signature), "another's key");
    assert_eq!(named("absent", 1), Err(Refused::UnknownProducer));
}

#[test]
fn each_producer_has_its_own_tolerance_for_old_timestamps() {
    let patient = Entry { tolerance: Duration::from_secs(3_600), ..entry("patient", &[1]) };
    let producers = producers(vec![patient, entry("usual", &[2])]);
    assert_eq!(sender(&producers, &signed_ago(1, 3_600)), Ok("patient".to_owned()));
    assert_eq!(sender(&producers, &signed_ago(2, 300)), Ok("usual".to_owned()));
    assert_eq!(sender(&producers, &signed_ago(2, 301)), Err(Refused::Signature), "another's tolerance");
    assert_eq!(sender(&producers, &signed_ago(1, 3_601)), Err(Refused::Timestamp));
    assert_eq!(sender(&producers, &naming("usual", signed_ago(2, 301))), Err(Refused::Timestamp));
}

#[test]
fn the_head_alone_disproves_whatever_no_body_could_prove() {
    let producers = producers(vec![keyed("keyed", &[]), entry("crm", &[1])]);
    let refused = |headers: &HeaderMap| producers.claim(headers, NOW).unwrap_err();
    let with = |name: &'static str, value: &str| {
        let mut headers = signed(1, BODY);
        headers.insert(name, value.parse().unwrap());
        headers
    };
    assert_eq!(refused(&HeaderMap::new()), Refused::NoCredential);
    assert_eq!(refused(&with(PRODUCER_HEADER, "nobody")), Refused::UnknownProducer);
    assert_eq!(refused(&with(PRODUCER_HEADER, "keyed")), Refused::Signature, "it has no secret");
    assert_eq!(refused(&with("webhook-signature", "v1,AAAA")), Refused::Malformed);
    assert_eq!(refused(&signed_ago(1, 301)), Refused::Timestamp);
    assert!(matches!(producers.claim(&signed(9, BODY), NOW), Ok(Claim::Signed(_))), "only the body tells");
}

#[test]
fn with_many_secrets_a_signed_request_has_to_name_its_producer() {
    let entries =
        (0..=u8::try_from(SECRETS_TRIED_MAX).unwrap()).map(|number| entry(&format!("p{number}"), &[number]));
    let producers = producers(entries.collect());
    assert_eq!(sender(&producers, &signed(1, BODY)), Err(Refused::ProducerNotNamed));
    assert_eq!(sender(&producers, &naming("p1", signed(1, BODY))), Ok("p1".to_owned()));
}

#[rstest]
#[case::right(&[("authorization", "Bearer an-api-key-of-forty-characters-0123456789")], Ok("crm".to_owned()))]
#[case::lower_case(&[("authorization", "bearer an-api-key-of-forty-characters-0123456789")], Ok("crm".to_owned()))]
#[case::wrong(&[("authorization", "Bearer another-key-of-forty-characters-012345678")], Err(Refused::ApiKey))]
#[case::short(&[("authorization", "Bearer short")], Err(Refused::Malformed))]
#[case::basic(&[("authorization", "Basic an-api-key-of-forty-characters-0123456789")], Err(Refused::Malformed))]
#[case::nothing(&[], Err(Refused::NoCredential))]
fn an_api_key_is_the_second_scheme(
    #[case] with: &[(&'static str, &str)],
    #[case] expected: Result<String, Refused>,
) {
    assert_eq!(sender(&producers(vec![keyed("crm", &[])]), &headers(with)), expected);
}

#[test]
fn a_wrong_signature_is_not_made_good_by_an_api_key() {
    let mut both = signed(2, BODY);
    both.insert(header::AUTHORIZATION, format!("Bearer {API_KEY}").parse().unwrap());
    assert_eq!(sender(&producers(vec![keyed("crm", &[1])]), &both), Err(Refused::Signature));
}

#[test]
fn a_digest_is_hexadecimal_of_the_keys_sha256() {
    let digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let foo = Entry { api_keys: vec![ApiKey::parse(digest).unwrap()], ..entry("foo", &[]) };
    let producer = Producer::new(foo, None, &Metrics::new().unwrap(), Instant::now());
    assert!(producer.has(&ApiKey::of("foo")));
    for bad in ["", "2c", &digest[1..], &digest.replace('2', "g"), &format!("{digest}00")] {
        assert!(ApiKey::parse(bad).is_none(), "{bad}");
    }
}

#[rstest]
#[case("client-17", true)]
#[case("client-170", false)]
#[case("crm-1", true)]
#[case("CRM-1", false)]
fn a_producer_writes_only_the_sources_it_may(#[case] id: &str, #[case] allowed: bool) {
    let mut crm = entry("crm", &[1]);
    crm.scope = Scope::Named { exact: ["client-17".to_owned()].into(), prefixes: vec!["crm-".to_owned()] };
    let producers = producers(vec![crm]);
    let principal = authenticate(&producers, &signed(1, BODY), BODY).unwrap();
    let expected = if allowed { Ok(()) } else { Err(ApiError::SourceNotAllowed) };
    assert_eq!(principal.may_write(&ExternalClientId::parse(id).unwrap()), expected);
    assert_eq!(Principal::Anybody.may_write(&ExternalClientId::parse(id).unwrap()), Ok(()));
}

#[test]
fn what_a_producer_has_used_up_stays_used_up_when_the_file_is_read_again() {
    let (metrics, now) = (Metrics::new().unwrap(), Instant::now());
    let limited = |burst| Entry { messages: Some(Rate { per_second: 1, burst }), ..entry("crm", &[1]) };
    let one = Cost { messages: 1, bytes: 10 };
    let first = Arc::new(Producer::new(limited(1), None, &metrics, now));
    Principal::Producer(Arc::clone(&first)).take(one, now).unwrap();

    let again = Principal::Producer(Arc::new(Producer::new(limited(1), Some(&first), &metrics, now)));
    assert_eq!(again.take(one, now), Err(ApiError::RateLimited { retry_after_seconds: 1 }));
    let limited_text = metrics.ingest_producer_messages_total.with_label_values(&["crm", "rate_limited"]);
    assert_eq!(limited_text.get(), 1);
    let changed = Principal::Producer(Arc::new(Producer::new(limited(2), Some(&first), &metrics, now)));
    assert_eq!(changed.take(one, now), Ok(()), "another rate starts full");
}

#[test]
fn the_series_of_a_producer_that_is_gone_go_with_it() {
    let metrics = Metrics::new().unwrap();
    let producer = Producer::new(entry("crm", &[1]), None, &metrics, Instant::now());
    let principal = Principal::Producer(Arc::new(producer));
    principal.count(Outcome::Accepted, 3);
    let text =
        || service_kit::prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
    assert!(text().contains("ingest_producer_messages_total{producer=\"crm\",result=\"accepted\"} 3"));
    let Principal::Producer(producer) = &principal else { panic!() };
    producer.forget(&metrics);
    assert!(!text().contains("crm"));
    principal.count(Outcome::Accepted, 1);
}

/// `cargo test --release -p ingest-api cost_of -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_a_forged_request() {
    let entries =
        (0..u8::try_from(SECRETS_TRIED_MAX).unwrap()).map(|number| entry(&format!("p{number}"), &[number]));
    let producers = producers(entries.collect());
    for size in [1_024, 64 * 1_024, 1_024 * 1_024] {
        let body = vec![b'x'; size];
        let forged = signed(255, &body);
        let since = Instant::now();
        for _ in 0..20 {
            assert!(authenticate(&producers, &forged, &body).is_err());
        }
        eprintln!("{SECRETS_TRIED_MAX} secrets, {size} bytes: {:?}", since.elapsed() / 20);
    }
}
