//! The bad inputs of one message, row by row of the table in SECURITY.md, and the good ones beside them.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Api, BATCH, Fate, Frames, MESSAGES, message, posted, request, with};

const OUT_OF_RANGE: &str = "timestamp_out_of_range";

#[rstest]
#[case::empty("")]
#[case::words("SECRET")]
#[case::truncated(r#"{"text":"SECRET""#)]
#[case::trailing(r#"{"text":"SECRET"} x"#)]
#[tokio::test]
async fn what_is_not_json_is_refused(#[case] body: &str) {
    let api = Api::new();
    let answer = api.post(MESSAGES, body.to_owned()).await;
    api.assert_refused(&answer, 400, "malformed_json");
    assert_eq!(answer.json()["pointer"], "");
}

#[tokio::test]
async fn invalid_utf8_is_refused() {
    let api = Api::new();
    api.assert_refused(&api.post(MESSAGES, &b"{\"text\":\"\xff\"}"[..]).await, 400, "malformed_json");
}

#[rstest]
#[case::array("[]", "wrong_type", "")]
#[case::missing("{}", "missing_field", "/external_client_id")]
#[case::wrong_type(&with("text", 7), "wrong_type", "/text")]
#[case::null_where_required(&with("text", Value::Null), "wrong_type", "/text")]
#[case::nested_too_deep(&format!(r#"{{"x":{}{}}}"#, "[".repeat(129), "]".repeat(129)), "too_deep", "/x")]
#[case::half_an_emoji_in_an_id(&with("external_message_id", "x").replace(r#""x""#, r#""\ud83d""#), "lone_surrogate", "/external_message_id")]
#[case::half_an_emoji_in_the_phone(&with("client_phone", "x").replace(r#""x""#, r#""+7\ud83d""#), "lone_surrogate", "/client_phone")]
#[case::zero_width_space(&with("external_client_id", "shop\u{200b}"), "invisible_character", "/external_client_id")]
#[case::byte_order_mark(&with("external_message_id", "\u{feff}m-1"), "invisible_character", "/external_message_id")]
#[case::trunk_zero(&with("client_phone", "+44 (0)20 7946 0958"), "phone_trunk_zero", "/client_phone")]
#[case::duplicate_key(&with("text", "x").replace(r#""x""#, r#""x","text":"y""#), "duplicate_key", "/text")]
#[case::empty_client_id(&with("external_client_id", ""), "empty", "/external_client_id")]
#[case::long_client_id(&with("external_client_id", "x".repeat(129)), "too_long", "/external_client_id")]
#[case::control_character(&with("external_client_id", "a\u{1b}b"), "control_character", "/external_client_id")]
#[case::white_space(&with("external_message_id", "a "), "surrounding_white_space", "/external_message_id")]
#[case::long_text(&with("text", "x".repeat(16_385)), "too_long", "/text")]
#[case::nul_in_text(&with("text", "a\0b"), "nul_character", "/text")]
#[case::phone_without_plus(&with("client_phone", "70000000000"), "phone_not_e164", "/client_phone")]
#[case::phone_in_arabic_digits(&with("client_phone", "+7\u{660}\u{660}\u{660}\u{660}\u{660}\u{660}\u{660}"), "phone_not_e164", "/client_phone")]
#[case::phone_with_a_right_to_left_mark(&with("client_phone", "\u{200f}+70000000000"), "phone_not_e164", "/client_phone")]
#[case::phone_and_address(&with("client_address", "tg:1"), "two_addresses", "/client_address")]
#[case::no_address(&with("client_phone", Value::Null).replace(r#""client_phone":null,"#, ""), "missing_field", "/client_phone")]
#[case::unknown_scheme(&with("client_phone", "icq:1").replace("client_phone", "client_address"), "address_malformed", "/client_address")]
#[case::user_name_as_address(&with("client_phone", "username:SECRET").replace("client_phone", "client_address"), "address_malformed", "/client_address")]
#[case::invisible_in_the_address(&with("client_phone", "tg:a\u{200b}").replace("client_phone", "client_address"), "invisible_character", "/client_address")]
#[case::aliases_of_another_type(&with("aliases", "tg:1"), "wrong_type", "/aliases")]
#[case::five_aliases(&with("aliases", vec!["tg:1"; 5]), "too_long", "/aliases")]
#[case::time_malformed(&with("sent_at", "SECRET"), "timestamp_malformed", "/sent_at")]
#[tokio::test]
async fn a_broken_rule_is_named_with_its_field(
    #[case] body: &str,
    #[case] code: &str,
    #[case] pointer: &str,
) {
    let api = Api::new();
    let answer = api.post(MESSAGES, body.to_owned()).await;
    api.assert_refused(&answer, 422, code);
    assert_eq!(answer.json()["pointer"], pointer);
    assert_eq!(api.answered(MESSAGES, StatusCode::UNPROCESSABLE_ENTITY, code), 1);
}

