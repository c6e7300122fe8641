//! What each role of PostgreSQL may do, tried by doing it (S20, S22): the work of each, and what none of them may.

use dev_env::programs::Programs;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    asked::assert_says,
    harness::{SOON, Telex, block_on, close_dialog, keep, message, wait_for},
    topic::{Writer, partition_of},
};

const CREATE: &str = include_str!("../../../migrations/roles/create.sql");

/// A Telex whose tables belong to `telex_migrator` and whose processors are `telex_processor`.
pub fn with_roles() -> (Telex, Programs) {
    in_roles(Telex::new())
}

/// The same of one that is there: in another database, beside its own.
pub fn in_roles(mut telex: Telex) -> (Telex, Programs) {
    let database = format!("{}_roles", telex.group());
    telex.execute(&format!("create database {database}"));
    let (server, _) = telex.programs.database_url.rsplit_once('/').unwrap();
    telex.programs.database_url = format!("{server}/{database}");
    telex.execute(CREATE);
    let migrator = as_role(&telex.programs, "telex_migrator");
    migrator.require_processor(&["migrate"]).unwrap();
    telex.programs = as_role(&telex.programs, "telex_processor");
    (telex, migrator)
}

pub fn as_role(programs: &Programs, role: &str) -> Programs {
    let (_, place) = programs.database_url.rsplit_once('@').unwrap();
    Programs { database_url: format!("postgres://{role}@{place}"), ..programs.clone() }
}

/// The SQLSTATE that a statement ends with.
pub fn sqlstate(programs: &Programs, role: &str, statement: &str) -> Option<String> {
    let url = as_role(programs, role).database_url;
    block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let result = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        let error = result.err()?;
        error.as_database_error().and_then(|answer| answer.code()).map(std::borrow::Cow::into_owned)
    })
}

/// The first column of a query's only row.
fn text(programs: &Programs, role: &str, query: &str) -> String {
    let url = as_role(programs, role).database_url;
    block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
    })
}

fn assert_refusals(programs: &Programs) {
    for (role, statement) in [
        ("telex_processor", "delete from messages"),
        ("telex_processor", "update messages set text = ''"),
        ("telex_processor", "update clients set client_phone = ''"),
        ("telex_processor", "delete from partition_progress"),
        ("telex_processor", "update halts set resumed_at = now()"),
        ("telex_processor", "insert into interventions default values"),
        ("telex_processor", "truncate dialogs"),
        ("telex_processor", "drop table messages"),
        ("telex_processor", "alter table messages add column more text"),
        ("telex_processor", "create table mine (id integer)"),
        ("telex_processor", "create temporary table mine (id integer)"),
        ("telex_processor", "set role telex_migrator"),
        (
            "telex_reader",
            "set transaction read write; insert into clients values (gen_random_uuid(), 'a', 'b', now())",
        ),
        ("telex_reader", "set transaction read write; update dialogs set closed_at = now()"),
        ("telex_reader", "set transaction read write; delete from messages"),
        ("telex_reader", "set transaction read write; create table mine (id integer)"),
        ("telex_migrator", "create role another"),
        ("telex_migrator", "create database another"),
    ] {
        let found = sqlstate(programs, role, statement);
        assert_eq!(found.as_deref(), Some("42501"), "{role}: {statement}");
    }
    // Without a transaction that says otherwise, a reader is told sooner.
    let found = sqlstate(programs, "telex_reader", "delete from messages");
    assert_eq!(found.as_deref(), Some("25006"));
}

/// What a reader may see, and that it sees it.
fn assert_readable(programs: &Programs) {
    let tables = "select count(*)::text from pg_tables where schemaname = 'public'";
    let unreadable =
        format!("{tables} and not has_table_privilege(schemaname || '.' || tablename, 'select')");
    assert_ne!(text(programs, "telex_reader", tables), "0");
    assert_eq!(text(programs, "telex_reader", &unreadable), "0");
    let written = "select string_agg(text, ',' order by record_offset) from dialog_messages where external_client_id = 'roles'";
    assert_eq!(text(programs, "telex_reader", written), "Hello,Again");
    let overview =
        "select dialogs || ' ' || messages || ' ' || (active_dialog_id is not null) from client_overview";
    assert_eq!(text(programs, "telex_reader", overview), "2 2 true");
}

