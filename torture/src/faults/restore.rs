//! PostgreSQL is lost, and restored to a moment ago while producers go on: rows go back by minutes, and the topic
//! brings back what they held.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dev_env::interrupt;

use super::base_backup::BaseBackup;
use crate::{
    ground::Ground,
    verdict::Strike,
    wire::postgres::Connection,
    world::{APPLIED, World},
};

/// So long the load goes on between the backup and the moment that is restored.
const BEFORE: Duration = Duration::from_secs(4);
/// Recovery replays WAL of that moment: it may take a part of the time in which it was written.
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);

/// F20: a base backup, the WAL since, and a target time.
pub fn to_a_moment_ago(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let mut primary = Connection::open(ground.postgres.address(), "postgres")?;
    // What an archive would keep.
    primary.execute("alter system set wal_keep_size = '16GB'")?;
    primary.execute("select pg_reload_conf()")?;
    let start = Instant::now();
    let directory = ground.next_data();
    let backup = BaseBackup::take(&ground.postgres, &directory)?;
    let (size, backed_up) = (backup.size, start.elapsed());
    interrupt::pause(BEFORE)?;
    let target = "select to_json(clock_timestamp()::text)";
    let target = primary.rows::<String>(target)?.pop().context("no time")?;
    interrupt::pause(world.options.restore_ago)?;
    let before = world.applied()?;
    world.sampler.new_timeline();
    ground.postgres.kill();

    let start = Instant::now();
    let archive = ground.postgres.data().join("pg_wal");
    let settings = format!(
        "restore_command = 'cp \"{}/%f\" \"%p\"'\nrecovery_target_time = '{target}'\n\
         recovery_target_action = 'promote'\n",
        archive.display()
    );
    let restored = backup.start(&ground.installation, "recovery.signal", &settings)?;
    world.wait("the end of the recovery", RECOVERED_WITHIN, |_| {
        let mut session = Connection::open(restored.address(), "postgres")?;
        Ok(session.number("select pg_is_in_recovery()::int")? == 0)
    })?;
    let recovered = start.elapsed();
    // Whatever is copied from it next is not to stop there.
    let mut session = Connection::open(restored.address(), "postgres")?;
    for setting in ["restore_command", "recovery_target_time", "recovery_target_action", "wal_keep_size"] {
        session.execute(&format!("alter system reset {setting}"))?;
    }
    let lost = std::mem::replace(&mut ground.postgres, restored);
    fs::remove_dir_all(lost.data())?;
    // As long as the processors are not led there: afterwards they bring back what it lacks.
    let after = Connection::open(ground.postgres.address(), &world.database)?.number(APPLIED)?;
    world.proxy.point_at(ground.postgres.address());
    world.sampler.new_timeline();
    ensure!(after < before, "next offsets did not go back: {before} applied before, {after} after");
    Ok(Strike::seen(format!(
        "restored to {} s ago: {} MB copied in {:.1} s, back after {:.1} s, {} records applied again",
        world.options.restore_ago.as_secs(),
        size / 1_000_000,
        backed_up.as_secs_f64(),
        recovered.as_secs_f64(),
        before - after
    )))
}
