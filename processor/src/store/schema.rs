//! Are the tables those of the migrations? Asked by `processor migrate` and at the start of `processor run`: an
//! index that is gone or not valid does not refuse a second client any more, a column that somebody added refuses
//! every good message, and a key that is sorted by a locale loses its order with the next operating system.
//!
//! What a person adds beside the tables (columns that may be empty, indexes, views) is nobody's business here.

use std::collections::BTreeMap;

use service_kit::Problems;
use sqlx::PgConnection;

use super::{
    classify::StoreError,
    names::{expected, tables},
    session::within_deadline,
};

/// What is not as it must be, in words that name the object and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tables are not those of the migrations: {0}")]
pub struct Mismatch(pub Problems);

/// The server cannot hold every text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database's encoding is {0}, must be UTF8: it cannot hold most of what people write. Create a \
     database with `encoding 'UTF8' template template0` and name it with --database-url"
)]
pub struct Encoding(pub String);

/// An object of the catalogue.
#[derive(Debug, Clone)]
struct Found {
    definition: String,
    /// A column that every insert has to fill.
    is_required: bool,
}

/// Asks for the database's encoding. Migrations are not applied to one that is not UTF8.
///
/// # Errors
/// [`StoreError`]; the inner result says which encoding it is.
pub async fn encoding(connection: &mut PgConnection) -> Result<Result<(), Encoding>, StoreError> {
    let encoding = sqlx::query_scalar!(r#"select current_setting('server_encoding') as "encoding!""#);
    let encoding = within_deadline(encoding.fetch_one(connection)).await?;
    Ok(if encoding == "UTF8" { Ok(()) } else { Err(Encoding(encoding)) })
}

/// Compares the tables with what the migrations make.
///
/// # Errors
/// [`StoreError`]; the inner result says what differs.
pub async fn compare(connection: &mut PgConnection) -> Result<Result<(), Mismatch>, StoreError> {
    let problems = Problems(problems(&look(connection).await?));
    Ok(problems.or(()).map_err(Mismatch))
}

/// The tables as they are, in the form of the list that they are compared with.
pub async fn describe(connection: &mut PgConnection) -> Result<String, StoreError> {
    let found = look(connection).await?;
    let lines = found.into_iter().map(|(object, found)| format!("{object}: {}\n", found.definition));
    Ok(lines.collect())
}

async fn look(connection: &mut PgConnection) -> Result<BTreeMap<String, Found>, StoreError> {
    let tables: Vec<String> = tables().map(str::to_owned).collect();
    let rows = sqlx::query!(
        r#"with relation as (
               select name, to_regclass(name) as id from unnest($1::text[]) as wanted (name)
           )
           select 'table ' || name as "object!", 'present' as "definition!", false as "is_required!"
           from relation where id is not null
           union all
           select 'column ' || name || '.' || attname,
                  format_type(atttypid, atttypmod)
                      || case when collname = 'C' then ' collate "C"' else '' end
                      || case when attnotnull then ' not null' else '' end,
                  attnotnull and not atthasdef and attidentity = ''
           from relation join pg_attribute on attrelid = id
           left join pg_collation on pg_collation.oid = attcollation
           where attnum > 0 and not attisdropped
           union all
           select 'index ' || relname,
                  'on ' || name || ' ('
                      || (select string_agg(pg_get_indexdef(indexrelid, at, true), ', ' order by at)
                          from generate_series(1, indnkeyatts) as at)
                      || ')' || coalesce(' where ' || pg_get_expr(indpred, indrelid, true), '')
                      || case when exists (select from pg_attribute, generate_series(0, indnkeyatts - 1) as at
                                           where attrelid = indrelid and attnum = indkey[at]
                                             and attcollation <> indcollation[at])
                              then ' in another collation' else '' end
                      || case when indisunique then '' else ' not unique' end
                      || case when indisvalid and indisready and indimmediate then '' else ' not valid' end,
                  false
           from relation join pg_index on indrelid = id join pg_class on pg_class.oid = indexrelid
           union all
           select 'constraint ' || conname, 'on ' || name || ' ' || pg_get_constraintdef(pg_constraint.oid, true), false
           from relation join pg_constraint on conrelid = id
           where contype in ('c', 'f')"#,
        &tables,
    );
    let rows = within_deadline(rows.fetch_all(connection)).await?;
    let found = rows
        .into_iter()
        .map(|row| (row.object, Found { definition: row.definition, is_required: row.is_required }));
    Ok(found.collect())
}

fn problems(found: &BTreeMap<String, Found>) -> Vec<String> {
    let is_absent = |table: &str| !found.contains_key(&format!("table {table}"));
    let mut problems: Vec<String> =
        tables().filter(|table| is_absent(table)).map(|table| format!("table {table} is missing")).collect();
    for (object, definition) in expected() {
        match found.get(object) {
            Some(found) if found.definition == definition => {}
            Some(found) => {
                problems.push(format!("{object} is `{}`, must be `{definition}`", found.definition))
            }
            None if table_of(object, definition).is_some_and(is_absent) => {}
            None => problems.push(format!("{object} is missing, must be `{definition}`")),
        }
    }
    let is_known = |object: &str| expected().any(|(known, _)| known == object);
    let required = found.iter().filter(|(object, found)| found.is_required && !is_known(object));
    problems.extend(required.map(|(object, _)| {
        format!(
            "{object} is not one of the migrations', and is not null without a default: every insert fails"
        )
    }));
    problems
}

/// The table that an object belongs to.
fn table_of<'a>(object: &'a str, definition: &'a str) -> Option<&'a str> {
    match object.split_once(' ')? {
        ("table", name) => Some(name),
        ("column", name) => Some(name.split_once('.')?.0),
        _ => definition.strip_prefix("on ")?.split(' ').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> BTreeMap<String, Found> {
        let found = |definition: &str| Found { definition: definition.to_owned(), is_required: false };
        expected().map(|(object, definition)| (object.to_owned(), found(definition))).collect()
    }

    #[test]
    fn the_tables_of_the_migrations_are_accepted_with_what_a_person_adds_beside_them() {
        let mut found = sound();
        let added = |definition: &str| Found { definition: definition.to_owned(), is_required: false };
        found.insert("column messages.tenant".to_owned(), added("text"));
        found.insert("index messages_request_id_idx".to_owned(), added("on messages (request_id)"));
        assert_eq!(problems(&found), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_changed_or_in_the_way_is_named_with_its_rule() {
        let mut found = sound();
        let change = |found: &mut BTreeMap<String, Found>, object: &str, definition: &str, is_required| {
            found.insert(object.to_owned(), Found { definition: definition.to_owned(), is_required });
        };
        found.remove("index dialogs_active_client_id_key");
        change(&mut found, "column messages.text", "character varying(20) not null", true);
        change(&mut found, "column messages.tenant", "text not null", true);
        assert_eq!(
            problems(&found),
            [
                "column messages.text is `character varying(20) not null`, must be `text not null`",
                "index dialogs_active_client_id_key is missing, must be `on dialogs (client_id) where closed_at IS NULL`",
                "column messages.tenant is not one of the migrations', and is not null without a default: every insert fails",
            ]
        );
    }

    #[test]
    fn a_table_that_is_missing_is_named_once() {
        let mut found = sound();
        found.retain(|object, _| {
            !object.starts_with("column clients.")
                && !object.contains(" clients")
                && object != "table clients"
        });
        assert_eq!(problems(&found), ["table clients is missing"]);
    }
}
