//! What holds of version 1 as of the others is tested beside them, in `message`.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    message::tests::{now, valid, with},
    reason::InvalidReason,
};

fn parse(body: &str) -> Result<Message, Invalid> {
    super::parse(body.as_bytes(), now())
}

#[test]
fn a_message_is_read_and_hashed_canonically() {
    let body = r#" { "text":"hi\n", "zeta":[1,{"b":2,"a":1}], "client_phone":"+7 (000) 000-00-00",
        "external_message_id":"m-1", "external_client_id":"shop", "alpha":null,
        "sent_at":"2026-11-24T14:59:00+03:00" } "#;
    let (message, canonical) = read(body.as_bytes(), now()).unwrap();
    assert_eq!(message.address().as_str(), "+70000000000");
    assert_eq!(parse(body).unwrap().body().hash, BodyHash::of(&canonical));
    assert_eq!(
        String::from_utf8(canonical).unwrap(),
        r#"{"alpha":null,"client_phone":"+70000000000","external_client_id":"shop","external_message_id":"m-1","sent_at":"2026-11-24T11:59:00.000000Z","text":"hi\n","zeta":[1,{"a":1,"b":2}]}"#
    );
}

#[rstest]
#[case::empty("")]
#[case::words("hello")]
#[case::truncated(r#"{"text":"a""#)]
#[case::trailing(r#"{"text":"a"} x"#)]
#[case::two_documents("{} {}")]
#[case::lone_surrogate(r#"{"text":"\ud800"}"#)]
#[case::lone_surrogate_in_extra(r#"{"extra":["\udfff"]}"#)]
#[case::truncated_array("[1,")]
#[case::bad_field_and_bad_syntax(r#"{"text":7,"#)]
fn what_is_not_json_is_refused_as_such(#[case] body: &str) {
    let invalid = parse(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::MalformedJson, ""));
}

#[test]
fn invalid_utf8_is_malformed() {
    let invalid = super::parse(b"{\"text\":\"\xff\"}", now()).unwrap_err();
    assert_eq!(invalid.reason, InvalidReason::MalformedJson);
}

#[test]
fn nesting_beyond_128_is_malformed_and_does_not_overflow_the_stack() {
    let deep = format!(r#"{{"extra":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parse(&deep).unwrap_err().reason, InvalidReason::MalformedJson);
}

#[rstest]
#[case("1999-01-01T00:00:00Z")]
#[case("2026-11-26T00:00:00Z")]
fn a_wrong_clock_is_named(#[case] sent_at: &str) {
    let invalid = parse(&with("sent_at", json!(sent_at))).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::TimestampOutOfRange, "/sent_at"));
}

#[rstest]
#[case::known(r#"{"text":"a","text":"a"}"#, "/text")]
#[case::unknown(r#"{"x":1,"x":2}"#, "/x")]
#[case::nested(r#"{"x":[0,{"a/b":1,"a/b":2}]}"#, "/x/1/a~1b")]
fn a_duplicate_key_is_named_at_any_depth(#[case] body: &str, #[case] pointer: &str) {
    let invalid = parse(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::DuplicateKey, pointer));
}

#[rstest]
#[case::beyond_double(r#"{"x":{"y":1e400}}"#, "/x/y")]
#[case::integer_beyond_64_bits(r#"{"x":[18446744073709551616]}"#, "/x/0")]
#[case::negative_integer_beyond_64_bits(r#"{"x":-9223372036854775809}"#, "/x")]
fn a_number_that_overflows_is_named(#[case] body: &str, #[case] pointer: &str) {
    let invalid = parse(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::NumberOutOfRange, pointer));
}

#[test]
fn a_nul_in_an_unknown_field_is_refused() {
    let invalid = parse(r#"{"x":{"y":"a\u0000"}}"#).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::NulCharacter, "/x/y"));
}

#[test]
fn the_body_hash_follows_the_content_only() {
    let hash = |body: &str| parse(body).unwrap().body().hash;
    let plain = hash(&Value::Object(valid()).to_string());
    assert_eq!(plain, hash(&with("client_phone", json!("+7 000 000 00 00"))));
    assert_eq!(plain, hash(&with("sent_at", json!("2026-11-24T11:59:00.000Z"))));
    assert_ne!(plain, hash(&with("text", json!("hello!"))));
    assert_ne!(plain, hash(&with("unknown", json!(1))));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-9e18f64..1e19).prop_map(Value::from),
        "[^\0]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[^\0]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_canonical_form_is_a_fixed_point(
        text in "[^\0]{0,200}",
        id in "[a-zA-Z0-9я]{1,100}",
        extra in prop::collection::btree_map("[a-z]{1,6}_x", any_json(), 0..4),
    ) {
        let mut body = valid();
        body.insert("text".into(), text.into());
        body.insert("external_message_id".into(), id.into());
        body.extend(extra);
        let (message, canonical) = read(Value::Object(body).to_string().as_bytes(), now()).unwrap();
        prop_assert_eq!(read(&canonical, now()).unwrap(), (message, canonical));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = super::parse(&body, now());
    }
}
