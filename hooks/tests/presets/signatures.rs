//! Who sent the samples: signatures, secrets that come along, and the question whether the URL is ours.

use std::{collections::BTreeSet, fs};

use hooks::{
    Hook, Item, Request, presets,
    signature::{Head, Refused},
};
use http::{HeaderMap, HeaderName};
use rstest::rstest;
use serde_json::Value;

use super::{SECRET, description, reading::received_at, sample, sample_text, samples};

/// 2026-11-24T04:35:00Z, when all samples were sent.
const NOW: u64 = 1_795_494_900;

/// The signature vectors: file, and what its provider put into the head.
#[derive(Clone)]
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
        let another_url = Vector { url: format!("{}?x=1", vector.url), ..vector.clone() };
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
#[case::gupshup("gupshup", "https://t/h", &[("x-telex-secret", SECRET)], "", None)]
#[case::sunshine("sunshine", "https://t/h", &[("x-api-key", SECRET)], "", None)]
#[case::telegram("telegram", "https://t/h", &[("x-telegram-bot-api-secret-token", SECRET)], "", None)]
#[case::bearer("wazzup", "https://t/h", &[("authorization", "Bearer EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS")], "", None)]
#[case::basic("bandwidth", "https://t/h", &[("authorization", "Basic RVhBTVBMRS1TRUNSRVQtT0YtVEhJUlRZLVRXTy1DSEFSUw==")], "", None)]
#[case::infobip("infobip-sms", "https://t/h", &[("authorization", "Basic RVhBTVBMRS1TRUNSRVQtT0YtVEhJUlRZLVRXTy1DSEFSUw==")], "", None)]
#[case::alibaba("alibaba-sms", "https://t/h", &[], "", Some(SECRET))]
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
    // Parsers differ in which of the two counts.
    let twice = format!("{{\"apikey\": \"{SECRET}\", \"apikey\": \"{SECRET}\"}}");
    assert!(of(SECRET).signer().body(&nothing, twice.as_bytes()).is_err());
}

/// With characters that have several spellings, in a query and in JSON.
const SECRET_OF_A_QUERY: &str = "a/secret+of=thirty-two-characters";

#[rstest]
#[case::as_it_is(SECRET, SECRET)]
#[case::percent_encoded(SECRET_OF_A_QUERY, "a%2Fsecret%2Bof%3Dthirty-two-characters")]
#[case::in_lower_case(SECRET_OF_A_QUERY, "a%2fsecret%2bof=thirty-two-characters")]
#[case::needlessly(SECRET_OF_A_QUERY, "%61/secret%2Bof%3Dthirty%2Dtwo%2dcharacters")]
#[case::a_space("a secret of thirty-two-characters", "a%20secret+of%20thirty-two-characters")]
fn a_secret_in_the_query_is_known_and_is_not_quarantined(#[case] secret: &str, #[case] written: &str) {
    let changes = "body = \"query\"\n[signature]\nscheme = \"secret\"\nat = \"query:key\"";
    let hook = Hook::new(&description("twilio-sms", changes), &[secret.to_owned()], &[]).unwrap();
    let headers = HeaderMap::new();
    let url = format!("https://t/h?MessageSid=SM1&To=%2B12025550100&From=Shop&Body=x&key={written}");
    let request = Request { headers: &headers, url: &url, path_secret: None, now: NOW };
    assert_eq!(hook.signer().head(&request), Ok(Head::Proven));
    let another = Request { url: "https://t/h?key=another-secret-of-32-characters!", ..request };
    assert_eq!(hook.signer().head(&another), Err(Refused::Signature));
    let reading = hook.read(&request, b"", received_at(), &|_| true).unwrap();
    let [Item::Bad(bad)] = &reading.items[..] else { panic!("{:?}", reading.items) };
    assert!(bad.document.ends_with("&key=***"), "{}", bad.document);
}

#[rstest]
#[case::as_it_is(SECRET_OF_A_QUERY, r#""a/secret+of=thirty-two-characters""#)]
#[case::a_slash_escaped(SECRET_OF_A_QUERY, r#""a\/secret+of=thirty-two-characters""#)]
#[case::in_hexadecimal_digits(SECRET_OF_A_QUERY, r#""\u0061\u002fsecret\u002Bof=thirty-two-characters""#)]
#[case::a_number("1234567890123456", "1234567890123456")]
fn a_secret_in_the_body_is_known_and_is_not_quarantined(#[case] secret: &str, #[case] written: &str) {
    let hook = Hook::new(&description("evolution", ""), &[secret.to_owned()], &[]).unwrap();
    let body = sample_text("evolution.json")
        .replace("\"EXAMPLE-KEY-IN-THE-BODY\"", written)
        .replace("447700900123@s.whatsapp.net", "shop");
    let headers = HeaderMap::new();
    let request = Request { headers: &headers, url: "https://t/h", path_secret: None, now: NOW };
    assert_eq!(hook.signer().body(&request, body.as_bytes()), Ok(()));
    let reading = hook.read(&request, body.as_bytes(), received_at(), &|_| true).unwrap();
    let [Item::Bad(bad)] = &reading.items[..] else { panic!("{:?}", reading.items) };
    assert_eq!(bad.document, body.replace(written, "\"***\""));
}

#[rstest]
#[case::hexadecimal_digits("hex", "000102030405060708090a0b0c0d0e0f")]
#[case::base64("base64", "AAECAwQFBgcICQoLDA0ODw==")]
fn a_key_a_list_of_signatures_and_milliseconds_are_read_as_the_description_says(
    #[case] key: &str,
    #[case] secret: &str,
) {
    let changes = format!(
        "[signature]\nheader = \"x-signature\"\nprefix = \"v1=\"\nseparator = \",\"\nkey = \"{key}\"\n\
         message = \"{{timestamp}}.{{body}}\"\ntimestamp = {{ header = \"x-time\", unit = \"ms\" }}"
    );
    let hook = Hook::new(&description("viber", &changes), &[secret.to_owned()], &[]).unwrap();
    // HMAC-SHA-256 of `1795494900123.{}`, made with Python's hmac.
    let list = "v1=00, v1=fd6eaeff329959ea9fb532ab39d1e5fa27a23c539dc7dd5f474b8f253a2cc139";
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("x-signature"), list.parse().unwrap()),
        (HeaderName::from_static("x-time"), "1795494900123".parse().unwrap()),
    ]);
    let check = |now: u64, body: &[u8]| {
        hook.signer().body(&Request { headers: &headers, url: "", path_secret: None, now }, body)
    };
    assert_eq!(check(NOW, b"{}"), Ok(()));
    assert_eq!(check(NOW, b"[]"), Err(Refused::Signature));
    assert_eq!(check(NOW + 3_600, b"{}"), Err(Refused::Timestamp));
}

#[test]
fn a_preset_says_that_its_signature_was_checked_if_there_is_a_vector_of_it() {
    let with_a_vector: BTreeSet<&str> = vectors().iter().map(|vector| preset_of(&vector.file)).collect();
    let names = presets::ALL.iter().map(|(name, _)| *name);
    let say_so: BTreeSet<&str> = names.filter(|name| description(name, "").signature_verified).collect();
    assert_eq!(say_so, with_a_vector);
}

#[test]
fn meta_is_answered_its_challenge_if_it_knows_the_token() {
    let query = sample_text("meta_challenge.query");
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
