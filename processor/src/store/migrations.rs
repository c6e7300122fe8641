//! The migrations that this binary knows, and which of them a database lacks.

use sqlx::{PgConnection, migrate::Migrate as _};

use super::{StoreError, session::within_deadline};

/// The migrations, as they were when this binary was built.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The number of the first migration that the database lacks.
pub async fn first_missing(connection: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let table = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "exists!""#);
    let table = within_deadline(table.fetch_one(&mut *connection)).await?;
    let applied = if table {
        connection.list_applied_migrations("_sqlx_migrations").await.unwrap_or_default()
    } else {
        Vec::new()
    };
    let is_missing = |version: &i64| applied.iter().all(|migration| migration.version != *version);
    Ok(MIGRATOR.iter().map(|migration| migration.version).find(is_missing))
}
