//! Settings of the server that end sessions, change transactions or hold a COMMIT up.

use std::{thread::sleep, time::Duration};

use crate::{
    harness::{SOON, Telex, keep, message, metric, wait_for},
    topic::{Writer, client_beside},
};

#[test]
fn what_the_database_sets_for_sessions_and_transactions_does_not_reach_a_writer() {
    let mut telex = Telex::new();
    let database = telex.group().to_owned();
    for setting in [
        "idle_session_timeout = '1s'",
        "transaction_timeout = '1s'",
        "statement_timeout = '1s'",
        "default_transaction_isolation = 'serializable'",
    ] {
        telex.execute(&format!("alter database {database} set {setting}"));
    }
    telex.execute(
        "create function look() returns trigger language plpgsql as $$begin
             if current_setting('transaction_isolation') <> 'read committed' then
                 raise exception 'another isolation';
             end if;
             perform pg_sleep(1.5);
             return null;
         end$$;
         create trigger look before insert on messages for each statement execute function look()",
    );
    let writer = Writer::new(&telex);
    let processor = telex.processor();
    writer.messages("client", 0..3);
    telex.wait_until_applied();
    sleep(Duration::from_secs(3));
    writer.messages("client", 3..6);
    writer.messages(&client_beside("client"), 0..3);
    telex.assert_counts([("/rows/messages", 9), ("/rows/dead_letters", 0)]);
    let log = processor.server.log_text();
    assert!(!log.contains("not applied") && !log.contains("outcome of a transaction"), "{log}");
}

/// How a COMMIT that waits for a standby ends.
enum Release {
    /// An operator cancels the waiting session.
    Cancel,
    Reset,
}

#[test]
fn a_commit_that_waits_for_a_standby_that_is_not_there_and_becomes_visible_late_loses_and_blames_nothing() {
    let (mut telex, servers) = Telex::with_own_servers();
    let api = telex.ingest_api();
    let processor = telex.processor_with(&["--lanes=1"]);
    keep(&api, &message("early", "1", "Hello"));
    telex.assert_clean();
    for (round, release) in [Release::Cancel, Release::Reset].into_iter().enumerate() {
        let abandoned = || metric(&processor, "processor_abandoned_attempts_total").unwrap_or_default();
        let before = abandoned();
        telex.execute("alter system set synchronous_standby_names = 'nobody'");
        telex.execute("select pg_reload_conf()");
        sleep(Duration::from_secs(1));
        for client in 0..5 {
            keep(&api, &message(&format!("late-{round}-{client}"), "1", "Hello"));
            keep(&api, &message("early", &format!("{round}-{client}"), "Hello"));
        }
        wait_for("an attempt to be left behind", SOON, || abandoned() > before);
        // What is tried again meanwhile waits for the rows of the COMMIT that waits.
        wait_for("SQLSTATE 55P03", SOON, || processor.server.log_text().contains("55P03"));
        let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        assert!(telex.number(waiting) > 0);
        if matches!(release, Release::Cancel) {
            telex.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'");
            sleep(Duration::from_secs(3));
        }
        telex.execute("alter system reset synchronous_standby_names");
        telex.execute("select pg_reload_conf()");
        telex.wait_until_applied();
    }
    telex.assert_counts([("/rows/messages", 21), ("/rows/dead_letters", 0)]);
    assert_eq!(telex.number("select count(*) from halts"), 0);
    drop(servers);
}

#[test]
fn batches_that_a_crashed_server_had_not_on_disk_come_again_from_the_topic() {
    let (mut telex, mut servers) = Telex::with_own_servers();
    let api = telex.ingest_api();
    let processor = telex.processor_with(&["--commit=replayable"]);
    keep(&api, &message("client", "before", "Hello"));
    telex.assert_clean();
    // What nobody waits for reaches the disk in ten seconds, not in a fifth of one.
    telex.execute("alter system set wal_writer_delay = '10s'");
    telex.execute("select pg_reload_conf()");
    sleep(Duration::from_secs(1));
    for number in 0..20 {
        keep(&api, &message(&format!("client-{}", number % 3), &number.to_string(), "Hello"));
    }
    wait_for("all of them", Duration::from_secs(30), || telex.messages() == 21);
    servers.postgres.kill();
    servers.postgres.start_again().unwrap();
    wait_for("rows that went back", SOON, || {
        let seen = r#"processor_differences_total{difference="next_offset"}"#;
        metric(&processor, seen).is_some_and(|seen| seen > 0)
    });
    telex.assert_counts([("/rows/messages", 21), ("/rows/dead_letters", 0)]);
}
