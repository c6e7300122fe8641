//! More partitions while messages flow.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use dev_env::{ports::Port, programs::Running};
use schemas::{ClientId, ExternalClientId, PartitionCount, Phone};
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{SOON, Telex, block_on, keep, message, post, wait_for},
    placement::switch_to_24,
    topic,
};

/// Messages whose order in their client is not that of their numbers.
const OUT_OF_ORDER: &str = "
    select count(*) from (
        select substring(text from 'number ([0-9]+)')::bigint as number,
               lag(substring(text from 'number ([0-9]+)')::bigint)
                   over (partition by client_id order by topic_ref, partition, record_offset) as before
        from messages where text like 'number %') as message
    where number < before";

/// A producer that waits for each answer: messages of one client, each with its number.
fn numbered(api: &Running, client: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        keep(api, &message(client, &format!("n-{number}"), &format!("number {number}")));
    }
}

fn partition_of(client: &str, count: i32) -> i32 {
    let external = ExternalClientId::parse(client).unwrap();
    let phone = Phone::parse("+7 (000) 000-00-00").unwrap();
    ClientId::of(&external, &phone.into()).partition(PartitionCount::new(count).unwrap()).0
}

fn api_with(telex: &mut Telex, partition_count: i32) -> Running {
    let count = format!("--partition-count={partition_count}");
    let mut api = telex.ingest_api_on(Port::Free, &[&count]);
    api.wait_until_ready().unwrap();
    api
}

#[test]
fn a_topic_grows_from_12_to_24_partitions_at_2000_messages_a_second() {
    let mut telex = Telex::new();
    let port = Port::Usual(Port::Free.pick().unwrap());
    let apis = [telex.ingest_api_on(port, &[]), telex.ingest_api()];
    let mut apis = apis.map(|mut api| {
        api.wait_until_ready().unwrap();
        api
    });
    let processors = [telex.processor(), telex.processor()];
    let mut load = telex.load(&apis[0], 1_000_000, 2_000);
    let clients: Vec<String> = (0..24).map(|n| format!("ordered-{n}")).collect();
    for client in &clients {
        numbered(&apis[1], client, 0..3);
    }

    // In place, by whatever tool: nothing happens but that rows are made.
    topic::raise_in_place(&telex, 24);
    wait_for("the new partitions to be registered", Duration::from_secs(90), || {
        telex.number("select count(*) from partition_progress where owner_epoch > 0") == 24
    });
    for client in &clients {
        numbered(&apis[1], client, 3..6);
    }
    let of_new = "select coalesce(sum(next_offset), 0)::bigint from partition_progress where partition >= 12";
    assert_eq!(telex.number(of_new), 0);
    let refused = telex.programs.run_processor(&["partitions", "switch", "--to=24", "--yes"]).unwrap();
    assert!(!refused.status.success(), "a switch under load is refused");

    // The documented steps: stop the APIs, wait, switch, start them with the new count.
    for api in &mut apis {
        api.stop().unwrap();
    }
    telex.programs.require_processor(&["partitions", "grow", "--to=24", "--yes"]).unwrap();
    telex.assert_clean();
    telex.programs.require_processor(&["partitions", "switch", "--to=24", "--dry-run"]).unwrap();
    telex.programs.require_processor(&["partitions", "switch", "--to=24", "--yes"]).unwrap();
    // One after the other: between them, only the new count is in use.
    let mut first = telex.ingest_api_on(port, &["--partition-count=24"]);
    first.wait_until_ready().unwrap();
    for client in &clients {
        numbered(&first, client, 6..9);
    }
    let second = api_with(&mut telex, 24);
    for client in &clients {
        numbered(&second, client, 9..12);
    }
    std::thread::sleep(Duration::from_secs(5));
    load.stop(Duration::from_secs(30)).unwrap();

    assert_eq!(telex.assert_clean()["rows"]["dead_letters"], 0);
    assert!(telex.number("select count(*) from messages where partition >= 12") > 1_000, "keys have moved");
    assert_eq!(telex.number(OUT_OF_ORDER), 0);
    assert_eq!(telex.number("select count(*) from messages where text like 'number %'"), 24 * 12);
    let two_active = "select count(*) from (
        select client_id from dialogs where closed_at is null group by client_id having count(*) > 1) as two";
    assert_eq!(telex.number(two_active), 0);
    assert_eq!(telex.number("select count(*) from dialogs"), telex.number("select count(*) from clients"));
    assert!(processors.iter().all(|processor| processor.server.is_running()));
}

