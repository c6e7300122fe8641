//! D: the rows, read by plain SQL, compared with what they must be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use anyhow::Result;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::Violation;
use crate::wire::postgres::Connection;

/// Differences of one table that are told one by one.
const TOLD_MAX: usize = 3;

/// A row of `partition_progress`, without what belongs to its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ProgressRow {
    pub birth: i64,
    pub next: i64,
    pub messages: i64,
    pub duplicates: i64,
    pub commands: i64,
    pub dead_letters: i64,
    pub control: i64,
    pub last_digest: Option<String>,
}

/// A row of `clients`. Times are microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClientRow {
    pub external_client_id: String,
    /// The column is called `client_phone`.
    pub address: String,
    pub created_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AliasRow {
    pub partition: i32,
    pub offset: i64,
    pub named_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DialogRow {
    pub opened_at: i64,
    pub closed_at: Option<i64>,
    pub close_reason: Option<String>,
    pub partition: i32,
    pub opened_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MessageRow {
    pub partition: i32,
    pub offset: i64,
    pub appended_at: i64,
    pub received_at: String,
    pub sent_at: Option<String>,
    pub dialog_id: String,
    pub body_hash: String,
    pub request_id: Option<String>,
    pub text: String,
}

/// A row of `dead_letters`. Bytes are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeadLetterRow {
    pub reason: String,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Value,
    pub appended_at: i64,
}

/// The tables, by their primary keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub progress: BTreeMap<i32, ProgressRow>,
    /// By id.
    pub clients: BTreeMap<String, ClientRow>,
    /// By client and alias.
    pub aliases: BTreeMap<(String, String), AliasRow>,
    /// By client and id.
    pub dialogs: BTreeMap<(String, String), DialogRow>,
    /// By client and the source's id.
    pub messages: BTreeMap<(String, String), MessageRow>,
    pub dead_letters: BTreeMap<(i32, i64), DeadLetterRow>,
}

impl Tables {
    /// Reads them in one snapshot.
    pub fn read(database: &mut Connection) -> Result<Self> {
        database.execute("begin isolation level repeatable read read only")?;
        let tables = Self::read_all(database);
        database.execute("rollback")?;
        tables
    }

