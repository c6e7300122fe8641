//! What an error of the database asks the caller to do. Classified here, beside sqlx; everybody else
//! sees the intent (R23).
//!
//! Whatever reaches a statement has passed Telex's own rules, so an error speaks of one record only if its
//! SQLSTATE is in `ABOUT_A_RECORD`. One that speaks of the tables is in `ABOUT_THE_TABLES`, one of too
//! much work at once in `TOO_MUCH`. Everything else passes, or a person ends it: the same again, later.

use sqlx::postgres::PgDatabaseError;

use super::names;
use crate::domain::{halt::SchemaFault, obstacle::Obstacle};

/// An SQLSTATE, or a class of them (its first two characters), with the reason for what is made of it.
struct Rule {
    sqlstate: &'static str,
    /// Only this constraint; any where there is none.
    constraint: Option<&'static str>,
    why: &'static str,
}

const fn rule(sqlstate: &'static str, why: &'static str) -> Rule {
    Rule { sqlstate, constraint: None, why }
}

/// The unique pair of `clients`: the only key that a record can meet with another id behind it.
pub const CLIENTS_PAIR: &str = "clients_external_client_id_client_phone_key";

/// The keys that the writes of a batch may meet if somebody else has written: an id that was believed to be new.
pub const CLIENTS_KEY: &str = "clients_pkey";
pub const MESSAGES_KEY: &str = "messages_pkey";

/// The closed list: what may be blamed on one record, after bisection down to it.
const ABOUT_A_RECORD: [Rule; 4] = [
    rule(
        "22021",
        "character_not_in_repertoire: a text holds a character that no text of the server can hold (NUL)",
    ),
    rule(
        "22P05",
        "untranslatable_character: a text that the server's encoding, or jsonb (`\\u0000`), has no character for",
    ),
    rule("54000", "program_limit_exceeded: a value is too long for an index that somebody added"),
    Rule {
        sqlstate: "23505",
        constraint: Some(CLIENTS_PAIR),
        why: "unique_violation: the pair belongs to a client of another id, which a foreign writer made",
    },
];

/// Rows that only the owner of a partition writes: where one is there already, a transaction of ours has become
/// visible late, or a foreign writer is at work. The rows of `partition_progress` tell.
const PRESENT: [Rule; 4] = [
    Rule {
        sqlstate: "23505",
        constraint: Some("dialogs_pkey"),
        why: "the id of a dialog comes from the record that opens it: the same record has opened it",
    },
    Rule {
        sqlstate: "23505",
        constraint: Some("dialogs_active_client_id_key"),
        why: "the client has an active dialog that was not visible when its state was read",
    },
    Rule {
        sqlstate: "23505",
        constraint: Some(CLIENTS_KEY),
        why: "the insert passes over an id that is there",
    },
    Rule {
        sqlstate: "23505",
        constraint: Some(MESSAGES_KEY),
        why: "COPY takes only what is believed to be new, and the insert passes over an id that is there",
    },
];

/// What the tables are, or what somebody put beside them, refuses good records: a person has to look.
const ABOUT_THE_TABLES: [Rule; 9] = [
    rule("21", "cardinality_violation: a unique key of the tables is gone"),
    rule("22", "data_exception: a column has another type or length than the migrations give it"),
    rule("23", "integrity_constraint_violation: a constraint that the migrations do not know"),
    rule("27", "triggered_data_change_violation: somebody's trigger"),
    rule("38", "external_routine_exception: somebody's trigger"),
    rule("39", "external_routine_invocation_exception: somebody's trigger"),
    rule(
        "42",
        "syntax_error_or_access_rule_violation: a table, column, key or right is missing, or has changed",
    ),
    rule("44", "with_check_option_violation: a table was replaced by a view"),
    rule("P0", "plpgsql_error: somebody's trigger raises"),
];

/// The statement may pass with fewer records.
const TOO_MUCH: [Rule; 8] = [
    rule("57014", "query_canceled: longer than statement_timeout, or an operator ended it"),
    rule("55P03", "lock_not_available: one row of many is locked by somebody"),
    rule("25P04", "transaction_timeout: the whole transaction takes too long"),
    rule("53200", "out_of_memory"),
    rule("53400", "configuration_limit_exceeded: too much in temporary files"),
    rule("54001", "statement_too_complex"),
    rule("54011", "too_many_columns"),
    rule("54023", "too_many_arguments"),
];

