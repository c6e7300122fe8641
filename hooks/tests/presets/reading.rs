//! What is read of the samples: messages, and what is none.

use hooks::{Hook, Item, Reading};
use rstest::rstest;
use schemas::{Message, Timestamp};

use super::{SECRET, description, sample, sample_text};

/// A hook of which it does not matter who sends.
pub fn hook(preset: &str) -> Hook {
    let mut description = description(preset, "");
    description.signature = toml::from_str("scheme = \"none\"").unwrap();
    Hook::new(&description, &[], &[]).unwrap()
}

pub fn received_at() -> Timestamp {
    Timestamp::parse("2026-11-24T04:35:01Z").unwrap()
}

pub fn read_body(preset: &str, body: &[u8]) -> Reading {
    hook(preset).read_document(body, received_at(), &|_| true).unwrap()
}

fn read(preset: &str, file: &str) -> Reading {
    read_body(preset, &sample(file))
}

pub fn messages(reading: &Reading) -> Vec<&Message> {
    fn message(item: &Item) -> Option<&Message> {
        match item {
            Item::Message { message, .. } => Some(message),
            Item::Bad(_) => None,
        }
    }
    reading.items.iter().filter_map(message).collect()
}

/// Source, address, id, text and time of each message.
type Expected = [&'static str; 5];

#[rstest]
#[case::whatsapp("whatsapp-cloud", "whatsapp_cloud.json", &[
    ["wa-200000000000002", "+447700900123", "wamid.EXAMPLE0000000000000001", "Is the blue one in stock? \u{1f600}", "2026-11-24T04:35:00.000000Z"],
    ["wa-200000000000002", "+447700900123", "wamid.EXAMPLE0000000000000002", "this one", "2026-11-24T04:35:03.000000Z"],
    ["wa-200000000000002", "+447700900123", "wamid.EXAMPLE0000000000000003", "Yes", "2026-11-24T04:35:10.000000Z"],
])]
#[case::whatsapp_without_a_phone("whatsapp-cloud", "whatsapp_cloud_no_phone.json", &[
    ["wa-200000000000002", "wa:GB.1000000000000000002", "wamid.EXAMPLE0000000000000004", "Written by somebody with a username: no from, no wa_id", "2026-11-24T04:35:20.000000Z"],
])]
#[case::dialog360("360dialog", "dialog360.json", &[
    ["wa-200000000000002", "+447700900123", "wamid.EXAMPLE0000000000000005", "The same form as Meta's, no signature", "2026-11-24T04:35:40.000000Z"],
])]
#[case::twilio("twilio-sms", "twilio_sms.form", &[
    ["twilio-12025550100", "+447700900123", "SM00000000000000000000000000000001", "Hello + thanks", ""],
])]
#[case::twilio_whatsapp("twilio-whatsapp", "twilio_whatsapp.form", &[
    ["twilio-wa-12025550100", "+447700900123", "SM00000000000000000000000000000002", "", ""],
])]
#[case::vonage("vonage-messages", "vonage_messages.json", &[
    ["vonage-447700900001", "+447700900123", "11111111-2222-4333-8444-555555555555", "Please call me back", "2026-11-24T04:35:00.000000Z"],
])]
#[case::infobip("infobip-sms", "infobip.json", &[
    ["infobip-447700900001", "+447700900123", "817790313235066001", "first of two", "2026-11-24T04:35:00.120000Z"],
    ["infobip-447700900001", "+447700900124", "817790313235066002", "second of two", "2026-11-24T04:35:01.000000Z"],
])]
#[case::sinch("sinch-conversation", "sinch_conversation.json", &[
    ["sinch-01EXAMPLEAPP0000000000000", "+447700900123", "01EXAMPLEMSG0000000000000", "When do you open?", "2026-11-24T04:35:00.050000Z"],
])]
#[case::telnyx("telnyx", "telnyx.json", &[
    ["telnyx-12025550100", "+12025550143", "33333333-4444-4555-8666-777777777777", "Hello there", "2026-11-24T04:35:00.500000Z"],
])]
#[case::plivo("plivo", "plivo.form", &[
    ["plivo-12025550100", "+447700900123", "ffffffff-0000-4111-8222-333333333333", "Bonjour", ""],
])]
#[case::messagebird("messagebird-sms", "messagebird_sms.form", &[
    ["messagebird-447700900001", "+447700900123", "0123456789abcdef0123456789abcdef", "Hallo", "2026-11-24T04:35:00.000000Z"],
])]
#[case::bandwidth("bandwidth", "bandwidth.json", &[
    ["bandwidth-12025550100", "+12025550143", "17954949001234exampleid", "Table for two at eight", "2026-11-24T04:35:00.000000Z"],
])]
#[case::gupshup("gupshup", "gupshup.json", &[
    ["gupshup-ExampleApp", "+447700900123", "ABEGexampleexampleexample01", "Do you deliver?", "2026-11-24T04:35:00.370000Z"],
])]
#[case::waha("waha", "waha.json", &[
    ["waha-default", "+447700900123", "false_447700900123@c.us_AAAAEXAMPLE01", "Good morning", "2026-11-24T04:35:00.000000Z"],
])]
#[case::waha_with_a_hidden_phone("waha", "waha_lid.json", &[
    ["waha-default", "wa-lid:111111111111111", "false_111111111111111@lid_AAAAEXAMPLE02", "The sender is a hidden id, not a phone", "2026-11-24T04:35:01.000000Z"],
])]
#[case::evolution("evolution", "evolution.json", &[
    ["evolution-shop", "+447700900123", "3EB0EXAMPLE000000001", "How much is it?", "2026-11-24T04:35:00.000000Z"],
])]
#[case::wazzup("wazzup", "wazzup.json", &[
    ["wazzup-99999999-aaaa-4bbb-8ccc-dddddddddddd", "+447700900123", "88888888-9999-4aaa-8bbb-cccccccccccc", "Hello", "2026-11-24T04:35:00.000000Z"],
])]
#[case::viber("viber", "viber.json", &[
    ["viber", "viber:EXAMPLEid/1234567890==", "5741311803571721087", "There is no phone in here", "2026-11-24T04:35:00.123000Z"],
])]
#[case::telegram("telegram", "telegram.json", &[
    ["telegram", "tg:5000000001", "5000000001:42", "There is no phone in here", "2026-11-24T04:35:00.000000Z"],
])]
#[case::telegram_contact("telegram", "telegram_contact.json", &[
    ["telegram", "tg:5000000001", "5000000001:43", "", "2026-11-24T04:35:05.000000Z"],
])]
#[case::chatwoot("chatwoot", "chatwoot.json", &[
    ["chatwoot-1-2", "+447700900123", "1001", "I have a question", "2026-11-24T04:35:00.000000Z"],
])]
#[case::sunshine("sunshine", "sunshine.json", &[
    ["sunshine-app0000000000000000000001", "+447700900123", "ms00000000000000000000001", "Good evening", "2026-11-24T04:35:00.440000Z"],
])]
#[case::teletype("teletype", "teletype.form", &[
    ["teletype", "teletype:20000002", "10000001", "JSON within a form field", "2026-11-24T04:35:00.000000Z"],
])]
fn a_sample_gives_these_messages(#[case] preset: &str, #[case] file: &str, #[case] expected: &[Expected]) {
    let reading = read(preset, file);
    let shown: Vec<Vec<String>> = messages(&reading)
        .iter()
        .map(|message| {
            let sent_at = message.sent_at().map(|time| time.to_string()).unwrap_or_default();
            let texts = [
                message.external_client_id().as_str(),
                message.address().as_str(),
                message.external_message_id().as_str(),
                message.text().as_str(),
                &sent_at,
            ];
            texts.map(str::to_owned).to_vec()
        })
        .collect();
    assert_eq!(shown, expected);
    let is_kept_as_it_came = |item: &Item| matches!(item, Item::Message { warnings, is_time_unreadable: false, .. } if warnings.is_empty());
    assert!(reading.items.iter().all(is_kept_as_it_came));
}

