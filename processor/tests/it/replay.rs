//! Dead letters, looked at and replayed.

use serde_json::Value;

use crate::{
    harness::Telex,
    topic::{self, Writer, client_id, partition_of},
};

/// The database refuses one text: it is too long for an index that somebody added.
const REFUSE: &str = "create index no_poison on messages (text)";
const ACCEPT: &str = "drop index no_poison";

/// Begins with `POISON`, and has no repetition that would make it short in an index.
fn poison() -> String {
    let mut state: u32 = 1;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + u8::try_from((state >> 16) % 90).unwrap())
    };
    let noise: String = (0..9_000).map(|_| letter()).collect();
    format!("POISON{noise}")
}

/// A client with 40 messages around one that the database refuses, all applied as far as possible.
fn telex_with_a_letter() -> (Telex, dev_env::programs::Running) {
    let mut telex = Telex::new();
    telex.execute(REFUSE);
    let writer = Writer::new(&telex);
    writer.messages("client", 0..20);
    writer.message("client", "poisoned", &poison());
    writer.messages("client", 20..40);
    writer.messages(&topic::client_beside("client"), 0..20);
    let processor = telex.processor();
    let report = telex.assert_clean();
    assert_eq!(report["rows"]["messages"], 60, "the neighbours are applied");
    assert_eq!(report["dead_letters"]["rejected_by_database"], 1);
    (telex, processor)
}

fn log_end(telex: &Telex) -> i64 {
    topic::log_end(telex, partition_of("client"))
}

#[test]
fn a_record_that_the_database_refuses_is_found_alone_and_replayed_once_it_accepts_it() {
    let (telex, _processor) = telex_with_a_letter();
    let list =
        |more: &[&str]| -> Value { telex.json(&[&["dead-letters", "list", "--json"][..], more].concat()) };
    let client = client_id("client").as_uuid().to_string();
    let letters = list(&["--reason", "rejected_by_database", "--client-id", &client, "--not-replayed"]);
    assert_eq!((letters.as_array().unwrap().len(), &letters[0]["offset"]), (1, &20.into()));
    assert_eq!(list(&["--reason", "null_key"]).as_array().unwrap().len(), 0);
    let place = format!("{}/20", partition_of("client"));
    let shown = telex.say(&["dead-letters", "show", &place]);
    assert!(shown.contains("54000") && !shown.contains("POISON"), "{shown}");
    assert!(telex.say(&["dead-letters", "show", &place, "--content"]).contains("POISON"));
    let exported: Value = telex.json(&["dead-letters", "export"]);
    assert!(exported["value"].as_str().unwrap().contains("POISON"), "{exported}");

    telex.execute(ACCEPT);
    let end = log_end(&telex);
    let said = telex.say(&["dead-letters", "replay", "--reason", "rejected_by_database", "--dry-run"]);
    assert!(said.contains("1 would be replayed, nothing was written"), "{said}");
    assert_eq!(log_end(&telex), end, "a dry run writes nothing");
    telex.say(&["dead-letters", "replay", "--at", &place, "--yes"]);
    telex.assert_counts([("/rows/messages", 61), ("/rows/dialogs", 2)]);
    let marked =
        format!("select count(*) from dead_letters where replayed_offset = {end} and replay_attempt = 1");
    assert_eq!(telex.number(&marked), 1);

    let refused = telex.refuse(&["dead-letters", "replay", "--at", &place, "--yes"]);
    assert!(refused.contains("replayed before"), "{refused}");
    assert_eq!(log_end(&telex), end + 1);
    // As if the tool had ended between the brokers' answer and its mark.
    telex.execute(
        "update dead_letters set replayed_at = null, replayed_partition = null, replayed_offset = null, replay_attempt = null",
    );
    telex.say(&["dead-letters", "replay", "--client-id", &client, "--yes"]);
    telex.assert_counts([("/rows/messages", 61), ("/duplicates", 1)]);
}

#[test]
fn a_letter_that_comes_back_carries_its_number_and_stops_at_the_limit() {
    let (telex, _processor) = telex_with_a_letter();
    for attempt in 1..=3 {
        telex.say(&["dead-letters", "replay", "--reason", "rejected_by_database", "--not-replayed", "--yes"]);
        telex.assert_clean();
        assert_eq!(telex.number("select count(*) from dead_letters"), attempt + 1);
        assert_eq!(telex.number("select max(replay_attempt)::bigint from dead_letters"), attempt);
    }
    let end = log_end(&telex);
    let refused = telex.refuse(&[
        "dead-letters",
        "replay",
        "--reason",
        "rejected_by_database",
        "--not-replayed",
        "--yes",
    ]);
    assert!(refused.contains("came back from attempt 3"), "{refused}");
    assert_eq!(log_end(&telex), end);
    let origin = "select count(*) from dead_letters
                  where headers @> '[{\"name\": \"x-telex-replay-attempt\", \"value\": \"3\"}]'";
    assert_eq!(telex.number(origin), 1);
}

#[test]
fn a_letter_of_nobody_is_not_replayed_and_one_in_a_wrong_partition_is_put_right() {
    let (mut telex, writer) = Telex::with_writer();
    writer.garbage(0);
    writer.flush();
    let wrong = (partition_of("client") + 1) % dev_env::programs::PARTITIONS;
    writer.message_in(wrong, "client", "astray", "Hello");
    writer.flush();
    let _processor = telex.processor();
    assert_eq!(telex.assert_clean()["dead_letters"]["wrong_partition"], 1);
    let refused = telex.refuse(&["dead-letters", "replay", "--reason", "null_key", "--yes"]);
    assert!(refused.contains("would be refused again: the record has no key"), "{refused}");
    telex.say(&["dead-letters", "replay", "--reason", "wrong_partition", "--yes"]);
    telex.assert_counts([("/rows/messages", 1), ("/rows/dead_letters", 2)]);
}