#[tokio::test]
async fn a_message_is_answered_with_the_place_of_its_record() {
    let api = Api::new();
    let answer = api.post(MESSAGES, message("client00000000000000000000000000", "m-1").to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let records = api.records();
    let [(record, partition)] = records.as_slice() else { panic!("{records:?}") };
    let request_id = answer.header("x-request-id").unwrap();
    assert_eq!(
        answer.json(),
        json!({
            "client_id": "e60660c7-bd8f-5ba9-b814-6dbee9550932",
            "record": { "topic": "telex.messages", "partition": partition.0, "offset": 0 },
            "request_id": request_id,
        })
    );
    assert_eq!(record.key, "e60660c7-bd8f-5ba9-b814-6dbee9550932");
    assert!(record.headers.contains(&("x-request-id", request_id.to_owned().into())));
    assert_eq!(api.answered(MESSAGES, StatusCode::ACCEPTED, "accepted"), 1);
}

#[rstest]
#[case::decimal(r#""amount":169299987.35345112"#)]
#[case::more_than_a_double_holds(r#""n":[1e400,18446744073709551616,-0.0,1.10]"#)]
#[case::escapes(r#""half":"\ud83d","nul":"\u0000","n\u0061me":"\/""#)]
#[case::white_space("\"x\" : [ 1 ,\n2 ]")]
#[case::a_name_twice(r#""x":{"y":1,"y":2},"x":null"#)]
#[tokio::test]
async fn other_members_travel_as_they_came(#[case] members: &str) {
    let api = Api::new();
    let own = message("shop", "m-1").to_string();
    for body in [format!("{{{members},{}", &own[1..]), format!("{},{members}}}", &own[..own.len() - 1])] {
        assert_eq!(api.post(MESSAGES, body).await.status, 202);
    }
    let written: Vec<String> =
        api.records().into_iter().map(|(record, _)| String::from_utf8(record.value).unwrap()).collect();
    let expected = format!(
        r#"{{"external_client_id":"shop","client_phone":"+70000000000","external_message_id":"m-1","text":"Hello",{members}}}"#
    );
    assert_eq!(written, [expected.clone(), expected]);
}

#[tokio::test]
async fn a_client_without_a_phone_and_aliases_are_written_as_version_3() {
    let api = Api::new();
    let said = json!({
        "aliases": ["+7 (000) 000-00-00", "tg:6001", "username:anna"], "client_address": "tg:6001",
        "external_client_id": "shop", "external_message_id": "m-1", "text": "Hello",
    });
    let answer = api.post(MESSAGES, said.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["warnings"], Value::Null);
    let records = api.records();
    let [(record, _)] = records.as_slice() else { panic!("{records:?}") };
    assert!(record.headers.contains(&("ce_type", "telex.message.received.v3".into())));
    assert_eq!(
        String::from_utf8_lossy(&record.value),
        r#"{"external_client_id":"shop","client_address":"tg:6001","external_message_id":"m-1","text":"Hello","aliases":["+70000000000","username:anna"]}"#
    );
}

#[rstest]
#[case::half_an_emoji(r#""text":"hi \ud83d""#, "hi \u{fffd}", "/text", "lone_surrogate")]
#[case::a_clock_ahead(r#""text":"hi","sent_at":"9999-01-01T00:00:00Z""#, "hi", "/sent_at", OUT_OF_RANGE)]
#[case::a_clock_at_zero(r#""text":"hi","sent_at":"1970-01-01T00:00:00Z""#, "hi", "/sent_at", OUT_OF_RANGE)]
#[case::an_alias_that_is_none(
    r#""text":"hi","aliases":["username:a\u200bb","12025550143"]"#,
    "hi",
    "/aliases",
    "address_malformed"
)]
#[tokio::test]
async fn a_triviality_does_not_cost_the_message_and_is_said(
    #[case] members: &str,
    #[case] text: &str,
    #[case] pointer: &str,
    #[case] code: &str,
) {
    let api = Api::new();
    let body = format!(
        r#"{{"external_client_id":"shop","client_phone":"+70000000000","external_message_id":"m-1",{members}}}"#
    );
    let one = api.post(MESSAGES, body.clone()).await;
    let many = api.post(BATCH, format!("[{body}]")).await;
    assert_eq!((one.status, many.status), (202, 202), "{} {}", one.text, many.text);
    for warnings in [&one.json()["warnings"], &many.json()["results"][0]["warnings"]] {
        assert_eq!((&warnings[0]["pointer"], &warnings[0]["code"]), (&json!(pointer), &json!(code)));
        assert_eq!(warnings.as_array().map(Vec::len), Some(1));
    }
    for (record, _) in api.records() {
        let value: Value = serde_json::from_slice(&record.value).unwrap();
        assert_eq!((&value["text"], &value["sent_at"]), (&json!(text), &Value::Null));
    }
    assert_eq!(api.shared.metrics.ingest_warnings_total.with_label_values(&[code]).get(), 2);
}