#[test]
fn a_country_is_a_change_of_the_user() {
    let changes = "[phone]\nplus = true\nadd = \"\"\n[signature]\nscheme = \"none\"\nat = \"path\"";
    let hook = Hook::new(&description("alibaba-sms", changes), &[], &[]).unwrap();
    let reading = hook.read_document(&sample("alibaba_sms.json"), received_at(), &|_| true).unwrap();
    let [message] = messages(&reading)[..] else { panic!("one message") };
    assert_eq!(message.address().as_str(), "+447700900123");
    assert_eq!(message.sent_at().unwrap().to_string(), "2026-11-24T04:35:00.000000Z");
    assert_eq!(message.external_client_id().as_str(), "alibaba-1234");
}

#[rstest]
#[case("whatsapp-cloud", "whatsapp_cloud_status_only.json", "no_message")]
#[case("whatsapp-cloud", "whatsapp_cloud.json", "")]
#[case("360dialog", "whatsapp_cloud_status_only.json", "no_message")]
#[case("wazzup", "wazzup_test.json", "no_message")]
#[case("wazzup", "wazzup.json", "echo")]
fn what_is_no_message_is_counted_by_its_name(#[case] preset: &str, #[case] file: &str, #[case] name: &str) {
    let skipped = read(preset, file).skipped;
    let expected: Vec<(String, u64)> = (!name.is_empty()).then(|| (name.to_owned(), 1)).into_iter().collect();
    assert_eq!(skipped.into_iter().collect::<Vec<_>>(), expected);
}