/// What holds for whoever uses a role's name (S22).
fn assert_settings(programs: &Programs) {
    for (role, setting, value) in [
        ("telex_processor", "statement_timeout", "5s"),
        ("telex_processor", "lock_timeout", "2s"),
        ("telex_processor", "idle_in_transaction_session_timeout", "10s"),
        ("telex_reader", "default_transaction_read_only", "on"),
        ("telex_reader", "statement_timeout", "1min"),
        ("telex_migrator", "lock_timeout", "5s"),
    ] {
        assert_eq!(text(programs, role, &format!("select current_setting('{setting}')")), value, "{role}");
    }
}

#[test]
fn each_role_can_do_its_work_and_none_can_do_more() {
    let (mut telex, migrator) = with_roles();
    let api = telex.ingest_api();
    let mut processor = telex.processor();
    processor.wait_until_ready().unwrap();
    let first = keep(&api, &message("roles", "1", "Hello"));
    close_dialog(&api, &first["client_id"]);
    keep(&api, &message("roles", "2", "Again"));
    keep(&api, &message("roles", "2", "Another body"));
    // Applied and proved under the processor's name: it may do all that this takes.
    telex.assert_clean();
    assert_eq!(telex.number("select count(*) from dead_letters"), 1);

    assert_refusals(&telex.programs);
    assert_readable(&telex.programs);
    assert_settings(&telex.programs);

    // A right that somebody gave by hand goes with the next migrate.
    let gift = "grant delete on messages to telex_processor";
    assert_eq!(sqlstate(&telex.programs, "telex_migrator", gift), None);
    assert_eq!(sqlstate(&telex.programs, "telex_processor", "delete from messages where false"), None);
    migrator.require_processor(&["migrate"]).unwrap();
    let found = sqlstate(&telex.programs, "telex_processor", "delete from messages where false");
    assert_eq!(found.as_deref(), Some("42501"));
    processor.stop().unwrap();
}

#[test]
fn a_right_that_somebody_takes_away_halts_by_name_and_migrate_gives_it_back() {
    let (mut telex, migrator) = with_roles();
    let writer = Writer::new(&telex);
    let _processor = telex.processor();
    writer.messages("client", 0..3);
    telex.assert_clean();
    let revoke = "revoke insert on messages from telex_processor";
    assert_eq!(sqlstate(&telex.programs, "telex_migrator", revoke), None);
    writer.messages("client", 3..6);
    wait_for("the halt", SOON, || telex.halts().len() == 1);
    let halt = telex.halts().remove(0);
    assert_says(
        &halt,
        [
            ("/reason", "schema_mismatch".into()),
            ("/numbers/sqlstate", "42501".into()),
            ("/numbers/table", "messages".into()),
        ],
    );
    migrator.require_processor(&["migrate"]).unwrap();
    let partition = partition_of("client").to_string();
    let resume = ["halts", "resume", "--partition", &partition, "--from", "3", "--to", "3"];
    let how = ["--reason-code", "schema_mismatch", "--yes"];
    migrator.require_processor(&[&resume[..], &how].concat()).unwrap();
    let report = telex.assert_clean();
    assert_eq!((&report["rows"]["messages"], &report["rows"]["dead_letters"]), (&6.into(), &0.into()));
}

#[test]
fn after_a_rollback_migrate_lets_the_tables_and_the_rights_of_the_newer_version_be() {
    let (mut telex, migrator) = with_roles();
    for statement in [
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of a newer version', true, '', 0)",
        "create table newer (id integer)",
        "grant insert on newer to telex_processor",
    ] {
        assert_eq!(sqlstate(&telex.programs, "telex_migrator", statement), None, "{statement}");
    }
    migrator.require_processor(&["migrate"]).unwrap();
    let statement = "insert into newer values (1)";
    assert_eq!(sqlstate(&telex.programs, "telex_processor", statement), None);
    telex.processor().wait_until_ready().unwrap();
}