#[test]
fn an_api_with_the_new_count_before_the_switch_waits_and_loses_nothing() {
    // Where it is told the count, it does not start.
    let mut telex = Telex::without_placement();
    let early = api_with(&mut telex, 12);
    let processor = telex.ready_processor();
    let moving = (0..).map(|n| format!("client-{n}")).find(|client| partition_of(client, 24) >= 12).unwrap();
    numbered(&early, &moving, 0..2);
    telex.wait_until_applied();
    telex.programs.require_processor(&["partitions", "grow", "--to=24", "--yes"]).unwrap();
    wait_for("the new partitions", Duration::from_secs(90), || {
        telex.number("select count(*) from partition_progress where owner_epoch > 0") == 24
    });
    let hasty = api_with(&mut telex, 24);
    numbered(&hasty, &moving, 2..4);
    wait_for("the halt", Duration::from_secs(30), || {
        processor.metrics().contains(r#"reason="awaits_switch""#)
    });
    assert_eq!(telex.messages(), 2);
    telex.programs.require_processor(&["partitions", "switch", "--to=24", "--yes"]).unwrap();
    // The switch has ended the halt: no further command, and no restart.
    // One dialog, opened before the move and continued after it.
    telex.assert_counts([("/rows/messages", 4), ("/rows/dialogs", 1)]);
    let kept = |reason: &str| {
        format!("select count(*) from interventions where reason = '{reason}' and halt_id is ")
    };
    assert_eq!(telex.number(&(kept("awaits_switch") + "not null")), 1, "the halt ends by the switch");
    assert_eq!(telex.number(&(kept("partitions_switched") + "null")), 23);
    assert_eq!(telex.number(OUT_OF_ORDER), 0);
}

#[test]
fn a_dry_run_of_the_switch_sees_as_the_switch_does_that_somebody_still_writes() {
    let (mut telex, api) = Telex::with_api();
    let _processor = telex.ready_processor();
    telex.programs.require_processor(&["partitions", "grow", "--to=24", "--yes"]).unwrap();
    let (address, is_seen) = (api.address.unwrap(), AtomicBool::new(false));
    let dry_run = ["partitions", "switch", "--to=24", "--dry-run"];
    std::thread::scope(|scope| {
        // Rare enough that mostly everything is applied, and not longer than the test waits.
        scope.spawn(|| {
            for number in 0..200 {
                let (status, _) = post(address, &message("client", &format!("m-{number}"), "Hello"));
                assert_eq!(status, 202);
                std::thread::sleep(Duration::from_millis(400));
                if is_seen.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        wait_for("a word about who writes", SOON, || telex.refuse(&dry_run).contains("is still written to"));
        is_seen.store(true, Ordering::Relaxed);
    });
    telex.wait_until_applied();
    assert!(telex.say(&dry_run).contains("nothing was written for 3 s"));
}

#[test]
fn a_forgotten_api_with_the_old_count_after_the_switch_is_seen_and_its_letter_is_replayed_to_the_partition_in_force()
 {
    // Where it is told the count, it ends.
    let mut telex = Telex::without_placement();
    let forgotten = api_with(&mut telex, 12);
    let _processor = telex.ready_processor();
    let moving = (0..).map(|n| format!("client-{n}")).find(|client| partition_of(client, 24) >= 12).unwrap();
    numbered(&forgotten, &moving, 0..1);
    switch_to_24(&telex);
    numbered(&forgotten, &moving, 1..2);
    let current = api_with(&mut telex, 24);
    numbered(&current, &moving, 2..3);
    let wrong = ("/dead_letters/wrong_partition", 1);
    telex.assert_counts([wrong, ("/rows/messages", 2), ("/rows/active_dialogs", 1)]);

    // Its replay goes where the client's messages go now.
    let said = telex.say(&["dead-letters", "replay", "--reason", "wrong_partition", "--yes"]);
    assert!(said.contains(&format!("replayed to partition {} ", partition_of(&moving, 24))), "{said}");
    telex.assert_counts([("/rows/dead_letters", 1), ("/rows/messages", 3), ("/rows/active_dialogs", 1)]);
}

#[test]
fn a_topic_that_has_grown_folds_into_an_empty_database_with_the_same_dialogs() {
    let mut telex = Telex::new();
    let mut old = api_with(&mut telex, 12);
    let mut processor = telex.ready_processor();
    let clients: Vec<String> = (0..20).map(|n| format!("client-{n}")).collect();
    clients.iter().for_each(|client| numbered(&old, client, 0..3));
    old.stop().unwrap();
    switch_to_24(&telex);
    let new = api_with(&mut telex, 24);
    clients.iter().for_each(|client| numbered(&new, client, 3..6));
    telex.assert_clean();
    processor.stop().unwrap();
    let rows = |telex: &Telex| {
        telex.number(
            "select hashtextextended(string_agg(id::text || opened_at::text || partition::text, ',' order by id), 0)
             from dialogs",
        )
    };
    let before = rows(&telex);

    telex.execute(
        "truncate halts, interventions, messages, dialogs, clients, dead_letters, placements, dialog_rules, dialog_rule_starts,
                  proofs, proved_partitions, partition_progress, topics",
    );
    telex.programs.require_processor(&["partitions", "register", "--count=12", "--yes"]).unwrap();
    let processor = telex.processor();
    wait_for("the old partitions to be applied", SOON, || {
        telex.messages() >= 60 && processor.metrics().contains(r#"reason="awaits_switch""#)
    });
    wait_for("the switch to be possible", SOON, || {
        let switch = ["partitions", "switch", "--to=24", "--yes"];
        telex.programs.run_processor(&switch).unwrap().status.success()
    });
    telex.assert_clean();
    assert_eq!(rows(&telex), before);
}

#[test]
fn a_partition_that_has_lost_its_row_stops_and_is_not_taken_for_a_new_one() {
    let mut telex = Telex::new();
    let mut processor = telex.ready_processor();
    processor.stop().unwrap();
    telex.execute("delete from partition_progress where partition = 11");
    let processor = telex.processor();
    wait_for("the halt", SOON, || {
        processor.metrics().contains(r#"partition="11",reason="unregistered_partition""#)
    });
    assert_eq!(telex.number("select count(*) from partition_progress"), 11);
}

#[test]
fn two_processors_that_meet_new_partitions_at_once_register_each_once() {
    let telex = Telex::new();
    let mut starter = telex.programs.processor(&telex.directory, "starter", &["--group=starter"]).unwrap();
    starter.wait_until_ready().unwrap();
    starter.stop().unwrap();
    let more: Vec<_> =
        (12..24).map(|n| (schemas::Partition(n), processor::domain::position::Offset(0))).collect();
    let register = || {
        block_on(async {
            let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
            let topic = processor::domain::position::TopicRef(1);
            processor::store::registry::register_more(&mut connection, topic, &more).await.unwrap();
            connection.close().await.unwrap();
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(register);
        }
    });
    assert_eq!(telex.number("select count(*) from partition_progress"), 24);
    assert_eq!(telex.number("select known_partitions::bigint from topics"), 24);
}
