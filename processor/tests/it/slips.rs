//! Somebody changes the tables while messages come: their partitions stand still by name, and no good message
//! becomes a dead letter.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    asked::assert_says,
    harness::{SOON, Telex, block_on, readiness, wait_for},
    topic::{client_beside, client_id, partition_of},
};

struct Slip {
    sqlstate: &'static str,
    names: Value,
    make: &'static str,
    undo: &'static str,
}

fn slips() -> Vec<Slip> {
    let slip = |sqlstate, names, make, undo| Slip { sqlstate, names, make, undo };
    vec![
        slip(
            "23502",
            json!({"table": "messages", "column": "tenant"}),
            "alter table messages add column tenant text not null default ''; alter table messages alter column tenant drop default",
            "alter table messages drop column tenant",
        ),
        slip(
            "42703",
            json!({"table": "messages", "column": "body_hash"}),
            "alter table messages rename column body_hash to body_hash_away",
            "alter table messages rename column body_hash_away to body_hash",
        ),
        slip(
            "42P01",
            json!({"table": "messages"}),
            "alter table messages rename to messages_away",
            "alter table messages_away rename to messages",
        ),
        slip(
            "42804",
            json!({"column": "body_hash"}),
            "alter table messages add column kept bytea; update messages set kept = body_hash;
             alter table messages alter column body_hash type integer using 0",
            "alter table messages alter column body_hash type bytea using kept; alter table messages drop column kept",
        ),
        // Every value would fit: as it is cast, not as its bytes are.
        slip(
            "42804",
            json!({"table": "messages", "column": "body_hash"}),
            "alter table messages alter column body_hash type text using encode(body_hash, 'hex')",
            "alter table messages alter column body_hash type bytea using decode(body_hash, 'hex')",
        ),
        slip(
            "42P10",
            json!({}),
            "alter table messages drop constraint messages_pkey",
            "alter table messages add constraint messages_pkey primary key (client_id, external_message_id)",
        ),
        slip(
            "23514",
            json!({"table": "messages", "constraint": "messages_are_rude"}),
            "alter table messages add constraint messages_are_rude check (text <> 'Hello') not valid",
            "alter table messages drop constraint messages_are_rude",
        ),
        slip(
            "P0001",
            json!({"routine": "refuse_all"}),
            "create function refuse_all() returns trigger language plpgsql as
                 $$begin raise exception 'not this one: %', new.text; end$$;
             create trigger refuse before insert on messages for each row execute function refuse_all()",
            "drop function refuse_all() cascade",
        ),
    ]
}

/// Ends each halt where it stands.
fn resume_all(telex: &Telex) {
    for halt in telex.halts() {
        let partition = halt["partition"].as_i64().unwrap().try_into().unwrap();
        let at = telex.next_offset(partition);
        telex.resume(partition, at, at, halt["reason"].as_str().unwrap());
    }
}

#[test]
fn tables_that_somebody_changes_halt_by_name_and_no_good_message_becomes_a_dead_letter() {
    let (mut telex, writer) = Telex::with_writer();
    let (client, other) = ("client", client_beside("client"));
    let processor = telex.processor();
    writer.messages(client, 0..3);
    telex.assert_clean();
    for (round, Slip { sqlstate, names, make, undo }) in (1..).zip(slips()) {
        telex.execute(make);
        writer.messages(client, round * 10..round * 10 + 3);
        writer.messages(&other, round * 10..round * 10 + 3);
        wait_for(sqlstate, SOON, || telex.halts().len() == 2);
        for halt in telex.halts() {
            assert_eq!(halt["reason"], "schema_mismatch", "{halt:#}");
            assert_eq!(halt["numbers"]["sqlstate"], sqlstate, "{halt:#}");
            for (kind, name) in names.as_object().unwrap() {
                assert_eq!(halt["numbers"][kind], *name, "{halt:#}");
            }
            assert!(!halt.to_string().contains("Hello"), "{halt:#}");
        }
        assert!(readiness(&processor).1.contains("schema_mismatch"), "{}", readiness(&processor).1);
        telex.execute(undo);
        resume_all(&telex);
        telex.wait_until_applied();
    }
    telex.assert_counts([("/rows/messages", 3 + 6 * slips().len()), ("/rows/dead_letters", 0)]);
    assert!(
        !processor.server.log_text().contains("not this one"),
        "what a trigger says may be what a client wrote"
    );
}

