//! A message once per client, forever.

use schemas::{ClientId, DialogClose, Envelope, Event, Timestamp, record::encode};
use serde_json::{Value, json};

use crate::{
    fill,
    harness::{Telex, keep, message},
};

#[test]
fn the_same_webhook_sent_50_times_in_parallel_and_again_after_a_restart_gives_one_message() {
    let (mut telex, api, mut processor) = Telex::at_work();
    let webhook = message("client", "the one", "Hello");
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| keep(&api, &webhook));
        }
    });
    telex.assert_clean();
    processor.stop().unwrap();
    let _processor = telex.processor();
    keep(&api, &webhook);
    telex.assert_counts([("/rows/messages", 1), ("/rows/dialogs", 1), ("/duplicates", 50)]);
}

#[test]
fn a_duplicate_of_a_message_in_a_closed_dialog_opens_none() {
    let (telex, api, _processor) = Telex::at_work();
    let first = message("client", "1", "Hello");
    let kept = keep(&api, &first);
    telex.assert_clean();
    close(&telex, kept["client_id"].as_str().unwrap());
    telex.assert_clean();
    keep(&api, &first);
    telex.assert_counts([("/rows/dialogs", 1), ("/rows/active_dialogs", 0), ("/duplicates", 1)]);
    keep(&api, &message("client", "2", "Hello again"));
    telex.assert_counts([("/rows/dialogs", 2), ("/rows/active_dialogs", 1)]);
}

#[test]
fn message_close_and_message_in_one_batch_are_two_dialogs() {
    let (mut telex, api) = Telex::with_api();
    let kept = keep(&api, &message("client", "1", "Hello"));
    close(&telex, kept["client_id"].as_str().unwrap());
    keep(&api, &message("client", "2", "Hello again"));
    // All three are there before anybody reads: one batch.
    let _processor = telex.processor();
    let report = telex.assert_clean();
    assert_eq!(
        report["rows"],
        json!({"clients": 1, "dialogs": 2, "messages": 2, "dead_letters": 0, "active_dialogs": 1, "client_aliases": 0})
    );
    assert_eq!(report["commands"], 1);
    assert_eq!(telex.number("select count(distinct dialog_id) from messages"), 2);
}

#[test]
fn what_was_filed_before_the_upgrade_is_a_duplicate_after_it_and_the_other_way_round() {
    let (mut telex, api) = Telex::with_api();
    let said = |id: &str, text: &str, attempt: u32| {
        let mut message = message("upgrade", id, text);
        message["sent_at"] = "2026-11-24T07:35:00.5+03:00".into();
        message["attempt"] = attempt.into();
        message
    };
    before_the_upgrade(&telex, &said("1", "one", 1));
    keep(&api, &said("1", "one", 2));
    keep(&api, &said("2", "two", 1));
    before_the_upgrade(&telex, &said("2", "two", 2));
    before_the_upgrade(&telex, &said("3", "three", 1));
    before_the_upgrade(&telex, &said("3", "three", 2));
    keep(&api, &said("3", "another", 1));
    let _processor = telex.processor();
    // By version 1 the attempts counted.
    telex.assert_counts([("/rows/messages", 3), ("/duplicates", 2), ("/rows/dead_letters", 2)]);

    // The same, met as rows and no longer in one transaction.
    keep(&api, &said("1", "one", 3));
    keep(&api, &said("3", "three", 3));
    before_the_upgrade(&telex, &said("2", "two", 3));
    keep(&api, &said("1", "another", 4));
    before_the_upgrade(&telex, &said("2", "another", 4));
    telex.assert_counts([("/rows/messages", 3), ("/duplicates", 5), ("/rows/dead_letters", 4)]);
}

/// Writes a message as the ingest API did when it wrote version 1.
fn before_the_upgrade(telex: &Telex, message: &Value) {
    fill::write(telex, &fill::as_version_1(fill::encoded(&message.to_string())));
}

/// Writes the command as another system may.
fn close(telex: &Telex, client_id: &str) {
    let client_id = ClientId::parse(client_id.as_bytes()).unwrap();
    let received_at = Timestamp::from_millis(1_764_000_000_000).unwrap();
    let envelope = Envelope { received_at, request_id: None, trace_parent: None };
    fill::write(telex, &encode(&Event::DialogClose(DialogClose { client_id }), &envelope));
}
