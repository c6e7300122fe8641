//! COMMIT, and the connection breaks.

use std::time::Duration;

use anyhow::{Result, bail};
use dev_env::interrupt;

use super::Stage;
use crate::{proxy::Mode, verdict::Outcome};

/// COMMITs that must be broken for the run to count.
const BROKEN_MIN: u64 = 5;

/// F13: the server never sees it.
pub fn before_the_server(stage: &mut Stage) -> Result<Outcome> {
    broken(stage, "f13", Mode::DropCommit)
}

/// F14: the server commits, and the answer is lost.
pub fn after_the_server(stage: &mut Stage) -> Result<Outcome> {
    broken(stage, "f14", Mode::SwallowAnswer)
}

fn broken(stage: &mut Stage, name: &str, mode: Mode) -> Result<Outcome> {
    let mut world = stage.world(name)?;
    world.processor("")?;
    world.processor("")?;
    world.warm_up()?;
    world.proxy.set(mode);
    interrupt::pause(Duration::from_secs(6))?;
    world.proxy.set(Mode::Pass);
    let broken = world.proxy.broken();
    if broken < BROKEN_MIN && world.options.plant.is_none() || broken == 0 {
        bail!("only {broken} COMMITs were broken");
    }
    let (recovery, late) = world.catch_up()?;
    world.finish(format!("{broken} COMMITs broken"), recovery, late.into_iter().collect())
}
