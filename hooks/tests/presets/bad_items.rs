//! What can never be a message costs its neighbours nothing, and can be read again.

use hooks::{Item, reading::Reason, walk::Lost};
use rstest::rstest;

use super::{
    reading::{hook, messages, read_body, received_at},
    sample_text,
};

const PHONE: &str = r#""from": "447700900123""#;
const NO_PHONE: &str = r#""from": "Shop""#;
const TWO_PHONES: &str = r#""from": "447700900199", "from": "447700900123""#;

#[test]
fn a_bad_item_costs_its_neighbours_nothing_and_can_be_read_again() {
    let body = sample_text("whatsapp_cloud.json").replacen(PHONE, NO_PHONE, 1);
    let reading = read_body("whatsapp-cloud", body.as_bytes());
    let [Item::Bad(bad), Item::Message { .. }, Item::Message { .. }] = &reading.items[..] else {
        panic!("{:?}", reading.items)
    };
    assert_eq!((bad.reason.clone(), bad.client_id), (Reason::NoAddress, None));
    assert!(bad.document.contains("wamid.EXAMPLE0000000000000001"), "{}", bad.document);
    assert!(!bad.document.contains("wamid.EXAMPLE0000000000000002"), "{}", bad.document);
    let again = read_body("whatsapp-cloud", bad.document.as_bytes());
    let [Item::Bad(same)] = &again.items[..] else { panic!("{:?}", again.items) };
    assert_eq!(same, bad);
}

#[rstest]
#[case::dialog360("360dialog", "whatsapp_cloud.json", PHONE, NO_PHONE, "no_address", 2)]
#[case::infobip("infobip-sms", "infobip.json", PHONE, NO_PHONE, "no_address", 1)]
#[case::wazzup(
    "wazzup",
    "wazzup.json",
    "\"messages\": [",
    "\"messages\": [{\"chatType\": \"whatsapp\"},",
    "no_source",
    1
)]
#[case::sunshine(
    "sunshine",
    "sunshine.json",
    "\"events\": [",
    "\"events\": [{\"type\": \"conversation:message\"},",
    "no_address",
    1
)]
#[case::bandwidth("bandwidth", "bandwidth.json", "[", "[{\"type\": \"message-received\"},", "no_source", 1)]
#[case::alibaba("alibaba-sms", "alibaba_sms.json", "[", "[{},", "no_source", 1)]
#[case::a_phone_twice("whatsapp-cloud", "whatsapp_cloud.json", PHONE, TWO_PHONES, "duplicate_key", 2)]
#[case::an_id_twice_in_another_spelling(
    "infobip-sms",
    "infobip.json",
    "\"messageId\":",
    "\"message\\u0049d\": \"1\", \"messageId\":",
    "duplicate_key",
    1
)]
#[case::a_status_and_a_message_at_once(
    "bandwidth",
    "bandwidth.json",
    "[",
    "[{\"type\": \"message-failed\", \"type\": \"message-received\"},",
    "duplicate_key",
    1
)]
fn a_bad_item_of_each_provider_that_sends_several_costs_its_neighbours_nothing(
    #[case] preset: &str,
    #[case] file: &str,
    #[case] good: &str,
    #[case] bad: &str,
    #[case] reason: &str,
    #[case] kept: usize,
) {
    let body = sample_text(file);
    assert!(body.contains(good), "{file} has changed");
    let body = body.replacen(good, bad, 1);
    let reading = read_body(preset, body.as_bytes());
    let Some(Item::Bad(first)) = reading.items.first() else { panic!("{:?}", reading.items) };
    assert_eq!((first.reason.as_str(), messages(&reading).len()), (reason, kept));
    assert_eq!(reading.items.len(), kept + 1);
}

#[test]
fn an_item_with_a_member_twice_is_nobodys_and_is_the_same_item_when_it_is_read_again() {
    let body = sample_text("infobip.json").replacen("\"from\":", "\"from\": \"447700900199\", \"from\":", 1);
    let reading = read_body("infobip-sms", body.as_bytes());
    let [Item::Bad(bad), Item::Message { .. }] = &reading.items[..] else { panic!("{:?}", reading.items) };
    assert_eq!((bad.reason.clone(), bad.client_id), (Reason::Twice, None));
    assert!(bad.document.contains("447700900199") && !bad.document.contains("second of two"));
    let again = read_body("infobip-sms", bad.document.as_bytes());
    let [Item::Bad(same)] = &again.items[..] else { panic!("{:?}", again.items) };
    assert_eq!(same, bad);
}

#[test]
fn a_member_twice_around_the_items_leaves_the_request_unread() {
    let body = sample_text("infobip.json").replacen("\"results\":", "\"results\": [], \"results\":", 1);
    let unread = hook("infobip-sms").read_document(body.as_bytes(), received_at(), &|_| true).unwrap_err();
    assert_eq!(unread.0, Lost::Twice);
}
