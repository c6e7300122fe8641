//! What an answer says is what the topic holds.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::harness::{Api, message};

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn an_accepted_message_lies_in_the_topic() {
    let api = Api::new();
    let (status, answer) = api.post(
        "/v1/messages",
        "content-type: application/json\r\nx-request-id: attempt-1\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
        message("client00000000000000000000000000", "m-1").to_string().as_bytes(),
    );
    assert_eq!(status, 202, "{answer}");
    let topic = api.topic();
    let [record] = topic.as_slice() else { panic!("{topic:?}") };
    assert_eq!(answer["record"]["partition"], record.partition);
    assert_eq!(answer["record"]["offset"], record.offset);
    assert_eq!(answer["client_id"], record.key);
    assert_eq!(record.key, "e60660c7-bd8f-5ba9-b814-6dbee9550932");
    assert_eq!(record.value["client_phone"], "+70000000000");
    assert_eq!(record.header("ce_type"), Some("telex.message.received.v2"));
    assert_eq!(record.header("x-request-id"), Some("attempt-1"));
    assert_eq!(record.header("traceparent"), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
}

#[test]
fn a_batch_lies_in_the_topic_in_the_order_of_each_client_without_its_bad_items() {
    let api = Api::new();
    let line = |n: usize| match n {
        100 => "{broken".to_owned(),
        200 => json!({ "text": 7 }).to_string(),
        300 => "[]".to_owned(),
        n => message(&format!("shop-{}", n % 7), &format!("m-{n}")).to_string(),
    };
    let body = (0..1_000).map(line).collect::<Vec<_>>().join("\n");
    let (status, answer) =
        api.post("/v1/messages/batch", "content-type: application/x-ndjson\r\n", body.as_bytes());
    assert_eq!(status, 207);
    let results = answer["results"].as_array().unwrap();
    let refused: Vec<usize> = (0..1_000).filter(|&n| results[n]["status"] != 202).collect();
    assert_eq!(refused, [100, 200, 300]);

    let topic = api.topic();
    assert_eq!(topic.len(), 997);
    let number = |value: &Value| -> usize { value.as_str().unwrap()[2..].parse().unwrap() };
    let mut last: HashMap<&str, usize> = HashMap::new();
    for record in &topic {
        let n = number(&record.value["external_message_id"]);
        assert_eq!(results[n]["record"]["partition"], record.partition);
        assert_eq!(results[n]["record"]["offset"], record.offset);
        assert_eq!(results[n]["client_id"], record.key);
        let before = last.insert(&record.key, n);
        assert!(before < Some(n), "{before:?} lies before {n}");
    }
    assert_eq!(last.len(), 7);
}

#[test]
fn a_command_lies_behind_its_clients_messages() {
    let api = Api::new();
    let (_, kept) = api.post_json("/v1/messages", &message("shop", "m-1"));
    let client_id = kept["client_id"].as_str().unwrap();
    let (status, answer) = api.post(&format!("/v1/clients/{client_id}/dialog/close"), "", b"");
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["record"]["partition"], kept["record"]["partition"]);
    let topic = api.topic();
    let [_, command] = topic.as_slice() else { panic!("{topic:?}") };
    assert_eq!(command.key, client_id);
    assert_eq!(command.value, json!({ "client_id": client_id }));
    assert_eq!(command.header("ce_type"), Some("telex.dialog.close.v1"));
}

#[test]
fn what_is_refused_is_absent_from_the_topic() {
    let api = Api::new();
    let valid = message("shop", "m-1").to_string();
    let no_phone =
        json!({ "external_client_id": "shop", "external_message_id": "m", "text": "" }).to_string();
    let cases: [(&str, &str, &str, u16); 8] = [
        ("/v1/messages", JSON, "{", 400),
        ("/v1/messages", JSON, &no_phone, 422),
        ("/v1/messages", "content-type: text/plain\r\n", &valid, 415),
        ("/v1/messages", "content-type: application/json\r\ncontent-encoding: br\r\n", &valid, 415),
        ("/v1/messages", "content-type: application/json\r\ncontent-encoding: gzip\r\n", &valid, 400),
        ("/v1/messages/batch", JSON, "[{}", 400),
        ("/v1/message", JSON, &valid, 404),
        ("/v1/clients/shop/dialog/close", "", "", 422),
    ];
    for (path, headers, body, expected) in cases {
        let (status, answer) = api.post(path, headers, body.as_bytes());
        assert_eq!(status, expected, "{path} {headers}: {answer}");
    }
    assert_eq!(api.topic(), []);
}
