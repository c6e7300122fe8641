//! Failover to a standby that had not yet received everything: the next offsets go back.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use dev_env::{interrupt, postgres::Postgres};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::base_backup::BaseBackup;
use crate::{
    checker::Violation,
    ground::Ground,
    verdict::Strike,
    wire::postgres::Connection,
    world::{APPLIED, World},
};

/// A database that has moved back is noticed within this time, also where no record comes (A1).
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// For several looks at the rows.
const LED_ASTRAY: Duration = Duration::from_secs(12);

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

/// F18s: a balancer leads sessions to a standby that is behind. Its rows are older than what owners believe, and
/// nothing is concluded from them, since nothing can be written there.
pub fn sessions_at_a_standby(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let mut behind = Behind::start(world, ground)?;
    let (concluded, applied) = (concluded(world)?, world.applied()?);
    world.sampler.new_timeline();
    world.proxy.point_at(behind.standby.address());
    // Open sessions would stay where they are.
    behind.primary.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'telex-processor'",
    )?;
    let records = applied - world.applied()?;
    interrupt::pause(LED_ASTRAY)?;
    world.proxy.point_at(ground.postgres.address());
    world.sampler.new_timeline();
    let concluded = self::concluded(world)? - concluded;
    behind.end()?;
    ensure!(records > 0, "the standby was not behind");
    let mut strike = Strike::seen(format!("sessions led to a standby {records} records behind"));
    let what = format!("{concluded} differences and halts were concluded from rows of a standby");
    strike.violations.extend(Violation::when(concluded > 0, "A1", what));
    Ok(strike)
}

/// How often a processor has found that a row is not where its owner believes, or has halted a partition.
fn concluded(world: &World) -> Result<i64> {
    let differences = world.counted("processor_differences_total{");
    Ok(i64::try_from(differences)? + world.sql()?.number("select count(*) from halts")?)
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

/// A standby that receives no more, beside the primary, which goes on.
struct Behind {
    standby: Postgres,
    at_standby: Connection,
    primary: Connection,
    sender: Stopped,
}

/// A process of a server's, stopped where it is until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn at(process: Pid) -> Result<Self> {
        kill(process, Signal::SIGSTOP)?;
        Ok(Self(process))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have died meanwhile.
        let _gone = kill(self.0, Signal::SIGCONT).is_err();
    }
}

impl Behind {
    fn start(world: &mut World, ground: &mut Ground) -> Result<Self> {
        let directory = ground.next_data();
        let backup = BaseBackup::take(&ground.postgres, &directory)?;
        let port = ground.postgres.address().port();
        let settings =
            format!("primary_conninfo = 'host=127.0.0.1 port={port} user=telex'\nwal_receiver_timeout = 0\n");
        let standby = backup.start(&ground.installation, "standby.signal", &settings)?;
        world.wait("the standby to answer", Duration::from_secs(30), |world| {
            Ok(Connection::open(standby.address(), &world.database).is_ok())
        })?;
        let mut at_standby = Connection::open(standby.address(), &world.database)?;
        world.wait("the standby to stream", Duration::from_secs(30), |_| {
            let streams = "select count(*) from pg_stat_wal_receiver where status = 'streaming'";
            Ok(at_standby.number(streams)? == 1)
        })?;
        interrupt::pause(Duration::from_secs(1))?;
        let mut primary = Connection::open(ground.postgres.address(), "postgres")?;
        let sender = primary.number("select pid from pg_stat_replication")?;
        let sender = Stopped::at(Pid::from_raw(i32::try_from(sender)?))?;
        interrupt::pause(Duration::from_secs(3))?;
        Ok(Self { standby, at_standby, primary, sender })
    }

    /// The primary goes on without it.
    fn end(mut self) -> Result<()> {
        self.standby.kill();
        drop(self.sender);
        Ok(fs::remove_dir_all(self.standby.data())?)
    }
}

/// Fails over to a standby that has not received the last seconds. `before_death` happens when the standby
/// receives no more, and the primary still lives.
fn fail_over(
    world: &mut World,
    ground: &mut Ground,
    before_death: impl FnOnce(&mut World) -> Result<()>,
) -> Result<Lost> {
    let Behind { standby, mut at_standby, primary: mut at_primary, sender: _sender } =
        Behind::start(world, ground)?;
    before_death(world)?;
    let before = world.applied()?;
    let written = at_primary.number("select (pg_current_wal_lsn() - '0/0')::bigint")?;
    let received = at_standby.number("select (pg_last_wal_receive_lsn() - '0/0')::bigint")?;
    ensure!(written > received, "nothing was lost: {written} written, {received} received");
    world.sampler.new_timeline();
    ground.postgres.kill();
    at_standby.execute("select pg_promote(true, 30)")?;
    // As long as the processors are not led there: afterwards they bring the lost tail back.
    let after = at_standby.number(APPLIED)?;
    world.proxy.point_at(standby.address());
    let lost = std::mem::replace(&mut ground.postgres, standby);
    fs::remove_dir_all(lost.data())?;
    world.sampler.new_timeline();
    ensure!(after < before, "next offsets did not go back: {before} applied before, {after} after");
    Ok(Lost { bytes: written - received, records: before - after })
}
