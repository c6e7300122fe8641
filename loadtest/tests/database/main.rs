//! The verification and the watch against the real tables: what a run left there, and the same with each
//! kind of wrong row planted into it.
#![expect(clippy::unwrap_used, reason = "a failed set-up is a failed test")]

mod tables;

use std::{collections::BTreeSet, time::Duration};

use loadtest::{
    stats::{Lag, Stats},
    verify::{self, Receipts, Verdict},
    watch::watch,
};
use tables::Tables;

async fn verdict(tables: &Tables) -> Verdict {
    let receipts = Receipts { plan: &tables.plan, ledger: &tables.ledger, in_batches: false };
    verify::verify(&receipts, &tables.database()).await.unwrap()
}

#[tokio::test]
async fn what_a_run_left_is_clean_also_beside_the_rows_of_others() {
    let mut tables = Tables::after_a_run("clean").await;
    tables.execute("insert into messages select record_offset, appended_at, received_at, sent_at, partition, topic_ref,
                    client_id, dialog_id, body_hash, 'other-' || external_message_id, request_id, text from messages").await;
    let verdict = verdict(&tables).await;
    assert!(verdict.is_clean(), "{:?}", verdict.findings);
    assert_eq!((verdict.rows, verdict.promised), (tables.kept, tables.kept));
    assert!(verdict.clients > 20, "{}", verdict.clients);
    tables.drop_database().await;
}

/// What is done to the tables, and what has to be said of them.
const PLANTED: [(&str, &str, &str); 9] = [
    ("lost", "delete from messages where record_offset = (select max(record_offset) from messages)", "missing"),
    (
        "doubled",
        "alter table messages drop constraint messages_pkey;
         insert into messages select * from messages where record_offset = (select max(record_offset) from messages)",
        "doubled",
    ),
    (
        "moved",
        "update messages set client_id = gen_random_uuid()
         where record_offset = (select max(record_offset) from messages)",
        "strays",
    ),
    (
        "altered",
        "update messages set text = text || '!' where record_offset = (select max(record_offset) from messages)",
        "altered",
    ),
    ("elsewhere", "update messages set record_offset = record_offset + 1000000", "elsewhere"),
    (
        "two_active",
        "drop index dialogs_active_client_id_key;
         insert into dialogs (client_id, id, opened_at, topic_ref, partition, opened_offset)
         select client_id, gen_random_uuid(), opened_at, topic_ref, partition, opened_offset from dialogs limit 1",
        "several_active",
    ),
    ("no_dialog", "delete from dialogs where client_id = (select client_id from messages limit 1)", "no_dialog"),
    ("no_alias", "delete from client_aliases", "no_alias"),
    ("no_client", "delete from clients where id = (select client_id from messages limit 1)", "wrong_client"),
];

#[tokio::test]
async fn each_kind_of_wrong_row_is_named() {
    for (name, plant, finding) in PLANTED {
        let mut tables = Tables::after_a_run(name).await;
        tables.execute(plant).await;
        let kinds: BTreeSet<&str> = verdict(&tables).await.findings.kinds().keys().copied().collect();
        assert!(kinds.contains(finding), "{name}: {kinds:?}");
        tables.drop_database().await;
    }
}

#[tokio::test]
async fn a_sample_is_stored_when_its_row_is_committed_and_not_before() {
    let mut tables = Tables::after_a_run("watch").await;
    let stats = Stats::new().unwrap();
    let (probes, watch) = watch(tables.database(), stats.clone(), Some(1.0));
    let watching = service_kit::spawn("watch", watch.run());
    let due = tokio::time::Instant::now();
    let (client_id, id) = tables.new_message();
    probes.offer(0, due, || Some((client_id, id.clone())));
    drop(probes);

    tokio::time::sleep(Duration::from_millis(200)).await;
    tables.execute("begin").await;
    tables.insert_message(client_id, &id).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(stats.tally().stored.is_empty(), "seen before the commit");
    tables.execute("commit").await;
    let committed = due.elapsed();
    watching.await.unwrap();

    let tally = stats.tally();
    let stored = Duration::from_micros(tally.stored.max());
    // The histogram rounds to three digits.
    assert!(
        stored + Duration::from_millis(1) >= committed && stored < committed + Duration::from_secs(2),
        "{stored:?}"
    );
    assert_eq!((tally.stored.len(), tally.probes_skipped, tally.probes_unseen), (1, 0, 0));
    assert_eq!(tally.lag_most, Some(Lag::default()));
    tables.drop_database().await;
}
