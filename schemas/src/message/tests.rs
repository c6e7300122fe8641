use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

mod addresses;

pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
}

fn post(body: &str) -> Result<Posted<'_>, Invalid> {
    Posted::parse(body.as_bytes(), now())
}

/// A way to read a message that a rule holds for.
type Read = fn(&str) -> Result<Message, Invalid>;

fn of_version_1(body: &str) -> Result<Message, Invalid> {
    crate::v1::parse(body.as_bytes(), now())
}

fn parse(body: &str) -> Result<Message, Invalid> {
    let posted = post(body).map(|posted| posted.message);
    assert_eq!(Message::parse(body.as_bytes(), now()), posted, "the edge has a rule of its own here");
    posted
}

pub(crate) fn valid() -> serde_json::Map<String, Value> {
    let body = json!({
        "external_client_id": "shop", "client_phone": "+70000000000",
        "external_message_id": "m-1", "text": "hello", "sent_at": "2026-11-24T11:59:00Z",
    });
    body.as_object().unwrap().clone()
}

pub(crate) fn with(field: &str, value: Value) -> String {
    let mut body = valid();
    body.insert(field.to_owned(), value);
    Value::Object(body).to_string()
}

#[rstest]
#[case::empty("")]
#[case::words("hello")]
#[case::truncated(r#"{"text":"a""#)]
#[case::trailing(r#"{"text":"a"} x"#)]
#[case::two_documents("{} {}")]
#[case::truncated_array("[1,")]
#[case::bad_field_and_bad_syntax(r#"{"text":7,"#)]
#[case::field_twice_and_bad_syntax(r#"{"text":"a","text":"b""#)]
#[case::comma_last(r#"{"text":"a",}"#)]
#[case::no_comma(r#"{"text":"a" "x":1}"#)]
#[case::second_mark("\u{feff}\u{feff}{}")]
#[case::array_and_more("[] x")]
fn what_is_not_json_is_refused_as_such(#[case] body: &str) {
    let invalid = parse(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::MalformedJson, ""));
}

#[test]
fn invalid_utf8_is_malformed() {
    let invalid = Message::parse(b"{\"text\":\"\xff\"}", now()).unwrap_err();
    assert_eq!(invalid.reason, InvalidReason::MalformedJson);
}

#[test]
fn nesting_is_bounded_and_the_member_is_named() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"a/b":{open}{close},{}"#, &json!(valid()).to_string()[1..])
    };
    assert!(parse(&nested(crate::DEPTH_MAX - 1)).is_ok());
    for levels in [crate::DEPTH_MAX, 100_000] {
        let invalid = parse(&nested(levels)).unwrap_err();
        assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::TooDeep, "/a~1b"));
    }
}

#[rstest]
#[case::array("[]")]
#[case::string("\"x\"")]
#[case::null("null")]
fn another_document_than_an_object_has_the_wrong_type(
    #[case] body: &str,
    #[values(parse, of_version_1)] read: Read,
) {
    let invalid = read(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::WrongType, ""));
}

#[rstest]
#[case("external_client_id", json!(7), InvalidReason::WrongType)]
#[case("external_client_id", json!(null), InvalidReason::WrongType)]
#[case("external_client_id", json!(""), InvalidReason::Empty)]
#[case("external_client_id", json!("x".repeat(129)), InvalidReason::TooLong)]
#[case("external_client_id", json!("a\nb"), InvalidReason::ControlCharacter)]
#[case("external_client_id", json!(" a"), InvalidReason::SurroundingWhiteSpace)]
#[case("external_client_id", json!("a\u{0}"), InvalidReason::NulCharacter)]
#[case("client_phone", json!("89991234567"), InvalidReason::PhoneNotE164)]
#[case("client_phone", json!({"a": 1}), InvalidReason::WrongType)]
#[case("external_message_id", json!("x".repeat(257)), InvalidReason::TooLong)]
#[case("text", json!("a\u{0}b"), InvalidReason::NulCharacter)]
#[case("text", json!("x".repeat(16_385)), InvalidReason::TooLong)]
#[case("text", json!(["a"]), InvalidReason::WrongType)]
#[case("sent_at", json!("yesterday"), InvalidReason::TimestampMalformed)]
#[case("sent_at", json!(1_700_000_000), InvalidReason::WrongType)]
fn a_bad_field_is_named(
    #[case] field: &str,
    #[case] value: Value,
    #[case] reason: InvalidReason,
    #[values(parse, of_version_1)] read: Read,
) {
    let invalid = read(&with(field, value)).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer), (reason, format!("/{field}")));
}

