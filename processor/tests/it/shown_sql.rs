//! The SQL that the documents show runs on the tables as they are, by the role that the place speaks of.

use std::{collections::BTreeSet, fs};

use dev_env::{programs::Programs, workspace::Workspace};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    harness::{Telex, block_on, keep, message},
    roles::{as_role, with_roles},
};

const SUPERUSER: &str = "telex";
/// The source of the examples, and the client that it has under the phone of the examples.
const SOURCE: &str = "client00000000000000000000000000";
const CLIENT: &str = "e60660c7-bd8f-5ba9-b814-6dbee9550932";

/// Where it stands, how it begins, who runs it there, and how many rows it answers at least.
const RUN: [(&str, &str, &str, usize); 16] = [
    ("README.md", "select dialog_id", SUPERUSER, 1),
    ("docs/database.md", "-- the conversation with a client", "telex_reader", 2),
    ("docs/database.md", "-- everybody who belongs to a client", "telex_reader", 1),
    ("docs/hooks.md", "select c.external_client_id", "telex_reader", 1),
    ("docs/operations.md", "select * from messages", "telex_reader", 1),
    ("docs/operations.md", "select reason, detail", "telex_reader", 0),
    ("docs/runbooks.md", "select known_partitions", "telex_reader", 1),
    ("docs/runbooks.md", "update halts", "telex_migrator", 0),
    ("docs/runbooks.md", "select * from pg_locks", "telex_reader", 0),
    ("docs/runbooks.md", "select pid, state", SUPERUSER, 1),
    ("docs/runbooks.md", "select pg_terminate_backend", SUPERUSER, 1),
    ("docs/runbooks.md", "select pg_drop_replication_slot", SUPERUSER, 1),
    ("docs/runbooks.md", "-- where the client's last records lie", "telex_migrator", 1),
    ("docs/runbooks.md", "begin;\nupdate messages", "telex_migrator", 0),
    ("docs/runbooks.md", "update clients set client_phone", "telex_migrator", 0),
    ("examples/readers/README.md", "create publication", SUPERUSER, 0),
];

/// What nobody types as it stands there, and why.
const NOT_RUN: [(&str, &str, &str); 4] = [
    ("docs/database.md", "insert … select", "the form of a statement that was measured"),
    ("docs/database.md", "copy … to stdout", "the same"),
    ("docs/improvements.md", "select create_distributed_table", "a function of Citus, which is not here"),
    ("docs/why-kafka.md", "insert … select", "the form of a statement"),
];

/// How a span of SQL begins.
const VERBS: [&str; 9] =
    ["select ", "insert ", "update ", "delete ", "with ", "create ", "alter ", "drop ", "copy "];

/// The documents with what they show: each block of SQL, and each statement between backticks.
fn shown() -> Vec<(String, String)> {
    let root = Workspace::find().unwrap().root().to_owned();
    let mut pages = vec!["README.md".to_owned(), "examples/readers/README.md".to_owned()];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    let read = |page: String| {
        let statements = statements(&page, &fs::read_to_string(root.join(&page)).unwrap());
        statements.into_iter().map(move |statement| (page.clone(), statement))
    };
    pages.into_iter().flat_map(read).collect()
}

fn statements(page: &str, text: &str) -> Vec<String> {
    let begins = |text: &str| VERBS.iter().any(|verb| text.starts_with(verb));
    let mut found = Vec::new();
    // Whether it is SQL, and what it holds so far.
    let mut block: Option<(bool, String)> = None;
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            match block.take() {
                Some((true, statements)) => found.push(statements),
                Some((false, _)) => {}
                None => block = Some((language == "sql", String::new())),
            }
        } else if let Some((is_sql, statements)) = &mut block {
            assert!(*is_sql || !begins(line.trim_start()), "{page}: the block of {line:?} is not called sql");
            statements.extend([line, "\n"]);
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter(|span| begins(span)).map(str::to_owned));
        }
    }
    found
}

/// With values in the place of what a person fills in.
fn filled(statement: &str, slot: &str) -> String {
    statement
        .replace("(PID)", "(0)")
        .replace("'NAME'", &format!("'{slot}'"))
        .replace("partition = P ", "partition = 0 ")
        .replace("client_id = …", &format!("client_id = '{CLIENT}'"))
        .replace("external_message_id = …", "external_message_id = '1'")
}

/// How many rows they answer, or why they do not.
fn rows(programs: &Programs, role: &str, statements: &str) -> Result<usize, String> {
    let url = as_role(programs, role).database_url;
    block_on(async {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let answer = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).fetch_all(&mut connection).await;
        answer.map(|rows| rows.len()).map_err(|error| error.to_string())
    })
}

/// Tables of three roles, with a message of the sources that the examples ask for.
fn ground() -> Telex {
    let (mut telex, _migrator) = with_roles();
    let api = telex.ingest_api();
    for source in ["tg", SOURCE] {
        keep(&api, &message(source, "1", "Hello"));
    }
    telex.applied();
    telex
}

#[test]
fn every_statement_that_a_document_shows_runs_by_the_role_of_its_place() {
    let telex = ground();
    let slot = telex.group();
    let create = format!("select pg_create_physical_replication_slot('{slot}')");
    rows(&telex.programs, SUPERUSER, &create).unwrap();
    let mut seen = BTreeSet::new();
    for (page, statement) in shown() {
        let is_it = |of: &str, begins: &str| page == of && statement.trim_start().starts_with(begins);
        if let Some((_, begins, _)) = NOT_RUN.iter().find(|(of, begins, _)| is_it(of, begins)) {
            seen.insert((page.clone(), *begins));
            continue;
        }
        let known = RUN.iter().find(|(of, begins, ..)| is_it(of, begins));
        let (_, begins, role, least) =
            known.unwrap_or_else(|| panic!("{page}: neither RUN nor NOT_RUN says who runs {statement}"));
        let found = rows(&telex.programs, role, &filled(&statement, slot));
        assert!(found.as_ref().is_ok_and(|rows| rows >= least), "{page}, {role}: {found:?} of {statement}");
        seen.insert((page.clone(), *begins));
    }
    assert_eq!(seen.len(), RUN.len() + NOT_RUN.len(), "these are left: {seen:?}");
}
