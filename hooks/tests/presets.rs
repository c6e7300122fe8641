//! Each preset reads what its provider sends: the samples and signature vectors under `samples/` were made apart from
//! this code, as `README.md` there says.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use hooks::{
    Description, Hook, Item, Reading, Request, presets,
    reading::Reason,
    signature::{Head, Refused},
};
use http::{HeaderMap, HeaderName};
use rstest::rstest;
use schemas::{Message, Timestamp};
use serde_json::Value;
use toml::Table;

/// 2026-11-24T04:35:00Z, when all samples were sent.
const NOW: u64 = 1_795_494_900;
const SECRET: &str = "EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS";

fn samples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples"))
}

/// A sample, without its last newline.
fn sample(file: &str) -> Vec<u8> {
    let mut body = fs::read(samples().join(file)).unwrap();
    body.truncate(body.trim_ascii_end().len());
    body
}

fn description(preset: &str, changes: &str) -> Description {
    presets::read(presets::text(preset).unwrap(), toml::from_str::<Table>(changes).unwrap()).unwrap()
}

/// A hook of which it does not matter who sends.
fn hook(preset: &str) -> Hook {
    let mut description = description(preset, "");
    description.signature = toml::from_str("scheme = \"none\"").unwrap();
    Hook::new(&description, &[], &[]).unwrap()
}

fn received_at() -> Timestamp {
    Timestamp::parse("2026-11-24T04:35:01Z").unwrap()
}

fn read(preset: &str, file: &str) -> Reading {
    hook(preset).read_document(&sample(file), received_at(), &|_| true).unwrap()
}

fn messages(reading: &Reading) -> Vec<&Message> {
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
    let body = String::from_utf8(sample(file)).unwrap();
    assert!(body.contains(of_a_message), "{file} has changed");
    let reading = hook(preset)
        .read_document(body.replace(of_a_message, of_an_event).as_bytes(), received_at(), &|_| true)
        .unwrap();
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
    let body = String::from_utf8(sample(file)).unwrap().replacen(named, unnamed, 1);
    let reading = hook(preset).read_document(body.as_bytes(), received_at(), &|_| true).unwrap();
    assert_eq!((messages(&reading).len(), reading.skipped.len()), (1, 0));
}

#[rstest]
#[case::an_unsigned_query("body = \"query\"", "message = \"{body}\"")]
#[case::a_json_body_as_a_form("body = \"json\"", "message = \"{form}\"")]
#[case::no_body("body = \"json\"", "message = \"{url}\"")]
#[case::an_unknown_scheme("address = [{ scheme = \"telegramm\", id = { from = [\"/a\"] } }]", "")]
#[case::an_identity_that_changes_hands("address = [{ scheme = \"username\", id = { from = [\"/a\"] } }]", "")]
#[case::a_text_around_the_items("items = \"/a/*\"\ntext = { from = [\"/t\"] }", "")]
#[case::a_number_beside_a_star(
    "items = \"/a/*\"\ntext = { from = [\"/a/*/t\"] }\nsource = { from = [\"/a/0/s\"] }",
    ""
)]
fn a_description_that_would_fail_is_refused(#[case] change: &str, #[case] of_the_signature: &str) {
    let changes = format!("{change}\n[signature]\n{of_the_signature}");
    let description = description("viber", &changes);
    let problem = Hook::new(&description, &[SECRET.to_owned()], &[]).unwrap_err();
    assert!(!problem.contains(SECRET), "{problem}");
}

#[test]
fn a_bad_item_costs_its_neighbours_nothing_and_can_be_read_again() {
    let body = String::from_utf8(sample("whatsapp_cloud.json")).unwrap();
    let body = body.replacen("\"from\": \"447700900123\"", "\"from\": \"Shop\"", 1);
    let hook = hook("whatsapp-cloud");
    let reading = hook.read_document(body.as_bytes(), received_at(), &|_| true).unwrap();
    let [Item::Bad(bad), Item::Message { .. }, Item::Message { .. }] = &reading.items[..] else {
        panic!("{:?}", reading.items)
    };
    assert_eq!((bad.reason.clone(), bad.client_id), (Reason::NoAddress, None));
    assert!(bad.document.contains("wamid.EXAMPLE0000000000000001"), "{}", bad.document);
    assert!(!bad.document.contains("wamid.EXAMPLE0000000000000002"), "{}", bad.document);
    let again = hook.read_document(bad.document.as_bytes(), received_at(), &|_| true).unwrap();
    let [Item::Bad(same)] = &again.items[..] else { panic!("{:?}", again.items) };
    assert_eq!(same, bad);
}

