//! The migrations that this binary knows, and which of them a database lacks.

use sqlx::{
    PgConnection,
    migrate::{AppliedMigration, Migrate as _, Migration},
};

use super::{StoreError, session::within_deadline};

/// The migrations, as they were when this binary was built.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Where a database keeps which of them it has.
pub const TABLE: &str = "_sqlx_migrations";

/// What a migration is in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    Pending,
    /// Another one was applied under its number.
    Differs,
}

impl State {
    /// For a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pending => "would be applied",
            Self::Differs => "differs from the one that was applied",
        }
    }
}

/// What a migration is where these are applied.
pub fn state(migration: &Migration, applied: &[AppliedMigration]) -> State {
    match applied.iter().find(|applied| applied.version == migration.version) {
        None => State::Pending,
        Some(applied) if applied.checksum == migration.checksum => State::Applied,
        Some(_) => State::Differs,
    }
}

/// Whether anything was ever migrated here.
pub async fn has_table(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let table = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "exists!""#);
    within_deadline(table.fetch_one(connection)).await
}

/// The number of the first migration that the database lacks.
pub async fn first_missing(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let applied = if has_table(connection).await? {
        connection.list_applied_migrations(TABLE).await.unwrap_or_default()
    } else {
        Vec::new()
    };
    let is_missing = |version: &i64| applied.iter().all(|migration| migration.version != *version);
    Ok(MIGRATOR.iter().map(|migration| migration.version).find(is_missing))
}