/// An error of the database, outside COMMIT.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data of one record cannot be stored: the same data fails again. Bisection finds the record.
    #[error("the database refuses a record: SQLSTATE {sqlstate}, constraint {}", constraint.as_deref().unwrap_or("-"))]
    Record {
        /// The error's class and code.
        sqlstate: String,
        /// The constraint, if one refused.
        constraint: Option<String>,
        /// Why this may be one record's fault.
        why: &'static str,
    },
    /// The tables refuse good records: their partition halts.
    #[error("the tables are not those of the migrations: {0}")]
    Tables(Box<SchemaFault>),
    /// A row is there that only the partition's owner writes: read how far the partition is applied.
    #[error("a row is there already: constraint {0}")]
    Present(String),
    /// Too much at once: try with less.
    #[error("{}", describe(.0))]
    TooMuch(sqlx::Error),
    /// No answer in time: the connection is of no use any more.
    #[error("the database did not answer within the deadline")]
    Deadline,
    /// A server in recovery: nothing decisive is read from it, nothing can be written.
    #[error("the server is in recovery")]
    NotWritable,
    /// Between us and the server is a pooler that does not keep a session together: its timeouts would not hold,
    /// and statements that were prepared would be another's (pitfalls 51). A person connects us elsewhere.
    #[error(
        "the connection goes through a pooler that does not keep the session (PgBouncer in transaction mode?): \
         --database-url must lead to PostgreSQL itself"
    )]
    Pooled,
    /// Everything else passes, or is put right by a person: try again.
    #[error("{}", describe(.0))]
    Retry(sqlx::Error),
}

impl StoreError {
    /// Whether the same, later, may have another answer without anybody's doing.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::TooMuch(_) | Self::Deadline | Self::NotWritable | Self::Retry(_) => true,
            Self::Record { .. } | Self::Present(_) | Self::Tables(_) | Self::Pooled => false,
        }
    }

    /// Whether the connection can be used again at once. After any other error it is dropped: the server
    /// then frees the locks of what was under way, which an idle connection would keep, and no statement
    /// that was prepared for other tables is left.
    pub const fn leaves_connection_usable(&self) -> bool {
        match self {
            Self::Record { .. } | Self::Present(_) => true,
            Self::Tables(_)
            | Self::TooMuch(_)
            | Self::Deadline
            | Self::NotWritable
            | Self::Pooled
            | Self::Retry(_) => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(answer) = error.as_database_error().and_then(|answer| answer.try_downcast_ref()) else {
            return Self::Retry(error);
        };
        let (sqlstate, constraint) = (PgDatabaseError::code(answer), PgDatabaseError::constraint(answer));
        if is_pooled(answer) {
            return Self::Pooled;
        }
        let Some((intent, why)) = intent(sqlstate, constraint) else {
            return Self::Retry(error);
        };
        match intent {
            Intent::Record => {
                let (sqlstate, constraint) = (sqlstate.to_owned(), constraint.map(str::to_owned));
                Self::Record { sqlstate, constraint, why }
            }
            Intent::Present => Self::Present(constraint.unwrap_or_default().to_owned()),
            Intent::Tables => Self::Tables(Box::new(fault(answer))),
            Intent::TooMuch => Self::TooMuch(error),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Record,
    Present,
    Tables,
    TooMuch,
}

/// What an SQLSTATE asks for, and why; `None`: the same again, later.
fn intent(sqlstate: &str, constraint: Option<&str>) -> Option<(Intent, &'static str)> {
    let lists = [
        (Intent::Record, &ABOUT_A_RECORD[..]),
        (Intent::Present, &PRESENT),
        (Intent::TooMuch, &TOO_MUCH),
        (Intent::Tables, &ABOUT_THE_TABLES),
    ];
    let fits = |rule: &&Rule| {
        sqlstate.starts_with(rule.sqlstate) && (rule.constraint.is_none() || rule.constraint == constraint)
    };
    lists.into_iter().find_map(|(intent, rules)| Some((intent, rules.iter().find(fits)?.why)))
}

/// The names that the server gives. Its sentence may quote what a client wrote (a trigger chooses its words), so
/// of the sentence only names of Telex's own tables and columns are taken.
fn fault(answer: &PgDatabaseError) -> SchemaFault {
    let owned = |name: &str| name.to_owned();
    let names = names::names_in(answer.message());
    SchemaFault {
        sqlstate: answer.code().to_owned(),
        table: answer.table().or(names.table).map(owned),
        column: answer.column().or(names.column).map(owned),
        constraint: answer.constraint().map(owned),
        routine: answer.r#where().and_then(routine_in).map(owned),
    }
}

/// The name in `PL/pgSQL function NAME(…) line 3 at RAISE`.
fn routine_in(context: &str) -> Option<&str> {
    let (_, rest) = context.split_once("function ")?;
    let (name, _) = rest.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// What only a pooler makes of what we ask for: a startup setting that is not supported; a prepared statement
/// that is there already, or not any more.
fn is_pooled(answer: &PgDatabaseError) -> bool {
    match answer.code() {
        "42P05" | "26000" => true,
        "08P01" => answer.message().contains("unsupported startup parameter"),
        _ => false,
    }
}

/// The error without what the server quotes of the data (its DETAIL), and without an address.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => {
            format!("SQLSTATE {}: {}", answer.code().as_deref().unwrap_or("-"), answer.message())
        }
        other => other.to_string(),
    }
}

