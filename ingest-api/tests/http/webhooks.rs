//! `POST /v1/hooks/{name}`: providers' webhooks. What each preset reads is tested in the crate `hooks`; here it is
//! what becomes of it.

use std::fs;

use axum::{body::Body, http::Request};
use ingest_api::{
    error::{ApiError, Unavailable},
    files::Refresh as _,
};
use rstest::rstest;
use schemas::{EncodedRecord, Quarantined};

use crate::harness::{Answer, Api, Fate, Temporary, posted};

const SECRET: &str = "EXAMPLE-SECRET-OF-THIRTY-TWO-CHARS";
const WHATSAPP: &str = "/v1/hooks/whatsapp";
/// Of the sample `whatsapp_cloud.json`, from `signatures.json` beside it.
const SIGNATURE: (&str, &str) =
    ("x-hub-signature-256", "sha256=9062914b02e6f840659764e7e27f3a85abdab7e57218f6db8de9d55f32902048");

pub fn sample(file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../hooks/tests/samples");
    fs::read_to_string(format!("{folder}/{file}")).unwrap().trim_end().to_owned()
}

/// An API with one producer that has these hooks.
pub struct Hooked {
    pub api: Api,
    file: Temporary,
}

impl Hooked {
    pub fn new(hooks: &str) -> Self {
        Self::with("all_external_client_ids = true", hooks, |_| Fate::Kept)
    }

    fn with(producer: &str, hooks: &str, fate: fn(&EncodedRecord) -> Fate) -> Self {
        let file = Temporary::new("webhooks", text(producer, hooks));
        let setting = format!("--producers-file={}", file.path());
        let api = Api::with(&[&setting, "--public-url=https://telex.example"], fate);
        Self { api, file }
    }

    /// With a WhatsApp hook that anybody may send to.
    fn whatsapp(more: &str, fate: fn(&EncodedRecord) -> Fate) -> Self {
        Self::with("all_external_client_ids = true", &open("whatsapp", "whatsapp-cloud", more), fate)
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.api.send(posted(path, headers, body.to_owned())).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.api.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub fn items(&self, hook: &str, result: &str) -> u64 {
        self.api.shared.metrics.ingest_hook_items_total.with_label_values(&[hook, result]).get()
    }

    fn refused(&self, cause: &str) -> u64 {
        self.api.shared.metrics.ingest_authentication_failures_total.with_label_values(&[cause]).get()
    }
}

fn text(producer: &str, hooks: &str) -> String {
    format!("[[producers]]\nname = \"providers\"\n{producer}\n{hooks}")
}

fn hook(name: &str, preset: &str, more: &str) -> String {
    format!(
        "[[producers.hooks]]\nname = \"{name}\"\npreset = \"{preset}\"\nsecrets = [{{ secret = \"{SECRET}\" }}]\n{more}\n"
    )
}

fn whatsapp(more: &str) -> String {
    hook("whatsapp", "whatsapp-cloud", more)
}

/// One that anybody may send to.
pub fn open(name: &str, preset: &str, more: &str) -> String {
    let text = hook(name, preset, more).replace(&format!("secrets = [{{ secret = \"{SECRET}\" }}]\n"), "");
    format!("{text}change.signature.scheme = \"none\"\n")
}

#[tokio::test]
async fn a_signed_webhook_is_kept_message_by_message_and_answered_as_the_provider_wants() {
    let hooked = Hooked::new(&whatsapp(""));
    let answer = hooked.post(WHATSAPP, &[SIGNATURE], &sample("whatsapp_cloud.json")).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), None);
    let records = hooked.api.records();
    let values: Vec<&str> =
        records.iter().map(|(record, _)| std::str::from_utf8(&record.value).unwrap()).collect();
    assert_eq!(values.len(), 3);
    assert!(values[0].contains("\"client_phone\":\"+447700900123\""), "{}", values[0]);
    assert!(values.iter().all(|value| value.contains("\"external_client_id\":\"wa-200000000000002\"")));
    assert!(hooked.api.quarantine().is_empty());
    assert_eq!(hooked.items("whatsapp", "kept"), 3);
}

