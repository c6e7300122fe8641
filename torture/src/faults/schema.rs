//! Somebody changes the tables.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Stage;
use crate::{
    checker::Violation,
    verdict::{Outcome, Strike},
    world::World,
};

const HALTED_WITHIN: Duration = Duration::from_secs(30);

/// B3: a colleague's column that nobody fills. It speaks of the table and not of a record: partitions halt, no
/// record becomes a dead letter, and once the column is gone and the halts are resumed everything is applied.
pub fn slip(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("B3")?;
    world.complete()?;
    world.warm_up()?;
    world.sql()?.execute(
        "alter table messages add column tenant text not null default '';
         alter table messages alter column tenant drop default",
    )?;
    let (took, late) =
        world.must("B3", "partitions halt by name", HALTED_WITHIN, |world| Ok(halts(world)?.len() >= 12))?;
    let mut strike =
        Strike { evidence: String::new(), recovery: Some(took), violations: late.into_iter().collect() };
    let blamed = "select count(*) from dead_letters where reason <> 'conflicting_duplicate'";
    let blamed = world.sql()?.number(blamed)?;
    let what = format!("{blamed} good messages are dead letters");
    strike.violations.extend(Violation::when(blamed > 0, "P9", what));
    ensure!(blamed > 0 || !halts(&mut world)?.is_empty(), "nobody has met the column");
    world.sql()?.execute("alter table messages drop column tenant")?;
    let halted = halts(&mut world)?;
    strike.evidence = format!("{} partitions halted", halted.len());
    for (partition, reason) in halted {
        let next = world.next_offsets()?.get(&partition).copied().context("no row")?.to_string();
        let partition = partition.to_string();
        let place = ["--partition", &partition, "--from", &next, "--to", &next];
        let arguments = [&["halts", "resume"], &place[..], &["--reason-code", &reason, "--yes"]].concat();
        world.command(&arguments)?;
    }
    world.recover(&mut strike)?;
    world.finish(strike)
}

/// The halts that stand, with their reasons' codes.
fn halts(world: &mut World) -> Result<Vec<(i32, String)>> {
    world.sql()?.rows("select json_build_array(partition, reason) from halts where resumed_at is null")
}