#[test]
fn the_identity_is_the_phone_unless_it_is_asked_otherwise_and_the_rest_are_aliases() {
    let body = String::from_utf8(sample("whatsapp_cloud.json")).unwrap();
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

/// The signature vectors: file, and what its provider put into the head.
struct Vector {
    file: String,
    secret: String,
    url: String,
    headers: HeaderMap,
}

fn vectors() -> Vec<Vector> {
    let text = fs::read_to_string(samples().join("signatures.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let vector = |vector: &Value| {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let headers = vector["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap())
        });
        Vector { file: text("file"), secret: text("secret"), url: text("url"), headers: headers.collect() }
    };
    document["vectors"].as_array().unwrap().iter().map(vector).collect()
}

fn preset_of(file: &str) -> &'static str {
    match file {
        "whatsapp_cloud.json" => "whatsapp-cloud",
        "waha.json" => "waha",
        "viber.json" => "viber",
        "chatwoot.json" => "chatwoot",
        "sinch_conversation.json" => "sinch-conversation",
        "twilio_sms.form" => "twilio-sms",
        "twilio_whatsapp.form" => "twilio-whatsapp",
        "plivo.form" => "plivo",
        "vonage_messages.json" => "vonage-messages",
        "messagebird_sms.form" => "messagebird-sms",
        "telnyx.json" => "telnyx",
        other => panic!("{other} has no preset"),
    }
}

fn check(hook: &Hook, vector: &Vector, body: &[u8], now: u64) -> Result<(), Refused> {
    let request = Request { headers: &vector.headers, url: &vector.url, path_secret: None, now };
    assert!(matches!(hook.signer().head(&request), Ok(Head::NeedsBody) | Err(Refused::Timestamp)));
    hook.signer().body(&request, body)
}

#[test]
fn each_vector_is_proven_and_nothing_else_is() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 11);
    for vector in &vectors {
        let (file, preset) = (&vector.file, preset_of(&vector.file));
        let description = description(preset, "");
        assert!(description.signature_verified, "{preset} does not say that it is");
        let with = |secrets: &[&str]| {
            let secrets: Vec<String> = secrets.iter().map(|it| (*it).to_owned()).collect();
            Hook::new(&description, &secrets, &[]).unwrap()
        };
        // Another secret, as a base64 public key or as text.
        let other = "3oTXMhBEPoYU6oNThqb8xJBO3cAfMP0nKmLOXRMVFpY=";
        let (own, body) = (with(&[&vector.secret]), sample(file));
        assert_eq!(check(&own, vector, &body, NOW), Ok(()), "{file}");
        assert_eq!(check(&with(&[other, &vector.secret]), vector, &body, NOW), Ok(()), "{file}: rotated");
        assert_eq!(check(&with(&[other]), vector, &body, NOW), Err(Refused::Signature), "{file}");
        for at in [0, body.len() / 2, body.len() - 1] {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert_eq!(check(&own, vector, &changed, NOW), Err(Refused::Signature), "{file}, byte {at}");
        }
        let another_url = Vector {
            url: format!("{}?x=1", vector.url),
            headers: vector.headers.clone(),
            file: file.clone(),
            secret: String::new(),
        };
        let signs_url = !vector.url.is_empty();
        assert_eq!(check(&own, &another_url, &body, NOW).is_err(), signs_url, "{file}: another URL");
    }
}

#[test]
fn an_old_signature_is_refused_where_it_has_a_time() {
    let timed = [
        "chatwoot.json",
        "sinch_conversation.json",
        "telnyx.json",
        "vonage_messages.json",
        "messagebird_sms.form",
    ];
    for vector in vectors() {
        let hook =
            Hook::new(&description(preset_of(&vector.file), ""), std::slice::from_ref(&vector.secret), &[])
                .unwrap();
        let body = sample(&vector.file);
        for now in [NOW + 3_600, NOW - 3_600] {
            let outcome = check(&hook, &vector, &body, now);
            assert_eq!(outcome.is_err(), timed.contains(&vector.file.as_str()), "{}", vector.file);
        }
    }
}