#[rstest]
#[case("telnyx", "telnyx.json", "message.received", "message.sent", "event")]
#[case("viber", "viber.json", "\"event\": \"message\"", "\"event\": \"seen\"", "event")]
#[case("gupshup", "gupshup.json", "\"type\": \"message\"", "\"type\": \"message-event\"", "event")]
#[case("waha", "waha.json", "\"fromMe\": false", "\"fromMe\": true", "echo")]
#[case("waha", "waha.json", "447700900123@c.us\",\n    \"to", "447700900123@g.us\",\n    \"to", "group")]
#[case("evolution", "evolution.json", "\"fromMe\": false", "\"fromMe\": true", "echo")]
#[case("chatwoot", "chatwoot.json", "\"incoming\"", "\"outgoing\"", "echo")]
#[case("chatwoot", "chatwoot.json", "\"private\": false", "\"private\": true", "private")]
#[case(
    "sunshine",
    "sunshine.json",
    "\"type\": \"user\",\n            \"user\"",
    "\"type\": \"business\",\n            \"user\"",
    "echo"
)]
#[case("telegram", "telegram.json", "\"private\"", "\"supergroup\"", "group")]
#[case("bandwidth", "bandwidth.json", "message-received", "message-failed", "status")]
#[case("twilio-sms", "twilio_sms.form", "SmsStatus=received", "SmsStatus=delivered", "status")]
#[case("twilio-whatsapp", "twilio_whatsapp.form", "SmsStatus=received", "SmsStatus=read", "status")]
#[case(
    "vonage-messages",
    "vonage_messages.json",
    "\"message_type\": \"text\"",
    "\"status\": \"delivered\"",
    "status"
)]
#[case("teletype", "teletype.form", "new+message", "success+send", "event")]
#[case(
    "sinch-conversation",
    "sinch_conversation.json",
    "\"message\": {",
    "\"message_delivery_report\": {",
    "event"
)]
fn an_event_that_is_no_message_costs_nothing(
    #[case] preset: &str,
    #[case] file: &str,
    #[case] of_a_message: &str,
    #[case] of_an_event: &str,
    #[case] name: &str,
) {
    let body = sample_text(file);
    assert!(body.contains(of_a_message), "{file} has changed");
    let reading = read_body(preset, body.replace(of_a_message, of_an_event).as_bytes());
    assert!(reading.items.is_empty());
    assert_eq!(reading.skipped.into_iter().collect::<Vec<_>>(), [(name.to_owned(), 1)]);
}

#[rstest]
#[case("twilio-sms", "twilio_sms.form", "SmsStatus=received", "X=received")]
#[case("chatwoot", "chatwoot.json", "\"message_type\"", "\"kind\"")]
#[case("telnyx", "telnyx.json", "\"event_type\"", "\"kind\"")]
fn a_message_that_does_not_say_what_it_is_is_kept(
    #[case] preset: &str,
    #[case] file: &str,
    #[case] named: &str,
    #[case] unnamed: &str,
) {
    let body = sample_text(file).replacen(named, unnamed, 1);
    let reading = read_body(preset, body.as_bytes());
    assert_eq!((messages(&reading).len(), reading.skipped.len()), (1, 0));
}

