//! The command that closes a client's dialog.

use axum::{body::Body, http::Request};
use rstest::rstest;
use schemas::{ClientId, PartitionCount};

use crate::harness::{Api, MESSAGES, message};

const CLIENT: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

fn close(client_id: &str, body: &'static str) -> Request<Body> {
    Request::post(format!("/v1/clients/{client_id}/dialog/close")).body(Body::from(body)).unwrap()
}

#[rstest]
#[case::no_body("")]
#[case::empty_object("{}")]
#[case::its_client(r#"{"client_id":"e60660c7-bd8f-5ba9-b814-6dbee9550932"}"#)]
#[tokio::test]
async fn the_command_goes_through_its_clients_partition(#[case] body: &'static str) {
    let api = Api::new();
    let message = api.post(MESSAGES, message("client00000000000000000000000000", "m-1").to_string()).await;
    assert_eq!(message.json()["client_id"], CLIENT);
    let answer = api.send(close(CLIENT, body)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let records = api.records();
    let [(_, of_message), (record, partition)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(partition, of_message);
    assert_eq!(
        *partition,
        ClientId::parse(CLIENT.as_bytes()).unwrap().partition(PartitionCount::new(12).unwrap())
    );
    assert_eq!(record.key, CLIENT);
    assert_eq!(record.value, format!(r#"{{"client_id":"{CLIENT}"}}"#).into_bytes());
    assert!(record.headers.contains(&("ce_type", "telex.dialog.close.v1".into())));
    let body = answer.json();
    assert_eq!(body["client_id"], CLIENT);
    assert_eq!((&body["record"]["partition"], &body["record"]["offset"]), (&partition.0.into(), &1.into()));
}

#[rstest]
#[case::empty("")]
#[case::words("shop")]
#[case::upper_case("E60660C7-BD8F-5BA9-B814-6DBEE9550932")]
#[case::without_hyphens("e60660c7bd8f5ba9b8146dbee9550932")]
#[case::a_slash("e60660c7%2Fbd8f")]
#[case::not_utf8("%ff")]
#[tokio::test]
async fn what_is_no_client_id_is_refused(#[case] client_id: &str) {
    let api = Api::new();
    api.assert_refused(&api.send(close(client_id, "")).await, 422, "client_id_malformed");
}

#[rstest]
#[case::something_to_say(r#"{"reason":"SECRET"}"#)]
#[case::an_array("[]")]
#[case::not_json("SECRET")]
#[tokio::test]
async fn a_body_that_says_something_is_refused(#[case] body: &'static str) {
    let api = Api::new();
    api.assert_refused(&api.send(close(CLIENT, body)).await, 422, "body_not_empty");
}

#[tokio::test]
async fn a_body_that_names_another_client_is_refused() {
    let api = Api::new();
    let other = r#"{"client_id":"6f1d6f0e-52c4-5f2c-9a39-3f2f3d2f1c11"}"#;
    api.assert_refused(&api.send(close(CLIENT, other)).await, 422, "client_id_mismatch");
}