#[rstest]
#[case::none(&[], "no_credential")]
#[case::wrong(&[("x-hub-signature-256", "sha256=00")], "signature")]
#[case::of_another_body(&[SIGNATURE], "signature")]
#[tokio::test]
async fn a_webhook_of_somebody_else_is_refused_and_nothing_is_kept(
    #[case] headers: &[(&str, &str)],
    #[case] cause: &str,
) {
    let hooked = Hooked::new(&whatsapp(""));
    let body = sample("whatsapp_cloud.json").replace("blue", "gold");
    hooked.api.assert_refused(&hooked.post(WHATSAPP, headers, &body).await, 401, "unauthorized");
    assert!(hooked.api.quarantine().is_empty());
    assert_eq!(hooked.refused(cause), 1);
}

#[tokio::test]
async fn a_bad_item_lies_in_quarantine_and_its_neighbours_are_kept() {
    let hooked = Hooked::new(&open("whatsapp", "whatsapp-cloud", ""));
    let body = sample("whatsapp_cloud.json").replacen("\"from\": \"447700900123\"", "\"from\": \"Shop\"", 1);
    assert_eq!(hooked.post(WHATSAPP, &[], &body).await.status, 200);
    assert_eq!(hooked.api.records().len(), 2);
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    let headers = record.headers.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
    let item = Quarantined::decode(Some(record.key.as_bytes()), Some(&record.value), headers).unwrap();
    assert_eq!(
        (item.hook.as_str(), item.producer.as_str(), item.reason.as_str()),
        ("whatsapp", "providers", "no_address")
    );
    assert_eq!((item.client_id, record.key.as_str(), item.item), (None, "whatsapp", 0));
    let document = String::from_utf8(item.document).unwrap();
    assert!(document.contains("Is the blue one") && !document.contains("this one"), "{document}");
    assert_eq!(hooked.items("whatsapp", "quarantined"), 1);
}

#[tokio::test]
async fn a_message_of_a_source_that_the_producer_may_not_write_lies_in_quarantine() {
    let hook = open("whatsapp", "whatsapp-cloud", "");
    let hooked = Hooked::with("external_client_ids = [\"wa-1\"]", &hook, |_| Fate::Kept);
    assert_eq!(hooked.post(WHATSAPP, &[], &sample("dialog360.json")).await.status, 200);
    assert!(hooked.api.records().is_empty());
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    assert!(record.headers.iter().any(|(_, value)| value == "source_not_allowed"));
    assert_eq!(record.key.len(), 36, "whose it is is known");
}

#[rstest]
#[case::messages(no_message)]
#[case::quarantine(nothing_in_quarantine)]
#[case::queue(nothing)]
#[tokio::test]
async fn the_provider_tries_again_until_every_item_is_acknowledged(#[case] fate: fn(&EncodedRecord) -> Fate) {
    let hooked = Hooked::whatsapp("change.answer = { try_again = 500 }", fate);
    let body = sample("whatsapp_cloud.json").replacen("\"from\": \"447700900123\"", "\"from\": \"Shop\"", 1);
    let answer = hooked.post(WHATSAPP, &[], &body).await;
    assert_eq!((answer.status, answer.text.as_str()), (500, ""));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(hooked.items("whatsapp", "unavailable"), 1);
}

const AWAY: ApiError = ApiError::Unavailable(Unavailable::Kafka);

fn no_message(record: &EncodedRecord) -> Fate {
    if record.key.len() == 36 { Fate::Failed(AWAY) } else { Fate::Kept }
}

fn nothing_in_quarantine(record: &EncodedRecord) -> Fate {
    if record.key.len() == 36 { Fate::Kept } else { Fate::Failed(AWAY) }
}