#[rstest]
#[case("external_client_id")]
#[case("client_phone")]
#[case("external_message_id")]
#[case("text")]
fn a_missing_field_is_named(#[case] field: &str, #[values(parse, of_version_1)] read: Read) {
    let mut body = valid();
    body.remove(field);
    let invalid = read(&Value::Object(body).to_string()).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer), (InvalidReason::MissingField, format!("/{field}")));
}

#[rstest]
#[case::null(json!(null))]
fn sent_at_is_optional(#[case] null: Value) {
    assert_eq!(parse(&with("sent_at", null)).unwrap().sent_at(), None);
    let mut body = valid();
    body.remove("sent_at");
    assert_eq!(parse(&Value::Object(body).to_string()).unwrap().sent_at(), None);
}

#[rstest]
#[case::plain(r#"{"text":"a","text":"a"}"#)]
#[case::in_another_spelling(r#"{"text":"a","x":1,"te\u0078t":7}"#)]
fn a_field_that_stands_twice_is_named(#[case] body: &str) {
    let invalid = parse(body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (InvalidReason::DuplicateKey, "/text"));
}

#[rstest]
#[case("external_client_id")]
#[case("client_phone")]
#[case("external_message_id")]
#[case("sent_at")]
fn half_a_character_in_an_id_is_named(#[case] field: &str) {
    let mut body = valid();
    body.remove(field);
    let body = format!(r#"{{"{field}":"\ud83d",{}"#, &json!(body).to_string()[1..]);
    let invalid = parse(&body).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer), (InvalidReason::LoneSurrogate, format!("/{field}")));
}

