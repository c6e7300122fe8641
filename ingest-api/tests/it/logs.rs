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

/// The lines of the access log: the id, the route, the status and the code of each.
fn access_log(api: &Api) -> Vec<[Value; 4]> {
    let log = api.running.server.log_text();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["message"] == "request");
    lines.map(|line| ["request_id", "route", "status", "code"].map(|name| line[name].clone())).collect()
}

#[test]
fn a_request_is_found_in_the_log_by_its_id() {
    let send = |api: &Api| {
        for (id, body) in [("kept", message("shop", "m-1").to_string()), ("refused", "{}".to_owned())] {
            let headers = format!("content-type: application/json\r\nx-request-id: {id}\r\n");
            api.post("/v1/messages", &headers, body.as_bytes());
        }
        api.post("/v1/telephone/+79990000000", "x-request-id: lost\r\n", b"");
    };
    let line = |id: &str, route: &str, status: u16, code: &str| {
        [Value::from(id), route.into(), status.into(), code.into()]
    };
    let errors =
        [line("refused", "/v1/messages", 422, "missing_field"), line("lost", "other", 404, "not_found")];
    let api = Api::with(&[]);
    send(&api);
    assert_eq!(access_log(&api), errors);
    let api = Api::with(&["--access-log=all"]);
    send(&api);
    assert_eq!(access_log(&api), [&[line("kept", "/v1/messages", 202, "accepted")], &errors[..]].concat());
    let api = Api::with(&["--access-log=off"]);
    send(&api);
    assert_eq!(access_log(&api), Vec::<[Value; 4]>::new());
}
