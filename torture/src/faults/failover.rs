//! Failover to a standby that had not yet received everything: the next offsets go back.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    interrupt,
    postgres::{self, Postgres},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{checker::Violation, ground::Ground, verdict::Strike, wire::postgres::Connection, world::World};

/// A database that has moved back is noticed within this time, also where no record comes (A1).
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// F18, under load.
pub fn with_a_lost_tail(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let lost = fail_over(world, ground, |_| Ok(()))?;
    Ok(Strike::seen(lost.to_string()))
}

/// F18q: nothing is sent any more when the tail is lost. No record comes by which an owner could notice.
pub fn in_a_quiet_hour(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let lost = fail_over(world, ground, |world| {
        world.stop_load();
        world.wait("everything applied", Duration::from_secs(20), |world| Ok(world.lag()? == 0))?;
        Ok(())
    })?;
    let (took, late) =
        world.must("A1", "the lost tail applied again", NOTICED_WITHIN, |world| Ok(world.lag()? == 0))?;
    let mut strike = Strike::seen(format!("{lost}, nothing sent afterwards"));
    strike.recovery = Some(took);
    strike.violations.extend(late);
    if !strike.violations.is_empty() {
        let what = world.what_processors_say()?;
        strike.violations.push(Violation::new("A1", format!("meanwhile {what}")));
    }
    world.start_load();
    Ok(strike)
}

struct Lost {
    bytes: i64,
    records: i64,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes and {} records lost", self.bytes, self.records)
    }
}

/// Fails over to a standby that has not received the last seconds. `before_death` happens when the standby
/// receives no more, and the primary still lives.
fn fail_over(
    world: &mut World,
    ground: &mut Ground,
    before_death: impl FnOnce(&mut World) -> Result<()>,
) -> Result<Lost> {
    ground.standbys += 1;
    let directory = ground.directory.join(format!("standby-{}", ground.standbys));
    copy(&ground.postgres, &directory)?;
    let standby = Postgres::start(&ground.installation, postgres::Options::on_free_port(&directory))?;
    world.wait("the standby to answer", Duration::from_secs(30), |world| {
        Ok(Connection::open(standby.address(), &world.database).is_ok())
    })?;
    let mut at_standby = Connection::open(standby.address(), &world.database)?;
    world.wait("the standby to stream", Duration::from_secs(30), |_| {
        Ok(at_standby.number("select count(*) from pg_stat_wal_receiver where status = 'streaming'")? == 1)
    })?;
    interrupt::pause(Duration::from_secs(1))?;
    let mut at_primary = Connection::open(ground.postgres.address(), "postgres")?;
    let sender = at_primary.number("select pid from pg_stat_replication")?;
    kill(Pid::from_raw(i32::try_from(sender)?), Signal::SIGSTOP)?;
    interrupt::pause(Duration::from_secs(3))?;
    before_death(world)?;
    let before = world.applied()?;
    let written = at_primary.number("select (pg_current_wal_lsn() - '0/0')::bigint")?;
    let received = at_standby.number("select (pg_last_wal_receive_lsn() - '0/0')::bigint")?;
    if written <= received {
        bail!("nothing was lost: {written} written, {received} received");
    }
    world.sampler.new_timeline();
    ground.postgres.kill();
    at_standby.query("select pg_promote(true, 30)")?;
    world.proxy.point_at(standby.address());
    ground.postgres = standby;
    let after = world.applied()?;
    world.sampler.new_timeline();
    if after >= before {
        bail!("next offsets did not go back: {before} applied before, {after} after");
    }
    Ok(Lost { bytes: written - received, records: before - after })
}

/// Copies the primary while it runs, as `pg_basebackup` does, for a standby that follows it.
fn copy(primary: &Postgres, directory: &Path) -> Result<()> {
    let (from, to) = (primary.data(), directory.join("postgres"));
    fs::create_dir_all(&to)?;
    let mut session = Connection::open(primary.address(), "postgres")?;
    session.query("select pg_backup_start('copy', true)")?;
    let entries = fs::read_dir(&from)?.collect::<Result<Vec<_>, _>>()?;
    let wanted = entries.iter().map(fs::DirEntry::path).filter(|path| !path.ends_with("pg_wal"));
    // What the server removes while it is copied is not needed.
    let status = Command::new("cp").arg("-a").args(wanted).arg(&to).stderr(Stdio::null()).status()?;
    if !to.join("PG_VERSION").exists() {
        bail!("the copy failed: {status}");
    }
    fs::remove_file(to.join("postmaster.pid")).ok();
    fs::remove_file(to.join("postmaster.opts")).ok();
    fs::create_dir(to.join("pg_wal"))?;
    let label = session.query("select labelfile from pg_backup_stop(true)")?;
    let label = label.into_iter().flatten().flatten().next().context("no label")?;
    fs::write(to.join("backup_label"), label)?;
    fs::write(to.join("standby.signal"), "")?;
    let port = primary.address().port();
    let mut settings = fs::read_to_string(to.join("postgresql.auto.conf")).unwrap_or_default();
    settings.push_str(&format!("primary_conninfo = 'host=127.0.0.1 port={port} user=telex'\n"));
    settings.push_str("wal_receiver_timeout = 0\n");
    fs::write(to.join("postgresql.auto.conf"), settings)?;
    let owner = fs::metadata(&from)?;
    fs::set_permissions(&to, owner.permissions())?;
    for name in ["", "pg_wal", "backup_label", "standby.signal", "postgresql.auto.conf"] {
        chown(to.join(name), Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
