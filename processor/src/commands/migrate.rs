//! `processor migrate`: brings the tables to the version of this binary.

use sqlx::migrate::{Migrate as _, Migrator};

use crate::store::{Database, migrations::MIGRATOR, schema};

/// What the roles may do with the tables; nothing for roles that are not there.
const GRANTS: &str = include_str!("../../../migrations/roles/grants.sql");

/// Applies what is missing, each migration in a transaction of its own, one migrator at a time; then gives the
/// roles their rights. Migrations of a newer version are let be, and so are the rights that it gave: a rollback goes on
/// with its tables, or is told what in them it cannot go on with.
///
/// # Errors
/// No database, one whose encoding is not UTF8, a migration that fails or differs from the one that was applied, or
/// tables that are not those of the migrations afterwards.
pub async fn run(database: &Database) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    schema::encoding(&mut connection).await??;
    connection.ensure_migrations_table("_sqlx_migrations").await?;
    let before = connection.list_applied_migrations("_sqlx_migrations").await?;
    let newest = MIGRATOR.iter().map(|migration| migration.version).max();
    let is_newer = before.iter().any(|migration| Some(migration.version) > newest);
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    migrator.set_ignore_missing(true).run(&mut connection).await?;
    // They begin with taking every right away: newer programs would be left without those that this one does not know.
    if !is_newer {
        sqlx::raw_sql(GRANTS).execute(&mut connection).await?;
    }
    schema::compare(&mut connection).await??;
    let known = MIGRATOR.iter().count();
    tracing::info!(known, applied = known.saturating_sub(before.len()), "migrations are applied");
    Ok(())
}
