//! Failover to a standby that had not yet received everything: the next offsets go back.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
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

use super::Stage;
use crate::{verdict::Outcome, wire::kafka::Cluster, wire::postgres::Connection, world::World};

/// F18.
pub fn with_a_lost_tail(stage: &mut Stage) -> Result<Outcome> {
    let directory = stage.options.directory.join(format!("f18-servers-{:x}", stage.options.seed));
    let mut primary =
        Postgres::start(&stage.installation, postgres::Options::on_free_port(directory.join("primary")))?;
    let cluster = Cluster::of(stage.kafka.address());
    let replicas = vec![vec![1]; 12];
    let mut world = World::new("f18", &stage.options, cluster, &replicas, primary.address())?;
    world.processor("")?;
    world.processor("")?;
    world.warm_up()?;
    copy(&primary, &directory)?;
    let standby =
        Postgres::start(&stage.installation, postgres::Options::on_free_port(directory.join("standby")))?;
    world.wait("the standby to answer", Duration::from_secs(30), |world| {
        Ok(Connection::open(standby.address(), &world.database).is_ok())
    })?;
    let mut at_standby = Connection::open(standby.address(), &world.database)?;
    world.wait("the standby to stream", Duration::from_secs(30), |_| {
        Ok(at_standby.number("select count(*) from pg_stat_wal_receiver where status = 'streaming'")? == 1)
    })?;
    interrupt::pause(Duration::from_secs(2))?;
    let mut at_primary = Connection::open(primary.address(), "postgres")?;
    let sender = at_primary.number("select pid from pg_stat_replication")?;
    kill(Pid::from_raw(i32::try_from(sender)?), Signal::SIGSTOP)?;
    interrupt::pause(Duration::from_secs(3))?;
    let before = world.applied()?;
    let written = at_primary.number("select (pg_current_wal_lsn() - '0/0')::bigint")?;
    let received = at_standby.number("select (pg_last_wal_receive_lsn() - '0/0')::bigint")?;
    if written <= received {
        bail!("nothing was lost: {written} written, {received} received");
    }
    world.sampler.new_timeline();
    primary.kill();
    at_standby.query("select pg_promote(true, 30)")?;
    world.proxy.point_at(standby.address());
    let after = world.applied()?;
    world.sampler.new_timeline();
    if after >= before {
        bail!("next offsets did not go back: {before} applied before, {after} after");
    }
    let (recovery, late) = world.catch_up()?;
    let evidence =
        format!("{} bytes and {} records lost and applied again", written - received, before - after);
    world.finish(evidence, recovery, late.into_iter().collect())
}

/// Copies the primary while it runs, as `pg_basebackup` does, for a standby that follows it.
fn copy(primary: &Postgres, directory: &Path) -> Result<()> {
    let (from, to) = (directory.join("primary/postgres"), directory.join("standby/postgres"));
    fs::create_dir_all(directory.join("standby"))?;
    let mut session = Connection::open(primary.address(), "postgres")?;
    session.query("select pg_backup_start('copy', true)")?;
    let status = Command::new("cp").arg("-a").arg(&from).arg(&to).status()?;
    if !to.join("PG_VERSION").exists() {
        bail!("the copy failed: {status}");
    }
    fs::remove_file(to.join("postmaster.pid")).ok();
    fs::remove_file(to.join("postmaster.opts")).ok();
    fs::remove_dir_all(to.join("pg_wal"))?;
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
    for name in ["pg_wal", "backup_label", "standby.signal", "postgresql.auto.conf"] {
        chown(to.join(name), Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
