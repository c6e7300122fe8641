//! What is logged: lines that carry their request, and nothing that a client wrote (S10–S12).

use serde_json::Value;

use crate::harness::{Api, message};

#[test]
fn every_line_of_a_request_carries_its_id_and_nothing_of_what_was_sent() {
    let api = Api::with(&["--log=debug"]);
    let headers = "content-type: application/json\r\nx-request-id: attempt-17\r\n";
    let (status, _) = api.post("/v1/messages", headers, message("shop", "m-1").to_string().as_bytes());
    assert_eq!(status, 202);
    let hostile = message("a\n{\"level\":\"ERROR\"}\u{1b}[31m", "m-2").to_string();
    let (status, answer) = api.post("/v1/messages", headers, hostile.as_bytes());
    assert_eq!((status, &answer["code"]), (422, &"control_character".into()));
    let odd = "content-type: application/json\r\nx-request-id: a\tb\r\n";
    let (status, answer) = api.post("/v1/messages", odd, message("shop", "m-3").to_string().as_bytes());
    assert_ne!(answer["request_id"], "a\tb", "{status}");

    let log = api.running.server.log_text();
    assert!(!log.contains('\u{1b}') && !log.contains("7000000") && !log.contains("000) 000"), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| {
        let found = lines.iter().filter(|line| line["message"] == message);
        found.map(|line| line["span"]["request_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("record kept")[0], "attempt-17");
    let spans = |line: &Value| line["spans"].as_array().cloned().unwrap_or_default();
    let within =
        lines.iter().filter(|line| spans(line).iter().any(|span| span["request_id"] == "attempt-17"));
    assert!(within.count() >= 1, "{log}");
}
