//! Takeovers that hang while the group gives their partitions to others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dev_env::interrupt;

use crate::{
    checker::Violation,
    ground::Ground,
    verdict::Strike,
    world::{SESSION, World},
};

/// Until the group has given every partition to somebody, and nothing moves any more.
const QUIET: Duration = Duration::from_secs(8);

/// A3: the table of halts is locked, so that nobody can take anything up. Of three processors one is killed; a
/// second one, whose takeover of its partitions hangs, is frozen until the group has given all of them to the
/// third. When the table is free again, each partition is taken by one processor: the one that the group says.
pub fn overtaken(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let heir = world.processor("")?;
    world.wait("partitions of the heir", SESSION * 3, |world| {
        Ok(world.owners()?.values().any(|owner| *owner == heir))
    })?;
    let mut others = world.processors.keys().filter(|name| **name != heir).cloned();
    let (victim, late) = (others.next().context("no victim")?, others.next().context("nobody to be late")?);
    let mut stranger = world.sql()?;
    stranger.execute("begin; lock table halts in access exclusive mode")?;
    let assignments = |world: &mut World, name: &str| -> Result<usize> {
        Ok(world.running(name)?.server.log_text().matches(r#""event":"assigned""#).count())
    };
    let before = assignments(world, &late)?;
    world.running(&victim)?.server.kill();
    world.processors.remove(&victim);
    world.wait(&format!("the partitions of {victim} to be assigned"), SESSION * 3, |world| {
        Ok(assignments(world, &late)? > before)
    })?;
    let before = assignments(world, &heir)?;
    world.running(&late)?.server.freeze();
    let assigned = world.wait("all partitions to be assigned to the heir", SESSION * 4, |world| {
        Ok(assignments(world, &heir)? > before)
    });
    world.running(&late)?.server.thaw();
    assigned?;
    interrupt::pause(QUIET)?;
    let last = world.sql()?.number("select coalesce(max(seq), 0) from torture_audit")?;
    stranger.execute("rollback")?;
    interrupt::pause(QUIET)?;
    let rows: Vec<(i32, i64, String)> = world.sql()?.rows(&format!(
        "select json_build_array(partition, count(*), string_agg(process, ', ' order by seq)) from torture_audit
         where seq > {last} and to_epoch > from_epoch group by partition order by partition"
    ))?;
    ensure!(!rows.is_empty(), "nothing was taken up");
    let mut strike = Strike::seen(format!("takeovers of {} partitions hung", rows.len()));
    for (partition, count, processes) in rows {
        let what = format!("partition {partition} was taken up {count} times, by {processes}");
        strike.violations.extend(Violation::when(count != 1, "A3", what));
    }
    Ok(strike)
}