#[tokio::test]
async fn a_byte_order_mark_does_not_cost_the_message() {
    let api = Api::new();
    let body = message("shop", "m-1").to_string();
    assert_eq!(api.post(MESSAGES, format!("\u{feff}{body}")).await.status, 202);
    assert_eq!(api.post(BATCH, format!("\u{feff}[{body}]")).await.status, 202);
    let lines = request(BATCH, "application/x-ndjson; charset=utf8", format!("\u{feff}{body}\n{body}"));
    assert_eq!(api.send(lines).await.status, 202);
    assert_eq!(api.records().len(), 4);
}

#[tokio::test]
async fn the_same_id_again_is_taken_again_and_left_to_the_processor() {
    let api = Api::new();
    for text in ["one", "one", "another"] {
        assert_eq!(api.post(MESSAGES, with("text", text)).await.status, 202);
    }
    let records = api.records();
    assert_eq!(records.len(), 3);
    assert!(records.windows(2).all(|two| (&two[0].0.key, two[0].1) == (&two[1].0.key, two[1].1)));
}

#[rstest]
#[case::a_valid_id("lead-7:a_b.c", true)]
#[case::another_character("a b", false)]
#[case::too_long(&"x".repeat(129), false)]
#[tokio::test]
async fn a_request_keeps_its_id_if_it_is_one(#[case] id: &str, #[case] kept: bool) {
    let api = Api::new();
    let headers = [("content-type", "application/json"), ("x-request-id", id)];
    let answer = api.send(posted(MESSAGES, &headers, message("shop", "m-1").to_string())).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("x-request-id") == Some(id), kept);
}

#[rstest]
#[case::text(Some("text/plain"))]
#[case::form(Some("application/x-www-form-urlencoded"))]
#[case::cloud_event(Some("application/cloudevents+json"))]
#[case::lines_on_the_single_route(Some("application/x-ndjson"))]
#[case::latin(Some("application/json; charset=latin1"))]
#[case::missing(None)]
#[tokio::test]
async fn another_content_type_is_refused(#[case] content_type: Option<&str>) {
    let api = Api::new();
    let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
    let request = posted(MESSAGES, &headers, message("shop", "m-1").to_string());
    api.assert_refused(&api.send(request).await, 415, "unsupported_media_type");
}

