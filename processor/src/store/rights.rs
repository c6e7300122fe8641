//! What a person's command does to the tables, and whether its role may (S20): asked before anything is done, so that a
//! dry run is refused by what would refuse the command itself.
//!
//! PostgreSQL is asked for the rights; the statements are not tried and rolled back. Trying would hold the rows of every
//! partition, and with them the processors, for what is to change nothing; it would stop at the first right that is
//! missing; and the switch and a replay write to Kafka between their statements, which nothing rolls back.

use std::fmt;

use sqlx::PgConnection;

use super::{classify::StoreError, migrations, names, session::within_deadline};

/// A table, and the rights on it by PostgreSQL's own names. `select … for update` and `lock table` take `update`,
/// `returning` and `on conflict` take `select`.
pub type Rights = [(&'static str, &'static [&'static str])];

/// What readers ask, beside the tables.
const VIEWS: [&str; 3] = ["client_overview", "dialog_messages", "people"];

/// Of `partitions grow`.
pub const GROW: &Rights = &[
    ("topics", &["select", "update"]),
    ("placements", &["select"]),
    ("partition_progress", &["select", "insert"]),
    ("dialog_rule_starts", &["select", "insert"]),
    ("interventions", &["insert"]),
];

/// Of `partitions switch`.
pub const SWITCH: &Rights = &[
    ("topics", &["select", "update"]),
    ("placements", &["select", "insert"]),
    ("partition_progress", &["select", "update"]),
    ("halts", &["select", "update"]),
    ("interventions", &["insert"]),
];

/// Of `partitions register`.
pub const REGISTER: &Rights = &[
    ("topics", &["select", "insert", "update"]),
    ("partition_progress", &["select", "insert"]),
    ("interventions", &["insert"]),
];

/// Of `dialog-rules set`.
pub const SET_RULES: &Rights = &[
    ("topics", &["select", "update"]),
    ("partition_progress", &["select", "update"]),
    ("dialog_rules", &["insert"]),
    ("dialog_rule_starts", &["select", "insert"]),
    ("interventions", &["insert"]),
];

/// Of `progress set`.
pub const SET_PROGRESS: &Rights = &[
    ("topics", &["select"]),
    ("dead_letters", &["select"]),
    ("partition_progress", &["select", "update"]),
    ("halts", &["select"]),
    ("interventions", &["insert"]),
];

/// Of `halts resume`, for a partition.
pub const RESUME: &Rights = &[
    ("topics", &["select"]),
    ("dead_letters", &["select"]),
    ("partition_progress", &["select", "update"]),
    ("halts", &["select", "update"]),
    ("interventions", &["insert"]),
];

/// Of `halts resume` for a topic that was created again.
pub const ACCEPT: &Rights = &[
    ("topics", &["select", "insert", "update"]),
    ("partition_progress", &["select", "insert"]),
    ("dialog_rules", &["select", "insert"]),
    ("dialog_rule_starts", &["select", "insert"]),
    ("halts", &["select", "update"]),
    ("interventions", &["insert"]),
];

/// Of `dead-letters replay`.
pub const REPLAY: &Rights = &[
    ("topics", &["select", "update"]),
    ("placements", &["select"]),
    ("dead_letters", &["select", "update"]),
    ("interventions", &["insert"]),
];

/// Of `prove --baseline`.
pub const BASELINE: &Rights = &[
    ("topics", &["select"]),
    ("partition_progress", &["select"]),
    ("placements", &["select"]),
    ("dialog_rules", &["select"]),
    ("dialog_rule_starts", &["select"]),
    ("interventions", &["select"]),
    ("proofs", &["select", "insert"]),
    ("proved_partitions", &["select", "insert", "update", "delete"]),
];

/// Rights that a role lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub role: String,
    /// Each right with its table; never empty.
    pub missing: Vec<(String, String)>,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the role {} of PostgreSQL lacks", self.role)?;
        for (index, (right, table)) in self.missing.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma} {} on {table}", right.to_uppercase())?;
        }
        Ok(())
    }
}

/// The rights that this connection's role lacks, in the order of `wanted`. A right on some columns counts: whether they
/// are the right ones, the statement itself tells.
///
/// # Errors
/// No answer, or a table is not there.
pub async fn lacking(connection: &mut PgConnection, wanted: &Rights) -> Result<Option<Lack>, StoreError> {
    let pairs = wanted.iter().flat_map(|(table, rights)| rights.iter().map(move |right| (*table, *right)));
    let (tables, rights): (Vec<&str>, Vec<&str>) = pairs.unzip();
    let rows = sqlx::query!(
        r#"select current_user::text as "role!", wanted.table_name as "table!", wanted.right_name as "right!"
           from unnest($1::text[], $2::text[]) with ordinality as wanted (table_name, right_name, place)
           where not case wanted.right_name
                         when 'delete' then has_table_privilege(wanted.table_name, 'delete')
                         else has_any_column_privilege(wanted.table_name, wanted.right_name)
                     end
           order by wanted.place"#,
        &tables as &[&str],
        &rights as &[&str],
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let role = rows.first().map(|row| row.role.clone());
    let missing = rows.into_iter().map(|row| (row.right, row.table)).collect();
    Ok(role.map(|role| Lack { role, missing }))
}

/// Whether this connection's role owns what `migrate` alters and gives rights on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub role: String,
    pub may_create: bool,
    /// There are roles that get rights.
    pub gives_rights: bool,
    /// The tables and views that are there and belong to somebody else.
    pub of_others: Vec<String>,
}

/// Asks for it, of the tables of the migrations and of their own.
///
/// # Errors
/// No answer.
pub async fn ownership(connection: &mut PgConnection) -> Result<Ownership, StoreError> {
    let tables: Vec<String> =
        names::tables().chain(VIEWS).chain([migrations::TABLE]).map(str::to_owned).collect();
    let found = sqlx::query!(
        r#"select current_user::text as "role!",
                  coalesce(has_schema_privilege(current_schema()::text, 'create'), false) as "may_create!",
                  exists (select from pg_roles where rolname in ('telex_processor', 'telex_reader')) as "gives_rights!",
                  array(
                      select relname::text from pg_class
                      where oid in (select to_regclass(name)::oid from unnest($1::text[]) as wanted (name))
                        and not pg_has_role(relowner, 'usage')
                      order by pg_class.relname
                  ) as "of_others!""#,
        &tables,
    );
    let found = within_deadline(found.fetch_one(connection)).await?;
    Ok(Ownership {
        role: found.role,
        may_create: found.may_create,
        gives_rights: found.gives_rights,
        of_others: found.of_others,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_there_to_be_had() {
        let all = [GROW, SWITCH, REGISTER, SET_RULES, SET_PROGRESS, RESUME, ACCEPT, REPLAY, BASELINE];
        for (table, rights) in all.into_iter().flatten() {
            assert!(names::tables().any(|name| name == *table), "{table}");
            let are_known =
                rights.iter().all(|right| ["select", "insert", "update", "delete"].contains(right));
            assert!(are_known && !rights.is_empty(), "{table}: {rights:?}");
        }
    }

    #[test]
    fn a_lack_names_the_role_and_every_right() {
        let pair = |right: &str, table: &str| (right.to_owned(), table.to_owned());
        let missing = vec![pair("update", "halts"), pair("insert", "interventions")];
        let lack = Lack { role: "telex_processor".to_owned(), missing };
        let said = "the role telex_processor of PostgreSQL lacks UPDATE on halts, INSERT on interventions";
        assert_eq!(lack.to_string(), said);
    }
}
