//! The tables are looked at before anything is applied.

use std::time::Duration;

use dev_env::programs::Programs;
use processor::store::schema;
use sqlx::{Connection as _, PgConnection};

use crate::{
    harness::{Telex, block_on, keep, message, wait_for},
    topic::Writer,
};

/// A database of its own beside the test's, without tables.
fn database(telex: &Telex, name: &str, how: &str) -> Programs {
    let name = format!("{}_{name}", telex.group());
    telex.execute(&format!("create database {name} template template0 {how}"));
    let (server, _) = telex.programs.database_url.rsplit_once('/').unwrap();
    Programs { database_url: format!("{server}/{name}"), ..telex.programs.clone() }
}

/// What a processor says that does not start.
fn refusal(telex: &mut Telex, programs: &Programs) -> String {
    let processor = telex.processor_of(programs);
    wait_for("the end of the processor", Duration::from_secs(30), || !processor.server.is_running());
    processor.server.log_text()
}

#[test]
fn a_database_that_is_not_utf8_is_refused_by_name_at_migrate_and_at_run() {
    let mut telex = Telex::new();
    for (name, encoding) in [("cyrillic", "WIN1251"), ("ascii", "SQL_ASCII")] {
        let programs = database(&telex, name, &format!("encoding '{encoding}' locale 'C'"));
        let refused = programs.run_processor(&["migrate"]).unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let words = format!("the database's encoding is {encoding}, must be UTF8");
        assert!(!refused.status.success() && said.contains(&words), "{said}");
        let log = refusal(&mut telex, &programs);
        assert!(log.contains(&words), "{log}");
    }
}

#[test]
fn a_database_that_sorts_by_a_locale_keeps_its_keys_in_the_order_of_their_bytes() {
    let mut telex = Telex::new();
    telex.programs =
        database(&telex, "icu", "encoding 'UTF8' locale_provider icu icu_locale 'en-US' locale 'C'");
    telex.programs.require_processor(&["migrate"]).unwrap();
    let api = telex.ingest_api();
    let _processor = telex.processor();
    for client in ["a", "B", "ä", "Z", "я"] {
        keep(&api, &message(client, "Ё-1", "Hello"));
        keep(&api, &message(client, "ё-1", "Hello"));
    }
    telex.assert_counts([("/rows/clients", 5), ("/rows/messages", 10)]);
    let sorted_by_locale = "select count(*) from pg_index, unnest(indcollation) as used
         where indrelid::regclass::text not like 'pg\\_%' and indisunique and used not in (0, 'pg_catalog.\"C\"'::regcollation)
           and indrelid::regclass::text in ('clients', 'dialogs', 'messages', 'topics', 'dialog_rules')";
    assert_eq!(telex.number(sorted_by_locale), 0);
}

#[test]
fn tables_that_are_not_those_of_the_migrations_are_refused_at_migrate_and_at_run() {
    let mut telex = Telex::new();
    for (make, undo, words) in [
        (
            "drop index dialogs_active_client_id_key",
            "create unique index dialogs_active_client_id_key on dialogs (client_id) where closed_at is null",
            "index dialogs_active_client_id_key is missing",
        ),
        (
            "drop index dialogs_active_client_id_key;
             create unique index dialogs_active_client_id_key on dialogs (client_id) where close_reason is null",
            "drop index dialogs_active_client_id_key;
             create unique index dialogs_active_client_id_key on dialogs (client_id) where closed_at is null",
            "index dialogs_active_client_id_key is `on dialogs (client_id) where close_reason IS NULL`",
        ),
        (
            "update pg_index set indisvalid = false where indexrelid = 'messages_pkey'::regclass",
            "update pg_index set indisvalid = true where indexrelid = 'messages_pkey'::regclass",
            "index messages_pkey is `on messages (client_id, external_message_id) not valid`",
        ),
        (
            "alter table dialogs add column tenant text not null",
            "alter table dialogs drop column tenant",
            "column dialogs.tenant is not one of the migrations', and is not null without a default",
        ),
        (
            "alter table dialog_rules alter column external_client_id_prefix type text collate \"en-x-icu\"",
            "alter table dialog_rules alter column external_client_id_prefix type text collate \"C\"",
            "column dialog_rules.external_client_id_prefix is `text not null`, must be `text collate \\\"C\\\" not null`",
        ),
        (
            "alter table partition_progress drop constraint partition_progress_next_offset_check",
            "alter table partition_progress
                 add constraint partition_progress_next_offset_check check (next_offset >= birth_offset)",
            "constraint partition_progress_next_offset_check is missing",
        ),
    ] {
        telex.execute(make);
        let refused = telex.refuse(&["migrate"]);
        let programs = telex.programs.clone();
        let log = refusal(&mut telex, &programs);
        telex.execute(undo);
        let plain = words.replace('\\', "");
        assert!(refused.contains(words) || refused.contains(&plain), "{refused}");
        assert!(log.contains(words) || log.contains(&plain), "{log}");
    }
    // What a person adds beside them is no hindrance.
    telex.execute(
        "alter table messages add column note text; create index by_time on messages (appended_at);
         create view latest as select max(appended_at) from messages",
    );
    Writer::new(&telex).messages("client", 0..3);
    let _processor = telex.processor();
    telex.assert_clean();
}

#[test]
fn the_list_that_the_tables_are_compared_with_is_what_the_migrations_make() {
    let telex = Telex::new();
    let made = block_on(async {
        let mut connection = PgConnection::connect(&telex.programs.database_url).await.unwrap();
        schema::describe(&mut connection).await.unwrap()
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/schema.txt");
    let listed = std::fs::read_to_string(path).unwrap();
    if made != listed {
        let file = telex.directory.join("schema.txt");
        std::fs::write(&file, &made).unwrap();
        panic!("a migration has changed the tables: copy {} to {path}", file.display());
    }
}
