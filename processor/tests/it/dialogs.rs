//! One client, one active dialog.

use std::time::Duration;

use serde_json::json;

use crate::harness::{SOON, Telex, close_dialog, keep, message, wait_for};

#[test]
fn simultaneous_first_messages_of_one_client_through_two_api_instances_open_one_dialog() {
    let mut telex = Telex::new();
    let apis = [telex.ingest_api(), telex.ingest_api()];
    let _processors = [telex.processor(), telex.processor()];
    for client in 0..20 {
        let client = format!("client-{client}");
        std::thread::scope(|scope| {
            for (at, api) in apis.iter().enumerate() {
                let message = message(&client, &format!("m-{at}"), "Hello");
                scope.spawn(move || keep(api, &message));
            }
        });
    }
    assert_eq!(
        telex.assert_clean()["rows"],
        json!({"clients": 20, "dialogs": 20, "messages": 40, "dead_letters": 0, "active_dialogs": 20, "client_aliases": 0})
    );
}

#[test]
fn the_same_phone_in_two_sources_gives_two_clients() {
    let (telex, api, _processor) = Telex::at_work();
    let one = keep(&api, &message("client00000000000000000000000000", "1", "Hello"));
    let other = keep(&api, &message("client00000000000000000000000001", "1", "Hello"));
    assert_ne!(one["client_id"], other["client_id"]);
    telex.assert_counts([("/rows/clients", 2), ("/rows/dialogs", 2)]);
    assert_eq!(telex.number("select count(*) from clients where client_phone = '+70000000000'"), 2);
}

#[test]
fn a_dialog_closed_over_http_ends_among_its_clients_messages() {
    let (telex, api, _processor) = Telex::at_work();
    let first = keep(&api, &message("shop", "1", "Hello"));
    let close = close_dialog(&api, &first["client_id"]);
    assert_eq!(close["record"]["partition"], first["record"]["partition"]);
    keep(&api, &message("shop", "2", "Hello again"));
    // Nothing is open: nothing changes.
    let stranger = keep(&api, &message("other", "1", "Hello"));
    close_dialog(&api, &stranger["client_id"]);
    close_dialog(&api, &stranger["client_id"]);
    assert_eq!(
        telex.assert_clean()["rows"],
        json!({"clients": 2, "dialogs": 3, "messages": 3, "dead_letters": 0, "active_dialogs": 1, "client_aliases": 0})
    );
    assert_eq!(telex.number("select sum(commands)::bigint from partition_progress"), 3);
}

#[test]
fn a_silence_longer_than_the_gap_ends_a_dialog_and_a_duplicate_does_not_keep_it_alive() {
    let (mut telex, api, mut processor) = Telex::at_work();
    processor.wait_until_ready().unwrap();
    let talk = |client: &str, id: &str| keep(&api, &message(client, id, "Hello"));
    // Before any rule: silence ends nothing.
    talk("wa-1", "1");
    talk("mail-1", "1");
    telex.wait_until_applied();
    let rules = ["dialog-rules", "set", "--idle-gap=never", "--idle-gap=wa-=2s"];
    telex.programs.require_processor(&[&rules[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(telex.number("select count(*) from dialog_rules"), 0);
    telex.programs.require_processor(&[&rules[..], &["--yes"]].concat()).unwrap();

    std::thread::sleep(Duration::from_millis(2_500));
    talk("wa-1", "2");
    talk("mail-1", "2");
    telex.assert_clean();
    assert_eq!(telex.number("select count(*) from dialogs"), 2, "what came before the rule is not measured");
    std::thread::sleep(Duration::from_millis(1_200));
    talk("wa-1", "1");
    std::thread::sleep(Duration::from_millis(1_500));
    talk("wa-1", "3");
    talk("wa-1", "4");
    talk("mail-1", "3");
    telex.assert_counts([("/rows/dialogs", 3), ("/rows/active_dialogs", 2)]);
    let exactly_at_its_end = "
        select count(*) from dialogs join messages using (client_id)
        where close_reason = 'idle_gap' and external_message_id = '2' and closed_at = appended_at + interval '2 seconds'
          and dialogs.last_message_at = appended_at";
    assert_eq!(telex.number(exactly_at_its_end), 1);
    let measured = "select count(*) from dialogs where last_message_at is not null";
    assert_eq!(telex.number(measured), 2, "wa-1's only");

    processor.stop().unwrap();
    telex.assert_replayed(
        "select hashtextextended(string_agg(dialogs::text, ',' order by id), 0) from dialogs",
    );
}

#[test]
fn a_changed_rule_fences_what_was_folded_by_the_old_one() {
    let (mut telex, api) = Telex::with_api();
    let _processors = [telex.processor(), telex.processor()];
    let mut load = telex.load(&api, 200_000, 800);
    wait_for("the first rows", SOON, || telex.applied_offsets() > 500);
    for gap in ["--idle-gap=1s", "--idle-gap=2s", "--none", "--idle-gap=1s"] {
        telex.programs.require_processor(&["dialog-rules", "set", gap, "--yes"]).unwrap();
        let before = telex.applied_offsets();
        wait_for("rows under the rule", SOON, || telex.applied_offsets() > before + 1_000);
        // From here the next proof goes on: within dialogs that are idle, are not, or never will be.
        telex.prove_with(&["--since-last"]);
        assert_eq!(telex.prove()["verdict"], "clean");
    }
    load.stop(Duration::from_secs(30)).unwrap();
    telex.assert_clean();
    assert!(telex.number("select count(*) from dialogs where close_reason = 'idle_gap'") > 0);
}
