//! Messages are written by COPY, which takes nothing but new ones. What is believed to be new is; where it is not, the
//! batch is applied with care.

use std::{str::FromStr as _, time::Duration};

use dev_env::programs::Running;
use rdkafka::producer::Producer as _;
use schemas::{Envelope, Posted, Timestamp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use crate::{
    fill,
    harness::{Telex, keep, message, metric},
};

fn conflicts(processor: &Running) -> i64 {
    metric(processor, "processor_copy_conflicts_total").unwrap()
}

#[test]
fn values_of_every_kind_are_stored_as_they_came() {
    let (telex, api, processor) = Telex::at_work();
    let said = |id: &str, text: &str, more: Value| {
        let mut message = message("kinds", id, text);
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keep(&api, &message);
    };
    let texts = ["🙂 👩‍👩‍👧 é", "a tab\t, \"quotes\", a \\ and\r\nlines\n", "\\N", "\\.", "سلام", "ß"];
    for (number, text) in texts.into_iter().enumerate() {
        said(&format!("text {number} 🙂"), text, json!({}));
    }
    for sent_at in ["2000-01-01T00:00:00Z", "2026-11-24T07:35:00.123456+03:00"] {
        said(sent_at, "sent", json!({ "sent_at": sent_at }));
    }
    said("others", "with members of its own", json!({ "attempt": 7, "nested": { "a": [null] } }));
    telex.wait_until_applied();

    let producer = fill::producer(&telex);
    for (id, received_at) in
        [("early", "1970-01-01T00:00:00.000001Z"), ("late", "9999-12-31T23:59:59.999999Z")]
    {
        let received_at = Timestamp::parse(received_at).unwrap();
        let envelope = Envelope { received_at, request_id: None, trace_parent: None };
        let body = message("kinds", id, "by another producer").to_string();
        let posted = Posted::parse(body.as_bytes(), received_at).unwrap();
        let record = schemas::record::encode_message(&posted.message, &posted.others, &envelope);
        fill::produce(&producer, &telex, &record);
    }
    producer.flush(Duration::from_secs(10)).unwrap();

    assert_eq!(telex.assert_clean()["rows"]["messages"], 11);
    for (number, text) in texts.into_iter().enumerate() {
        let stored = format!("select text from messages where external_message_id = 'text {number} 🙂'");
        assert_eq!(telex.text(&stored), text);
    }
    let received_at = |id: &str| {
        telex.number(&format!(
            "select (extract(epoch from received_at) * 1000000)::bigint from messages
             where external_message_id = '{id}' and request_id is null"
        ))
    };
    assert_eq!((received_at("early"), received_at("late")), (1, 253_402_300_799_999_999));
    assert_eq!(telex.number("select count(*) from messages where sent_at is null"), 9);
    assert_eq!(conflicts(&processor), 0);
}

#[test]
fn a_duplicate_in_a_later_batch_or_after_a_restart_is_looked_up_and_refuses_no_batch() {
    let (mut telex, api, mut processor) = Telex::at_work();
    let said = |id: &str| message("again", id, "Hello");
    // Each in a batch of its own: the client is created here, so that its ids are known.
    for id in ["1", "1", "2", "1", "2"] {
        keep(&api, &said(id));
        telex.wait_until_applied();
    }
    assert_eq!(conflicts(&processor), 0);
    processor.stop().unwrap();

    // Now the client is known and its ids are not.
    let processor = telex.processor();
    for id in ["3", "1", "3", "4", "2", "4"] {
        keep(&api, &said(id));
        telex.wait_until_applied();
    }
    telex.assert_counts([("/rows/messages", 4), ("/duplicates", 7)]);
    assert_eq!(conflicts(&processor), 0);
}

#[test]
fn a_client_with_more_messages_than_ids_are_kept_of_has_its_duplicates_found() {
    let (telex, api, processor) = Telex::at_work();
    for _ in ["new", "repeated"] {
        telex.wait_until_applied();
        for number in 0..40 {
            keep(&api, &message("talks", &number.to_string(), "Hello"));
        }
    }
    telex.assert_counts([("/rows/messages", 40), ("/duplicates", 40)]);
    assert_eq!(conflicts(&processor), 0);
}

#[test]
fn a_row_that_somebody_else_wrote_costs_one_refusal_and_no_message() {
    let (telex, api, processor) = Telex::at_work();
    keep(&api, &message("client", "1", "one"));
    telex.wait_until_applied();
    // All ids of the client are known, and now they are not.
    let foreign = |id: &str, text: &str| {
        telex.execute(&format!(
            "insert into messages
             select record_offset + 1000000, appended_at, received_at, sent_at, partition, topic_ref, client_id,
                    dialog_id, body_hash, '{id}', request_id, '{text}'
             from messages where external_message_id = '1'"
        ));
    };
    foreign("2", "two");
    foreign("3", "drei");
    for (id, text) in [("2", "two"), ("3", "three"), ("4", "four")] {
        keep(&api, &message("client", id, text));
    }
    telex.wait_until_applied();

    assert_eq!(conflicts(&processor), 1, "after the first the client is not believed to be known");
    let found = telex.text(
        "select string_agg(external_message_id || ' ' || text, ', ' order by external_message_id) from messages",
    );
    assert_eq!(found, "1 one, 2 two, 3 drei, 4 four");
    assert_eq!(telex.number("select sum(duplicates)::bigint from partition_progress"), 1);
    assert_eq!(telex.number("select count(*) from dead_letters where reason = 'conflicting_duplicate'"), 1);
    let unaccounted = "select count(*) from partition_progress
                       where messages + duplicates + commands + dead_letters + control <> next_offset - birth_offset";
    assert_eq!(telex.number(unaccounted), 0);
    assert_eq!(telex.halts(), Vec::<Value>::new());
}

#[test]
fn a_process_that_froze_within_a_copy_holds_up_nobody_for_long() {
    let (mut telex, api) = Telex::with_api();
    let kept = keep(&api, &message("frozen", "1", "Hello"));
    let client_id = kept["client_id"].as_str().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = PgConnectOptions::from_str(&telex.programs.database_url).unwrap();
    let options = options.application_name("telex-processor");
    // As such a process leaves it: a client that nobody sees, and rows that do not come.
    let mut frozen = runtime.block_on(async {
        let mut connection: PgConnection = options.connect().await.unwrap();
        let written =
            format!("begin; insert into clients values ('{client_id}', 'frozen', '+70000000000', now())");
        sqlx::raw_sql(AssertSqlSafe(written)).execute(&mut connection).await.unwrap();
        connection
    });
    let copy = runtime.block_on(frozen.copy_in_raw("copy messages from stdin (format binary)")).unwrap();

    let _processor = telex.processor();
    assert_eq!(telex.assert_clean()["rows"]["messages"], 1);
    drop(copy);
}