    fn read_all(database: &mut Connection) -> Result<Self> {
        Ok(Self {
            progress: read(
                database,
                "partition_progress",
                "partition",
                "birth_offset, next_offset, messages, duplicates, commands, dead_letters, control,
                 encode(last_digest, 'hex')",
            )?,
            clients: read(
                database,
                "clients",
                "id",
                "external_client_id, client_phone, (extract(epoch from created_at) * 1000000)::bigint",
            )?,
            aliases: read(
                database,
                "client_aliases",
                "json_build_array(client_id, alias)",
                "partition, record_offset, (extract(epoch from named_at) * 1000000)::bigint",
            )?,
            dialogs: read(
                database,
                "dialogs",
                "json_build_array(client_id, id)",
                "(extract(epoch from opened_at) * 1000000)::bigint,
                 (extract(epoch from closed_at) * 1000000)::bigint, close_reason, partition, opened_offset",
            )?,
            messages: read(
                database,
                "messages",
                "json_build_array(client_id, external_message_id)",
                r#"partition, record_offset, (extract(epoch from appended_at) * 1000000)::bigint,
                   to_char(received_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   to_char(sent_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   dialog_id, encode(body_hash, 'hex'), request_id, text"#,
            )?,
            dead_letters: read(
                database,
                "dead_letters",
                "json_build_array(partition, record_offset)",
                "reason, encode(key, 'hex'), encode(value, 'hex'), headers,
                 (extract(epoch from appended_at) * 1000000)::bigint",
            )?,
        })
    }
}

/// The columns are those of the row's type, in its order.
fn read<K: Ord + DeserializeOwned, V: DeserializeOwned>(
    database: &mut Connection,
    table: &str,
    key: &str,
    columns: &str,
) -> Result<BTreeMap<K, V>> {
    let query = format!("select json_build_array({key}, json_build_array({columns})) from {table}");
    Ok(database.rows::<(K, V)>(&query)?.into_iter().collect())
}

/// P2, P3, P9: the rows against the fold.
pub fn compare(expected: &Tables, found: &Tables) -> Vec<Violation> {
    let mut violations = Vec::new();
    differences("P2", "progress", &expected.progress, &found.progress, &mut violations);
    differences("P3", "clients", &expected.clients, &found.clients, &mut violations);
    differences("P3", "aliases", &expected.aliases, &found.aliases, &mut violations);
    differences("P3", "dialogs", &expected.dialogs, &found.dialogs, &mut violations);
    differences("P3", "messages", &expected.messages, &found.messages, &mut violations);
    differences("P9", "dead letters", &expected.dead_letters, &found.dead_letters, &mut violations);
    violations
}

fn differences<K: Ord + Debug, V: PartialEq + Debug>(
    invariant: &'static str,
    table: &str,
    expected: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
    violations: &mut Vec<Violation>,
) {
    let keys: BTreeSet<&K> = expected.keys().chain(found.keys()).collect();
    let differing: Vec<&K> = keys.into_iter().filter(|key| expected.get(key) != found.get(key)).collect();
    for key in differing.iter().take(TOLD_MAX) {
        let what = match (expected.get(key), found.get(key)) {
            (Some(expected), Some(found)) => format!("must be {expected:?}, is {found:?}"),
            (Some(expected), None) => format!("is missing: {expected:?}"),
            (None, found) => format!("must not be there: {found:?}"),
        };
        violations.push(Violation::new(invariant, format!("{table} {key:?} {what}")));
    }
    if differing.len() > TOLD_MAX {
        violations
            .push(Violation::new(invariant, format!("{table}: {} rows differ in all", differing.len())));
    }
}

/// P2, P4, P5, P8: what the rows must be among themselves, whatever the topic says.
pub fn check_structure(found: &Tables, database: &mut Connection) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let messages = found.messages.values().map(|row| (row.partition, row.offset));
    let places: Vec<(i32, i64)> = messages.chain(found.dead_letters.keys().copied()).collect();
    let distinct: BTreeSet<&(i32, i64)> = places.iter().collect();
    if distinct.len() != places.len() {
        let what = format!("{} records have two outcomes", places.len() - distinct.len());
        violations.push(Violation::new("P2", what));
    }
    let beyond = |(partition, offset): &&(i32, i64)| {
        found.progress.get(partition).is_none_or(|row| !(row.birth..row.next).contains(offset))
    };
    if let Some(place) = distinct.iter().copied().find(beyond) {
        violations.push(Violation::new("P2", format!("a row at {place:?}, which is not applied")));
    }
    check_dialogs(found, &mut violations);
    let index = "select count(*) from pg_index join pg_class on pg_class.oid = indexrelid
                 where relname = 'dialogs_active_client_id_key' and indisunique and indisvalid and indpred is not null";
    if database.number(index)? != 1 {
        violations
            .push(Violation::new("P4", "the unique index on active dialogs is not there, or not valid"));
    }
    Ok(violations)
}

fn check_dialogs(found: &Tables, violations: &mut Vec<Violation>) {
    let mut active: BTreeSet<&str> = BTreeSet::new();
    for ((client, id), dialog) in &found.dialogs {
        if dialog.closed_at.is_none() && !active.insert(client) {
            violations.push(Violation::new("P4", format!("client {client} has two active dialogs")));
        }
        if !found.clients.contains_key(client) {
            violations.push(Violation::new("P5", format!("dialog {id} has no client")));
        }
    }
    let mut spans: BTreeMap<&str, Vec<(i64, i64, i64)>> = BTreeMap::new();
    for ((client, _), message) in &found.messages {
        let key = (client.clone(), message.dialog_id.clone());
        match found.dialogs.get(&key) {
            Some(dialog) => spans.entry(client).or_default().push((
                message.offset,
                dialog.opened_offset,
                i64::from(message.partition - dialog.partition),
            )),
            None => violations.push(Violation::new("P5", format!("message {key:?} has no dialog"))),
        }
    }
    for (client, mut span) in spans {
        span.sort_unstable();
        let ascends = span.is_sorted_by_key(|(_, opened, _)| *opened);
        let starts = span.iter().all(|(offset, opened, apart)| opened <= offset && *apart == 0);
        if !ascends || !starts {
            violations.push(Violation::new("P8", format!("the dialogs of client {client} are out of order")));
        }
    }
}