#[rstest]
#[case::message(MESSAGES, 64 * 1024)]
#[case::batch(BATCH, 1024 * 1024)]
#[case::command("/v1/clients/e60660c7-bd8f-5ba9-b814-6dbee9550932/dialog/close", 1024)]
#[tokio::test]
async fn a_body_above_its_limit_is_refused_and_not_read_further(#[case] path: &str, #[case] limit: usize) {
    let api = Api::new();
    let declared = api.post(path, "x".repeat(limit + 1)).await;
    declared.assert_problem(413, "body_too_large");
    assert_eq!(declared.header("connection"), Some("close"));

    let polled = Arc::default();
    let frame = || Ok(Bytes::from(vec![b' '; limit / 4]));
    let frames = Frames {
        frames: (0..100).map(|_| frame()).collect(),
        polled: Arc::clone(&polled),
        ..Frames::default()
    };
    let chunked = api.post(path, Body::new(frames)).await;
    chunked.assert_problem(413, "body_too_large");
    assert_eq!(chunked.header("connection"), Some("close"));
    assert_eq!(polled.load(Ordering::Relaxed), 5, "the limit and one frame");
    api.assert_nothing_kept();
}

#[tokio::test]
async fn a_body_as_large_as_its_limit_is_taken() {
    let api = Api::new();
    let text = with("extra", "x");
    let padded = text.replace(r#""x""#, &format!(r#""{}""#, "x".repeat(64 * 1024 - text.len() + 1)));
    assert_eq!(padded.len(), 64 * 1024);
    assert_eq!(api.post(MESSAGES, padded).await.status, 202);
}

#[tokio::test]
async fn a_body_that_comes_in_chunks_is_put_together() {
    let api = Api::new();
    let text = message("shop", "m-1").to_string();
    let (first, second) = text.split_at(20);
    let frames = [first, second].map(|part| Ok(Bytes::from(part.to_owned())));
    let body = Body::new(Frames { frames: frames.into(), ..Frames::default() });
    assert_eq!(api.post(MESSAGES, body).await.status, 202);
}

#[tokio::test]
async fn a_body_that_is_too_slow_is_refused_at_the_deadline() {
    let api = Api::with(&["--body-deadline-ms=50"], |_| Fate::Kept);
    let frames = Frames { frames: [Ok(Bytes::from("{"))].into(), never_ends: true, ..Frames::default() };
    let answer = api.post(MESSAGES, Body::new(frames)).await;
    api.assert_refused(&answer, 408, "body_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let api = Api::new();
    let broken = Err(std::io::Error::other("reset"));
    let frames = Frames { frames: [Ok(Bytes::from("{")), broken].into(), ..Frames::default() };
    api.assert_refused(&api.post(MESSAGES, Body::new(frames)).await, 400, "body_broken");
}

#[tokio::test]
async fn a_uri_above_2_kib_is_refused() {
    let api = Api::new();
    let path = format!("{MESSAGES}?{}", "x".repeat(2_048));
    api.assert_refused(&api.post(&path, message("shop", "m-1").to_string()).await, 414, "uri_too_long");
}

#[rstest]
#[case("GET", MESSAGES, "POST")]
#[case("PUT", BATCH, "POST")]
#[case("DELETE", "/v1/clients/x/dialog/close", "POST")]
#[case("POST", "/openapi.json", "GET,HEAD")]
#[tokio::test]
async fn another_method_is_refused_with_those_allowed(
    #[case] method: &str,
    #[case] path: &str,
    #[case] allowed: &str,
) {
    let api = Api::new();
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    api.assert_refused(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some(allowed));
}

#[rstest]
#[case("/")]
#[case("/v1/message")]
#[case("/v1/messages/")]
#[case("/v1/clients/e60660c7-bd8f-5ba9-b814-6dbee9550932")]
#[case("/metrics")]
#[case("/readyz")]
#[case("/livez")]
#[tokio::test]
async fn another_path_is_not_found_and_has_one_label(#[case] path: &str) {
    let api = Api::new();
    api.assert_refused(&api.post(path, message("shop", "m-1").to_string()).await, 404, "not_found");
    assert_eq!(api.answered("other", StatusCode::NOT_FOUND, "not_found"), 1);
}