fn nothing(_: &EncodedRecord) -> Fate {
    Fate::Refused(ApiError::Unavailable(Unavailable::QueueFull))
}

#[tokio::test]
async fn kafka_has_as_long_as_the_provider_waits() {
    let hooked = Hooked::whatsapp("change.answer = { deadline_ms = 50 }", |_| Fate::Unanswered);
    let since = std::time::Instant::now();
    assert_eq!(hooked.post(WHATSAPP, &[], &sample("dialog360.json")).await.status, 503);
    assert!(since.elapsed() < std::time::Duration::from_secs(2));
}

#[tokio::test]
async fn a_rate_that_is_exceeded_is_answered_with_a_status_on_which_the_provider_tries_again() {
    let hooked = Hooked::with(
        "all_external_client_ids = true\nmessages = { per_second = 1, burst = 1 }",
        &open("whatsapp", "whatsapp-cloud", ""),
        |_| Fate::Kept,
    );
    for status in [200, 503] {
        assert_eq!(hooked.post(WHATSAPP, &[], &sample("dialog360.json")).await.status, status);
    }
    assert_eq!(hooked.api.records().len(), 1);
}

#[rstest]
#[case::no_json("{", 400, "webhook_not_readable")]
#[case::no_utf8("\u{0}", 400, "webhook_not_readable")]
#[tokio::test]
async fn what_cannot_be_read_at_all_is_refused(#[case] body: &str, #[case] status: u16, #[case] code: &str) {
    let hooked = Hooked::new(&open("whatsapp", "whatsapp-cloud", ""));
    hooked.api.assert_refused(&hooked.post(WHATSAPP, &[], body).await, status, code);
}

#[tokio::test]
async fn an_event_that_is_no_message_is_answered_as_kept_and_counted() {
    let hooked = Hooked::new(&open("whatsapp", "whatsapp-cloud", ""));
    assert_eq!(hooked.post(WHATSAPP, &[], &sample("whatsapp_cloud_status_only.json")).await.status, 200);
    hooked.api.assert_nothing_kept();
    assert_eq!(hooked.items("whatsapp", "skipped"), 1);
    let by_name = &hooked.api.shared.metrics.ingest_hook_skipped_total;
    assert_eq!(by_name.with_label_values(&["whatsapp", "no_message"]).get(), 1);
}

