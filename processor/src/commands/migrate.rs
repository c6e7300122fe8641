//! `processor migrate`: brings the tables to the version of this binary.

use anyhow::{bail, ensure};
use sqlx::{
    PgConnection,
    migrate::{Migrate as _, Migrator},
};

use super::output::say;
use crate::store::{
    Database,
    migrations::{self, MIGRATOR, State},
    rights::{self, Ownership},
    schema,
};

/// What the roles may do with the tables; nothing for roles that are not there.
const GRANTS: &str = include_str!("../../../migrations/roles/grants.sql");

/// Whether to look or to do. There is no `--yes`: a Job and `docker compose up` run it each time, and what is applied
/// already is not applied again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say which migrations would be applied, and whether this role may do it; change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Applies what is missing, each migration in a transaction of its own, one migrator at a time; then gives the
/// roles their rights. Migrations of a newer version are let be, and so are the rights that it gave: a rollback goes on
/// with its tables, or is told what in them it cannot go on with.
///
/// # Errors
/// No database, one whose encoding is not UTF8, a migration that fails or differs from the one that was applied, or
/// tables that are not those of the migrations afterwards.
pub async fn run(args: Args, database: &Database) -> anyhow::Result<()> {
    let mut connection = database.reader().await?;
    schema::encoding(&mut connection).await??;
    if args.dry_run {
        return look(&mut connection).await;
    }
    connection.ensure_migrations_table(migrations::TABLE).await?;
    let before = connection.list_applied_migrations(migrations::TABLE).await?;
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

/// Says what is applied and what would be, once it is known that nothing would refuse it.
async fn look(connection: &mut PgConnection) -> anyhow::Result<()> {
    let applied = if migrations::has_table(connection).await? {
        if let Some(version) = connection.dirty_version(migrations::TABLE).await? {
            bail!(
                "migration {version} was begun and did not end: put right what it left, and its row in {}",
                migrations::TABLE
            );
        }
        connection.list_applied_migrations(migrations::TABLE).await?
    } else {
        Vec::new()
    };
    let states: Vec<(String, State)> = MIGRATOR
        .iter()
        .map(|migration| {
            let name = format!("{:04} {}", migration.version, migration.description);
            (name, migrations::state(migration, &applied))
        })
        .collect();
    let count = |wanted: State| states.iter().filter(|(_, state)| *state == wanted).count();
    let pending = count(State::Pending);
    let is_newer = |version: &i64| MIGRATOR.iter().all(|migration| migration.version < *version);
    let newer: Vec<i64> = applied.iter().map(|migration| migration.version).filter(is_newer).collect();
    let found = rights::ownership(connection).await?;
    // Beside a newer version no rights are given.
    let found = Ownership { gives_rights: found.gives_rights && newer.is_empty(), ..found };
    require_owner(&found, pending > 0)?;
    for (name, state) in &states {
        say(&format!("{name}: {}", state.as_str()))?;
    }
    for version in &newer {
        say(&format!("{version:04}: of a newer version, stays as it is"))?;
    }
    ensure!(count(State::Differs) == 0, "a migration that was applied is not the one that this program has");
    if pending == 0 {
        schema::compare(connection).await??;
    }
    let grants =
        if newer.is_empty() { "the roles would get their rights" } else { "the roles keep their rights" };
    Ok(say(&format!("dry run, nothing is changed: {pending} migrations would be applied, and {grants}"))?)
}

/// Who is not the owner can neither alter tables nor give rights on them.
fn require_owner(found: &Ownership, is_pending: bool) -> anyhow::Result<()> {
    let mut lacks = Vec::new();
    if !found.may_create {
        lacks.push("may not create tables".to_owned());
    }
    if (is_pending || found.gives_rights) && !found.of_others.is_empty() {
        lacks.push(format!("does not own {}", found.of_others.join(", ")));
    }
    ensure!(
        lacks.is_empty(),
        "not allowed: the role {} of PostgreSQL {}; nothing was changed. Tables are migrated by their owner, telex_migrator",
        found.role,
        lacks.join(", and ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_the_owner_is_told_what_is_missing_and_only_where_it_matters() {
        let found = |may_create: bool, gives_rights: bool, of_others: &[&str]| Ownership {
            role: "somebody".to_owned(),
            may_create,
            gives_rights,
            of_others: of_others.iter().map(|&name| name.to_owned()).collect(),
        };
        assert!(require_owner(&found(true, true, &[]), true).is_ok());
        assert!(require_owner(&found(true, false, &["clients"]), false).is_ok(), "nothing is done to it");
        for (gives_rights, is_pending) in [(true, false), (false, true)] {
            let refused = require_owner(&found(false, gives_rights, &["clients", "dialogs"]), is_pending);
            let said = refused.unwrap_err().to_string();
            let lacks =
                "somebody of PostgreSQL may not create tables, and does not own clients, dialogs; nothing";
            assert!(said.contains(lacks), "{said}");
        }
    }
}