#[rstest]
#[case::header("360dialog", "https://t/h", &[("x-telex-secret", SECRET)], "", None)]
#[case::telegram("telegram", "https://t/h", &[("x-telegram-bot-api-secret-token", SECRET)], "", None)]
#[case::bearer("wazzup", "https://t/h", &[("authorization", "Bearer EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS")], "", None)]
#[case::basic("bandwidth", "https://t/h", &[("authorization", "Basic RVhBTVBMRS1TRUNSRVQtT0YtVEhJUlRZLVRXTy1DSEFSUw==")], "", None)]
#[case::path("teletype", "https://t/h", &[], "", Some(SECRET))]
#[case::body("evolution", "https://t/h", &[], r#"{"apikey": "EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS"}"#, None)]
fn a_secret_that_comes_along_is_known_and_another_is_not(
    #[case] preset: &str,
    #[case] url: &str,
    #[case] headers: &[(&'static str, &'static str)],
    #[case] body: &str,
    #[case] path_secret: Option<&str>,
) {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    let request = Request { headers: &headers, url, path_secret, now: NOW };
    let of = |secret: &str| Hook::new(&description(preset, ""), &[secret.to_owned()], &[]).unwrap();
    assert_eq!(of(SECRET).signer().body(&request, body.as_bytes()), Ok(()));
    assert_eq!(
        of("another-secret-of-32-characters!").signer().body(&request, body.as_bytes()),
        Err(Refused::Signature)
    );
    let empty = HeaderMap::new();
    let nothing = Request { headers: &empty, url, path_secret: None, now: NOW };
    assert!(of(SECRET).signer().body(&nothing, b"{}").is_err());
}

#[test]
fn meta_is_answered_its_challenge_if_it_knows_the_token() {
    let query = String::from_utf8(sample("meta_challenge.query")).unwrap();
    let url = format!("https://telex.example/v1/hooks/whatsapp?{query}");
    let headers = HeaderMap::new();
    let request = Request { headers: &headers, url: &url, path_secret: None, now: NOW };
    let with = |tokens: &[&str]| {
        let tokens: Vec<String> = tokens.iter().map(|it| (*it).to_owned()).collect();
        Hook::new(&description("whatsapp-cloud", ""), &[SECRET.to_owned()], &tokens).unwrap().verify(&request)
    };
    assert_eq!(with(&["EXAMPLE-VERIFY-TOKEN"]).as_deref(), Some("1158201444"));
    assert_eq!(with(&["another-token"]), None);
    assert_eq!(with(&[]), None);
}

#[test]
fn each_preset_is_a_hook() {
    for (name, text) in presets::ALL {
        let description =
            presets::read(text, Table::new()).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let secret = "3oTXMhBEPoYU6oNThqb8xJBO3cAfMP0nKmLOXRMVFpY=".to_owned();
        Hook::new(&description, &[secret], &[]).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
    let files = fs::read_dir(samples().join("../../presets")).unwrap();
    assert_eq!(files.count(), presets::ALL.len());
}

#[test]
fn what_is_around_many_bad_items_is_not_quarantined_with_each() {
    let around = "x".repeat(100_000);
    let items = vec!["{}"; 500].join(",");
    let body = format!("{{\"around\": \"{around}\", \"results\": [{items}]}}");
    let reading = hook("infobip-sms").read_document(body.as_bytes(), received_at(), &|_| true).unwrap();
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
    let body = String::from_utf8(sample("telnyx.json")).unwrap();
    let body = body.replace("Hello there", &"\\u00e9".repeat(100_000));
    let reading = hook("telnyx").read_document(body.as_bytes(), received_at(), &|_| true).unwrap();
    let [Item::Bad(bad)] = &reading.items[..] else { panic!("{:?}", reading.items.len()) };
    assert_eq!(bad.reason.as_str(), "too_long");
    assert_eq!(bad.document, body);
}