#[test]
fn half_a_character_in_the_text_does_not_cost_the_message() {
    let mut body = valid();
    body.remove("text");
    let body = format!(r#"{{"text":"so \ud83d\n",{}"#, &json!(body).to_string()[1..]);
    let posted = post(&body).unwrap();
    assert_eq!(posted.message.text().as_str(), "so \u{fffd}\n");
    assert_eq!(posted.warnings, [Warning::HalfCharacter]);
}

#[rstest]
#[case::before_2000("1999-01-01T00:00:00Z")]
#[case::tomorrow("2026-11-26T00:00:00Z")]
fn a_wrong_clock_does_not_cost_the_message(#[case] sent_at: &str) {
    let body = with("sent_at", json!(sent_at));
    let posted = post(&body).unwrap();
    assert_eq!((posted.message.sent_at(), &*posted.warnings), (None, &[Warning::SentAtOutOfRange][..]));
    assert_eq!(posted.message, parse(&with("sent_at", Value::Null)).unwrap());
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = json!(valid()).to_string();
    assert_eq!(parse(&format!("\u{feff}{body}")).unwrap(), parse(&body).unwrap());
}

#[test]
fn what_the_edge_refuses_is_read_as_it_stands_from_the_topic() {
    for (field, value, reason) in [
        ("external_client_id", "shop\u{200b}", InvalidReason::InvisibleCharacter),
        ("external_message_id", "m\u{ad}1", InvalidReason::InvisibleCharacter),
        ("client_phone", "+44 (0)20 7946 0958", InvalidReason::PhoneTrunkZero),
        ("client_address", "tg:a\u{200b}", InvalidReason::InvisibleCharacter),
    ] {
        let mut body = valid();
        if field == "client_address" {
            body.remove("client_phone");
        }
        body.insert(field.to_owned(), json!(value));
        let body = Value::Object(body).to_string();
        let invalid = post(&body).unwrap_err();
        assert_eq!((invalid.reason, invalid.pointer), (reason, format!("/{field}")));
        assert!(Message::parse(body.as_bytes(), now()).is_ok());
    }
    let shown = with("text", json!("\u{200b}\u{202e}"));
    assert_eq!(parse(&shown).unwrap().text().as_str(), "\u{200b}\u{202e}");
}

#[rstest]
fn an_error_never_shows_the_value(#[values(parse, of_version_1)] read: Read) {
    let invalid = read(&with("client_phone", json!("12025550143"))).unwrap_err();
    assert!(!format!("{invalid} {invalid:?}").contains("2025550143"));
}

#[test]
fn the_body_hash_covers_the_own_fields_only() {
    let hash = |body: &str| parse(body).unwrap().body().hash;
    let plain = hash(&Value::Object(valid()).to_string());
    assert_eq!(plain, hash(&with("client_phone", json!("+7 000 000 00 00"))));
    assert_eq!(plain, hash(&with("sent_at", json!("2026-11-24T11:59:00.000Z"))));
    assert_eq!(plain, hash(&with("attempt", json!(2))));
    assert_ne!(plain, hash(&with("text", json!("hello!"))));
    assert_ne!(plain, hash(&with("sent_at", Value::Null)));
    let bytes = "telex.message.received.v2\0e60660c7-bd8f-5ba9-b814-6dbee9550932\0m-1\0hello\0";
    let body = with("external_client_id", json!("client00000000000000000000000000"));
    let mut body: serde_json::Map<String, Value> = serde_json::from_str(&body).unwrap();
    body.remove("sent_at");
    assert_eq!(hash(&Value::Object(body).to_string()), BodyHash::of(bytes.as_bytes()));
}

#[test]
fn versions_are_compared_by_what_both_look_at() {
    let of_version_1 = |body: &str| crate::v1::parse(body.as_bytes(), now()).unwrap().body();
    let of_version_2 = |body: &str| parse(body).unwrap().body();
    let (first, second) = (with("attempt", json!(1)), with("attempt", json!(2)));
    let other = with("text", json!("another"));
    assert!(of_version_1(&first).says_the_same_as(&of_version_1(&first)));
    assert!(!of_version_1(&first).says_the_same_as(&of_version_1(&second)), "version 1 looks at all");
    assert!(of_version_2(&first).says_the_same_as(&of_version_2(&second)));
    for (one, another, same) in [(&first, &first, true), (&first, &second, true), (&first, &other, false)] {
        assert_eq!(of_version_1(one).says_the_same_as(&of_version_2(another)), same);
        assert_eq!(of_version_2(another).says_the_same_as(&of_version_1(one)), same);
    }
}

proptest! {
    #[test]
    fn what_another_parser_reads_of_the_own_fields_is_what_is_read(
        text in "[^\0]{0,60}|[\\\\u0-9a-fdD\"nb/]{0,24}",
        extra in "[a-z]{1,6}_x",
    ) {
        let body = format!(
            r#"{{"{extra}":[{{}}],"external_client_id":"shop","text":"{text}","client_phone":"+7000000000","external_message_id":"1"}}"#
        );
        if let Ok(read) = serde_json::from_str::<Value>(&body) {
            let message = parse(&body);
            prop_assert_eq!(message.is_ok(), !read["text"].as_str().unwrap().contains('\0'));
            if let Ok(message) = message {
                prop_assert_eq!(Some(message.text().as_str()), read["text"].as_str());
            }
        } else {
            let invalid = post(&body).map(|posted| posted.warnings);
            prop_assert!(!matches!(invalid, Ok(warnings) if warnings.is_empty()));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _outcome = Posted::parse(&body, now());
    }

    #[test]
    fn every_spelling_of_a_number_is_one_client(separators in prop::collection::vec("[ .()-]{0,2}", 11)) {
        // Without a zero, which the edge refuses alone in brackets.
        let spelled: String = "+7123456789".chars().zip(&separators).map(|(c, s)| format!("{s}{c}")).collect();
        let of = |phone: &str, source: &str| {
            let mut body = valid();
            body.insert("client_phone".into(), phone.into());
            body.insert("external_client_id".into(), source.into());
            parse(&Value::Object(body).to_string()).unwrap().client_id()
        };
        prop_assert_eq!(of(&spelled, "shop"), of("+7123456789", "shop"));
        prop_assert_ne!(of(&spelled, "shop"), of(&spelled, "Shop"));
    }
}
