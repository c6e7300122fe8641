//! Clients without a phone, and the other addresses of a client.

use super::*;
use crate::Address;

fn with_members(members: &str) -> String {
    let mut body = valid();
    body.remove("client_phone");
    format!("{{{members},{}", &json!(body).to_string()[1..])
}

const PHONE: &str = r#""client_phone":"+70000000000""#;

#[test]
fn a_client_without_a_phone_has_an_address() {
    let message = parse(&with_members(r#""client_address":"tg:6001""#)).unwrap();
    assert_eq!((message.address().as_str(), message.address().phone()), ("tg:6001", None));
    let null = parse(&with_members(r#""client_phone":null,"client_address":"tg:6001""#)).unwrap();
    assert_eq!(null, message);
    let phone = parse(&with_members(&format!(r#"{PHONE},"client_address":null,"aliases":null"#))).unwrap();
    assert_eq!(phone, parse(&Value::Object(valid()).to_string()).unwrap());
    assert_ne!(phone.client_id(), message.client_id());
}

#[rstest]
#[case::both(
    r#""client_phone":"+70000000000","client_address":"tg:1""#,
    InvalidReason::TwoAddresses,
    "/client_address"
)]
#[case::both_broken(r#""client_phone":7,"client_address":7"#, InvalidReason::TwoAddresses, "/client_address")]
#[case::neither(r#""client_address":null"#, InvalidReason::MissingField, "/client_phone")]
#[case::a_phone_as_address(
    r#""client_address":"+70000000000""#,
    InvalidReason::AddressMalformed,
    "/client_address"
)]
#[case::a_user_name(
    r#""client_address":"username:anna""#,
    InvalidReason::AddressMalformed,
    "/client_address"
)]
#[case::an_unknown_scheme(r#""client_address":"icq:1""#, InvalidReason::AddressMalformed, "/client_address")]
#[case::no_string(r#""client_address":6001"#, InvalidReason::WrongType, "/client_address")]
#[case::half_a_character(r#""client_address":"tg:\ud83d""#, InvalidReason::LoneSurrogate, "/client_address")]
#[case::twice(
    r#""client_address":"tg:1","client_address":"tg:1""#,
    InvalidReason::DuplicateKey,
    "/client_address"
)]
#[case::aliases_twice(
    r#""client_address":"tg:1","aliases":null,"aliases":[]"#,
    InvalidReason::DuplicateKey,
    "/aliases"
)]
#[case::aliases_that_are_none(
    r#""client_address":"tg:1","aliases":"wa:1""#,
    InvalidReason::WrongType,
    "/aliases"
)]
#[case::an_alias_that_is_no_string(
    r#""client_address":"tg:1","aliases":["wa:1",["wa:2"]]"#,
    InvalidReason::WrongType,
    "/aliases"
)]
#[case::null_as_alias(r#""client_address":"tg:1","aliases":[null]"#, InvalidReason::WrongType, "/aliases")]
#[case::too_many(
    r#""client_address":"tg:1","aliases":["a","b","c","d","e"]"#,
    InvalidReason::TooLong,
    "/aliases"
)]
fn a_bad_address_is_named(#[case] members: &str, #[case] reason: InvalidReason, #[case] pointer: &str) {
    let invalid = parse(&with_members(members)).unwrap_err();
    assert_eq!((invalid.reason, invalid.pointer.as_str()), (reason, pointer));
    assert!(!format!("{invalid:?}").contains("anna"));
}

#[test]
fn an_alias_is_kept_once_and_the_clients_own_address_is_none() {
    let aliases = r#" [ "wa:GB.1" ,"+7 (000) 000-00-00","wa:GB.1","+70000000001","tg:\u0037" ] "#;
    for (aliases, kept) in [
        (&aliases.replace(r#""wa:GB.1","#, ""), vec!["wa:GB.1", "+70000000001", "tg:7"]),
        (&"[]".to_owned(), vec![]),
        (&r#"["+7 000 000 00 00"]"#.to_owned(), vec![]),
    ] {
        let posted = with_members(&format!(r#"{PHONE},"aliases":{aliases}"#));
        let posted = post(&posted).unwrap();
        let read: Vec<_> = posted.message.aliases().iter().map(Address::as_str).collect();
        assert_eq!((read, &*posted.warnings), (kept, &[][..]));
    }
}

#[test]
fn an_alias_that_is_no_address_does_not_cost_the_message() {
    let body = with_members(&format!(
        r#"{PHONE},"aliases":["username:a\u200bb","username:\ud83d","+44 (0)20 7946 0958","tg:7"]"#
    ));
    let posted = post(&body).unwrap();
    assert_eq!(posted.warnings, [Warning::AliasLeftOut]);
    assert_eq!(posted.message.aliases(), [Address::parse("tg:7").unwrap()]);
    assert_eq!(posted.message, parse(&body).unwrap());
}

#[test]
fn aliases_do_not_make_another_message_of_it() {
    let body = |aliases: &str| {
        let body = with_members(&format!(r#"{PHONE},"aliases":{aliases}"#));
        parse(&body).unwrap().body()
    };
    let plain = parse(&Value::Object(valid()).to_string()).unwrap().body();
    assert_eq!(body(r#"["wa:GB.1"]"#), plain);
    assert_eq!(body(r#"["wa:GB.2"]"#), plain);
    let of_version_1 = crate::v1::parse(with("x", json!(1)).as_bytes(), now()).unwrap().body();
    assert!(of_version_1.says_the_same_as(&body(r#"["wa:GB.1"]"#)));
}

#[rstest]
#[case::of_any_shape(r#""client_address":{"street":"x"},"aliases":[{"a":[1e400]},"\ud83d"],"aliases":7"#)]
#[case::as_telex_has_them(r#""client_address":"tg:1","aliases":["wa:1"]"#)]
fn to_version_2_the_new_fields_are_a_senders_own(#[case] members: &str) {
    let body = with_members(&format!("{PHONE},{members}"));
    let plain = with_members(PHONE);
    let read = Message::parse_of_version_2(body.as_bytes(), now()).unwrap();
    assert_eq!(read, Message::parse_of_version_2(plain.as_bytes(), now()).unwrap());
    assert_eq!(read, parse(&plain).unwrap());
    assert!(parse(&body).is_err());
}

#[test]
fn what_is_written_names_its_version() {
    for (members, event_type, value) in [
        (PHONE.to_owned(), "v2", r#""client_phone":"+70000000000","#),
        (format!(r#"{PHONE},"aliases":["+70000000000"]"#), "v2", r#""client_phone":"+70000000000","#),
        (r#""client_address":"tg:1""#.to_owned(), "v3", r#""client_address":"tg:1","#),
        (format!(r#"{PHONE},"aliases":["tg:1","wa:2"]"#), "v3", r#","aliases":["tg:1","wa:2"]"#),
    ] {
        let body = with_members(&members);
        let posted = post(&body).unwrap();
        let envelope = record::Envelope { received_at: now(), request_id: None, trace_parent: None };
        let encoded = record::encode_message(&posted.message, &posted.others, &envelope);
        let named = (record::header::TYPE, format!("telex.message.received.{event_type}").into());
        assert!(encoded.headers.contains(&named), "{members}");
        let written = String::from_utf8(encoded.value).unwrap();
        assert!(written.contains(value), "{written}");
        assert_eq!(written.contains("aliases"), value.contains("aliases"), "{written}");
    }
}