#[test]
fn a_status_among_messages_is_skipped_alone() {
    let body = sample_text("infobip.json");
    let body = body.replacen("\"smsCount\": 1", "\"status\": {\"name\": \"DELIVERED_TO_HANDSET\"}", 1);
    let reading = read_body("infobip-sms", body.as_bytes());
    assert_eq!((messages(&reading).len(), reading.items.len()), (1, 1));
    assert_eq!(reading.skipped.into_iter().collect::<Vec<_>>(), [("status".to_owned(), 1)]);
}

#[rstest]
#[case::attempts_are_counted_in_the_body("telnyx", "telnyx.json", "\"attempt\": 1", "\"attempt\": 2")]
#[case::the_event_has_another_id("telnyx", "telnyx.json", "22222222-3333-4444-8555-666666666666", "0")]
#[case::the_writer_has_another_name("whatsapp-cloud", "whatsapp_cloud.json", "Ann Example", "Ann")]
#[case::there_is_a_new_field("twilio-sms", "twilio_sms.form", "ApiVersion=", "New=1&ApiVersion=")]
fn a_message_that_is_delivered_again_is_the_same_message(
    #[case] preset: &str,
    #[case] file: &str,
    #[case] first: &str,
    #[case] then: &str,
) {
    let body = sample_text(file);
    assert!(body.contains(first), "{file} has changed");
    let again = body.replace(first, then);
    let again = read_body(preset, again.as_bytes());
    assert_eq!(messages(&again), messages(&read(preset, file)));
}

#[test]
fn a_time_that_cannot_be_read_is_left_out_and_said() {
    let body = sample_text("telegram.json").replace("\"date\": 1795494900", "\"date\": \"soon\"");
    let reading = read_body("telegram", body.as_bytes());
    let [Item::Message { message, is_time_unreadable: true, .. }] = &reading.items[..] else {
        panic!("{:?}", reading.items)
    };
    assert!(message.sent_at().is_none());
}

#[test]
fn the_identity_is_the_phone_unless_it_is_asked_otherwise_and_the_rest_are_aliases() {
    let body = sample_text("whatsapp_cloud.json");
    let both = body.replacen("\"from\":", "\"from_user_id\": \"GB.7\", \"from\":", 1);
    let read = |identity: &str| {
        let changes = format!("identity = \"{identity}\"");
        let hook = Hook::new(&description("whatsapp-cloud", &changes), &[SECRET.to_owned()], &[]).unwrap();
        let reading = hook.read_document(both.as_bytes(), received_at(), &|_| true).unwrap();
        let message = messages(&reading)[0].clone();
        let aliases: Vec<String> = message.aliases().iter().map(|alias| alias.as_str().to_owned()).collect();
        (message.address().as_str().to_owned(), aliases)
    };
    let (phone, id) = ("+447700900123".to_owned(), "wa:GB.7".to_owned());
    assert_eq!(read("phone_first"), (phone.clone(), vec![id.clone()]));
    assert_eq!(read("provider_id_first"), (id, vec![phone]));
}

#[test]
fn what_is_around_many_bad_items_is_not_quarantined_with_each() {
    let around = "x".repeat(100_000);
    let items = vec!["{}"; 500].join(",");
    let body = format!("{{\"around\": \"{around}\", \"results\": [{items}]}}");
    let reading = read_body("infobip-sms", body.as_bytes());
    let documents: Vec<&str> = reading
        .items
        .iter()
        .map(|item| match item {
            Item::Bad(bad) => bad.document.as_str(),
            Item::Message { .. } => panic!("there is none"),
        })
        .collect();
    assert!(documents.iter().map(|document| document.len()).sum::<usize>() <= 3 * body.len());
    assert_eq!(documents.last(), Some(&body.as_str()), "the rest lies in the whole");
    assert!(documents.len() <= 3, "{}", documents.len());
}

#[test]
fn a_text_beyond_all_bounds_is_quarantined_and_not_cut() {
    let body = sample_text("telnyx.json").replace("Hello there", &"\\u00e9".repeat(100_000));
    let reading = read_body("telnyx", body.as_bytes());
    let [Item::Bad(bad)] = &reading.items[..] else { panic!("{:?}", reading.items.len()) };
    assert_eq!(bad.reason.as_str(), "too_long");
    assert_eq!(bad.document, body);
}
