//! Takeovers that hang while the group gives their partitions to others.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dev_env::interrupt;

use crate::{
    checker::Violation,
    ground::Ground,
    verdict::Strike,
    world::{SESSION, World},
};

/// Until the group has given every partition to somebody, and nothing moves any more.
const QUIET: Duration = Duration::from_secs(8);

/// A3: the table of halts is locked, so that nobody can take anything up. Of two processors one is killed, and
/// the other, whose takeover of its partitions hangs, is frozen until the group has given them to a third. When
/// the table is free again, each partition is taken by one processor: the one that the group says.
pub fn overtaken(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    world.keep_processors(2)?;
    let (victim, mut killed) = world.processors.pop_first().context("no processor")?;
    let late = world.processors.keys().next().cloned().context("no processor")?;
    let mut stranger = world.sql()?;
    stranger.query("begin; lock table halts in access exclusive mode")?;
    let assignments = |world: &mut World, name: &str| -> Result<usize> {
        Ok(world.running(name)?.server.log_text().matches("partitions assigned").count())
    };
    let before = assignments(world, &late)?;
    killed.server.kill();
    world.wait(&format!("the partitions of {victim} to be assigned to {late}"), SESSION * 3, |world| {
        Ok(assignments(world, &late)? > before)
    })?;
    world.running(&late)?.server.freeze();
    let heir = world.processor("")?;
    let assigned = world.wait("all partitions to be assigned to the heir", SESSION * 4, |world| {
        Ok(assignments(world, &heir)? > 0)
    });
    world.running(&late)?.server.thaw();
    assigned?;
    interrupt::pause(QUIET)?;
    let last = world.sql()?.number("select coalesce(max(seq), 0) from torture_audit")?;
    stranger.query("rollback")?;
    interrupt::pause(QUIET)?;
    let rows = world.sql()?.query(&format!(
        "select partition, count(*), string_agg(process, ', ' order by seq) from torture_audit
         where seq > {last} and to_epoch > from_epoch group by partition order by partition"
    ))?;
    if rows.is_empty() {
        bail!("nothing was taken up");
    }
    let mut strike = Strike::seen(format!("takeovers of {} partitions hung", rows.len()));
    for row in rows {
        let [Some(partition), Some(count), Some(processes)] = &row[..] else { continue };
        if count != "1" {
            let what = format!("partition {partition} was taken up {count} times, by {processes}");
            strike.violations.push(Violation::new("A3", what));
        }
    }
    Ok(strike)
}