#[tokio::test]
async fn the_largest_webhook_can_be_quarantined_whole() {
    let hooked = Hooked::new(&open("infobip", "infobip-sms", ""));
    let around = "x".repeat(1_048_500);
    let body = format!("{{\"x\": \"{around}\", \"results\": [{{}}]}}");
    assert_eq!(hooked.post("/v1/hooks/infobip", &[], &body).await.status, 200);
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    assert_eq!(record.value, body.as_bytes());
    let larger = body.replace("\"x\"", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"");
    hooked.post("/v1/hooks/infobip", &[], &larger).await.assert_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_list_that_is_none_is_quarantined_and_not_taken_for_an_event() {
    let hooked = Hooked::new(&open("infobip", "infobip-sms", ""));
    let body = r#"{"results": {"messageId": "1", "from": "447700900123", "text": "one"}}"#;
    assert_eq!(hooked.post("/v1/hooks/infobip", &[], body).await.status, 200);
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    assert!(record.headers.iter().any(|(_, value)| value == "no_list"));
}

#[tokio::test]
async fn a_secret_in_the_body_is_not_quarantined() {
    let hooked = Hooked::new(&hook("evolution", "evolution", ""));
    let body = sample("evolution.json")
        .replace("EXAMPLE-KEY-IN-THE-BODY", SECRET)
        .replace("447700900123@s.whatsapp.net", "shop");
    assert_eq!(hooked.post("/v1/hooks/evolution", &[], &body).await.status, 200);
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    let document = String::from_utf8(record.value.clone()).unwrap();
    assert!(document.contains("\"apikey\": \"***\"") && !document.contains(SECRET), "{document}");
}

#[tokio::test]
async fn a_form_is_signed_with_the_url_that_the_provider_knows() {
    let hooked = Hooked::new(&hook("twilio", "twilio-sms", ""));
    let url = "https://telex.example/v1/hooks/twilio?x=1";
    let body = sample("twilio_sms.form");
    let signature = twilio(url, &body);
    let headers = [
        ("x-twilio-signature", signature.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "10.0.0.7:8080"),
    ];
    let answer = hooked.post("/v1/hooks/twilio?x=1", &headers, &body).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(hooked.api.records().len(), 1);
    assert_eq!(hooked.post("/v1/hooks/twilio?x=2", &headers, &body).await.status, 401);
}

/// As Twilio signs a form: HMAC-SHA-1 over the URL, then each field's name and value, sorted by name.
fn twilio(url: &str, body: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut fields: Vec<(&str, String)> = body
        .split('&')
        .map(|field| field.split_once('=').unwrap())
        .map(|(name, value)| (name, value.replace('+', " ").replace("%2B", "+")))
        .collect();
    fields.sort();
    let signed: String = fields.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{url}{signed}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn a_secret_may_stand_behind_the_name_in_the_path() {
    let hooked = Hooked::new(&hook("teletype", "teletype", ""));
    let body = sample("teletype.form");
    assert_eq!(hooked.post(&format!("/v1/hooks/teletype/{SECRET}"), &[], &body).await.status, 200);
    assert_eq!(hooked.post("/v1/hooks/teletype/another-secret", &[], &body).await.status, 401);
    assert_eq!(hooked.post("/v1/hooks/teletype", &[], &body).await.status, 401);
    assert_eq!(hooked.api.records().len(), 1);
}

#[tokio::test]
async fn meta_is_answered_its_challenge() {
    let hooked = Hooked::new(&whatsapp("verify_tokens = [{ secret = \"EXAMPLE-VERIFY-TOKEN\" }]"));
    let answer = hooked.get(&format!("{WHATSAPP}?{}", sample("meta_challenge.query"))).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    hooked
        .get(&format!("{WHATSAPP}?hub.verify_token=x&hub.challenge=1"))
        .await
        .assert_problem(401, "unauthorized");
    hooked.get(WHATSAPP).await.assert_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_hook_that_nobody_has_described_is_not_found() {
    let hooked = Hooked::new(&whatsapp(""));
    hooked.post("/v1/hooks/telegram", &[], "{}").await.assert_problem(404, "not_found");
    hooked.get("/v1/hooks/telegram").await.assert_problem(404, "not_found");
    Api::new().post("/v1/hooks/whatsapp", "{}").await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn a_changed_identity_takes_effect_only_if_it_is_wanted_by_name() {
    let hooked = Hooked::new(&open("whatsapp", "whatsapp-cloud", ""));
    let producers = hooked.api.shared.producers.as_ref().unwrap();
    let rewrite = |more: &str| {
        let text = text("all_external_client_ids = true", &open("whatsapp", "whatsapp-cloud", more));
        fs::write(hooked.file.path(), text).unwrap();
        producers.refresh(true);
        format!("{:?}", producers.current().hook("whatsapp").unwrap().hook.identity())
    };
    let other = "change.identity = \"provider_id_first\"";
    assert_eq!(rewrite(other), "PhoneFirst", "the former file stays in force");
    let wanted = |hook, to| format!("identity_change = {{ hook = \"{hook}\", to = \"{to}\" }}");
    for not_this in [wanted("another", "provider_id_first"), wanted("whatsapp", "phone_first")] {
        assert_eq!(rewrite(&format!("{other}\n{not_this}")), "PhoneFirst");
    }
    let this = wanted("whatsapp", "provider_id_first");
    assert_eq!(rewrite(&format!("{other}\n{this}")), "ProviderIdFirst");
    assert_eq!(rewrite(&this), "ProviderIdFirst", "the way back has to be wanted, too");
}