impl From<StoreError> for Obstacle {
    fn from(error: StoreError) -> Self {
        Self::Database(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(sqlstate: &str, constraint: Option<&str>) -> Option<Intent> {
        intent(sqlstate, constraint).map(|(intent, _)| intent)
    }

    #[test]
    fn only_a_closed_list_is_blamed_on_a_record() {
        for sqlstate in ["22021", "22P05", "54000"] {
            assert_eq!(asked_for(sqlstate, None), Some(Intent::Record), "{sqlstate}");
        }
        assert_eq!(asked_for("23505", Some(CLIENTS_PAIR)), Some(Intent::Record));
        for constraint in ["dialogs_active_client_id_key", "dialogs_pkey", "clients_pkey", "messages_pkey"] {
            assert_eq!(asked_for("23505", Some(constraint)), Some(Intent::Present), "{constraint}");
        }
        let added = asked_for("23505", Some("messages_request_id_idx"));
        assert_eq!(added, Some(Intent::Tables), "a key that somebody added");
    }

    #[test]
    fn what_speaks_of_the_tables_halts_and_what_passes_is_tried_again() {
        for sqlstate in [
            "23502", "23503", "23514", "23P01", "22001", "22003", "22P02", "42501", "42703", "42804",
            "42883", "42P01", "42P10", "P0001",
        ] {
            assert_eq!(asked_for(sqlstate, None), Some(Intent::Tables), "{sqlstate}");
        }
        for sqlstate in ["25P04", "53200", "53400", "54001", "54023", "55P03", "57014"] {
            assert_eq!(asked_for(sqlstate, None), Some(Intent::TooMuch), "{sqlstate}");
        }
        for sqlstate in [
            "08006", "0A000", "25006", "25P02", "25P03", "40001", "40P01", "53100", "53300", "57P01",
            "57P05", "XX000",
        ] {
            assert_eq!(asked_for(sqlstate, None), None, "{sqlstate}");
        }
    }

    #[test]
    fn every_rule_has_its_reason_and_names_a_code_or_a_class() {
        let lists = [&ABOUT_A_RECORD[..], &PRESENT, &ABOUT_THE_TABLES, &TOO_MUCH];
        for rule in lists.into_iter().flatten() {
            assert!(matches!(rule.sqlstate.len(), 2 | 5) && !rule.why.is_empty(), "{}", rule.sqlstate);
        }
        assert!(ABOUT_A_RECORD.iter().all(|rule| rule.sqlstate.len() == 5), "no class is blamed on a record");
    }

    #[test]
    fn a_routine_is_named_and_nothing_else_of_its_context() {
        let named = routine_in("PL/pgSQL function refuse_all() line 3 at RAISE");
        assert_eq!(named, Some("refuse_all"));
        assert_eq!(routine_in("COPY messages, line 1: \"+7 (000)\""), None);
        assert_eq!(routine_in("SQL function +7 000(x)"), None);
    }
}