#[test]
fn a_check_that_refuses_one_message_halts_its_partition_and_the_others_go_on() {
    let (mut telex, writer) = Telex::with_writer();
    let other = client_beside("client");
    telex.execute("alter table messages add constraint no_poison check (text <> 'POISON')");
    writer.messages(&other, 0..20);
    writer.message("client", "poisoned", "POISON");
    writer.messages(&other, 20..40);
    writer.messages("client", 0..20);
    let _processor = telex.processor();
    assert_eq!(telex.halted()["partition"], partition_of("client"));
    wait_for("the other partition", SOON, || telex.messages() == 40);
    telex.execute("alter table messages drop constraint no_poison");
    resume_all(&telex);
    telex.assert_counts([("/rows/messages", 61), ("/rows/dead_letters", 0)]);
}

#[test]
fn a_server_that_takes_no_writes_for_a_while_halts_nothing() {
    let (mut telex, writer) = Telex::with_writer();
    let processor = telex.processor();
    writer.messages("client", 0..3);
    telex.assert_clean();
    let database = telex.group().to_owned();
    let end_sessions = "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'telex-processor'";
    telex.execute(&format!("alter database {database} set default_transaction_read_only = on"));
    telex.execute(end_sessions);
    writer.messages("client", 3..6);
    wait_for("SQLSTATE 25006", SOON, || processor.server.log_text().contains("25006"));
    block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        let open = "set default_transaction_read_only = off";
        sqlx::raw_sql(open).execute(&mut connection).await.unwrap();
        let reset = format!("alter database {database} reset default_transaction_read_only");
        sqlx::raw_sql(AssertSqlSafe(reset)).execute(&mut connection).await.unwrap();
    });
    telex.assert_counts([("/rows/messages", 6), ("/rows/dead_letters", 0)]);
    assert_eq!(telex.number("select count(*) from halts"), 0);
}

#[test]
fn a_pair_that_a_foreign_writer_gave_to_another_id_is_the_one_record_to_be_kept_aside() {
    let (mut telex, writer) = Telex::with_writer();
    telex.execute(
        "insert into clients values ('00000000-0000-0000-0000-000000000001', 'client', '+70000000000', now())",
    );
    let beside = client_beside("client");
    writer.messages(&beside, 0..5);
    writer.messages("client", 0..1);
    writer.messages(&beside, 5..10);
    let _processor = telex.processor();
    telex.wait_until_applied();
    let (messages, refused) =
        (telex.messages(), telex.number("select count(*) from dead_letters where detail like '%23505'"));
    assert_eq!((messages, refused, telex.halts().len()), (10, 1, 0));
    telex.execute("delete from clients where external_client_id = 'client'");
    telex.say(&["dead-letters", "replay", "--reason", "rejected_by_database", "--yes"]);
    telex.assert_counts([("/rows/messages", 11), ("/rows/dead_letters", 1)]);
}

#[test]
fn an_active_dialog_that_a_foreign_writer_made_halts_its_partition_and_blames_no_message() {
    let (mut telex, writer) = Telex::with_writer();
    let client = client_id("client").as_uuid();
    telex.execute(&format!(
        "insert into dialogs values ('{client}', gen_random_uuid(), now(), null, null, 1, 0, 0, null)"
    ));
    let other = client_beside("client");
    writer.messages("client", 0..3);
    writer.messages(&other, 0..3);
    let _processor = telex.processor();
    let halt = telex.halted();
    assert_says(&halt, [("/reason", "foreign_write".into()), ("/partition", partition_of("client").into())]);
    wait_for("the other partition", SOON, || telex.messages() == 3);
    telex.execute(&format!("delete from dialogs where client_id = '{client}'"));
    resume_all(&telex);
    telex.assert_counts([("/rows/messages", 6), ("/rows/dead_letters", 0)]);
}
