//! What each provider is answered, and what becomes of messages that are not quite as they should be.

use rstest::rstest;

use crate::webhooks::{Hooked, open, sample};

#[rstest]
#[case("360dialog", "dialog360.json", 200, None, "")]
#[case("alibaba-sms", "alibaba_sms.json", 200, Some("application/json"), r#"{"code":0,"msg":"OK"}"#)]
#[case("bandwidth", "bandwidth.json", 200, None, "")]
#[case("chatwoot", "chatwoot.json", 200, None, "")]
#[case("evolution", "evolution.json", 200, None, "")]
#[case("gupshup", "gupshup.json", 200, None, "")]
#[case("infobip-sms", "infobip.json", 200, None, "")]
#[case("messagebird-sms", "messagebird_sms.form", 200, Some("text/plain"), "OK")]
#[case("plivo", "plivo.form", 200, None, "")]
#[case("sinch-conversation", "sinch_conversation.json", 200, None, "")]
#[case("sunshine", "sunshine.json", 200, None, "")]
#[case("telegram", "telegram.json", 200, None, "")]
#[case("teletype", "teletype.form", 200, None, "")]
#[case("telnyx", "telnyx.json", 200, None, "")]
#[case("twilio-sms", "twilio_sms.form", 204, None, "")]
#[case("twilio-whatsapp", "twilio_whatsapp.form", 204, None, "")]
#[case("viber", "viber.json", 200, None, "")]
#[case("vonage-messages", "vonage_messages.json", 200, None, "")]
#[case("waha", "waha.json", 200, None, "")]
#[case("wazzup", "wazzup.json", 200, None, "")]
#[case("whatsapp-cloud", "whatsapp_cloud.json", 200, None, "")]
#[tokio::test]
async fn each_provider_gets_the_answer_that_it_wants_the_second_time_too(
    #[case] preset: &str,
    #[case] file: &str,
    #[case] status: u16,
    #[case] content_type: Option<&str>,
    #[case] body: &str,
) {
    let hooked = Hooked::new(&open("provider", preset, ""));
    for _ in 0..2 {
        let answer = hooked.post("/v1/hooks/provider", &[], &sample(file)).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, body));
        assert_eq!(answer.header("content-type"), content_type);
    }
    assert!(hooked.api.quarantine().is_empty());
    let records = hooked.api.records();
    let kept: Vec<_> = records.iter().map(|(record, _)| (&record.key, &record.value)).collect();
    let (first, again) = kept.split_at(kept.len() / 2);
    assert!(!first.is_empty() && first == again, "what is repeated is the same message");
}

#[tokio::test]
async fn messages_in_the_query_of_a_get_are_kept() {
    let hooked = Hooked::new(&open("twilio", "twilio-sms", "change.body = \"query\""));
    let answer = hooked.get(&format!("/v1/hooks/twilio?{}", sample("twilio_sms.form"))).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(hooked.api.records().len(), 1);
}

#[tokio::test]
async fn a_time_that_cannot_be_read_is_counted_and_costs_no_message() {
    let hooked = Hooked::new(&open("telegram", "telegram", ""));
    let body = sample("telegram.json").replace("\"date\": 1795494900", "\"date\": \"soon\"");
    assert_eq!(hooked.post("/v1/hooks/telegram", &[], &body).await.status, 200);
    let [(record, _)] = &hooked.api.records()[..] else { panic!("one message") };
    assert!(!String::from_utf8_lossy(&record.value).contains("sent_at"));
    let counted = &hooked.api.shared.metrics.ingest_hook_times_unreadable_total;
    assert_eq!(counted.with_label_values(&["telegram"]).get(), 1);
}

#[tokio::test]
async fn an_item_that_holds_a_member_twice_costs_its_neighbours_nothing() {
    let hooked = Hooked::new(&open("infobip", "infobip-sms", ""));
    let body = sample("infobip.json").replacen("\"from\":", "\"from\": \"447700900199\", \"from\":", 1);
    assert_eq!(hooked.post("/v1/hooks/infobip", &[], &body).await.status, 200);
    assert_eq!((hooked.items("infobip", "kept"), hooked.items("infobip", "quarantined")), (1, 1));
    let [record] = &hooked.api.quarantine()[..] else { panic!("one item") };
    assert!(record.headers.iter().any(|(_, value)| value == "duplicate_key"));
    assert_eq!(record.key, "infobip", "nobody knows whose it is");
}
