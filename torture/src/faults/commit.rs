//! COMMIT, and the connection breaks, or says nothing any more.

use std::time::Duration;

use anyhow::{Result, ensure};
use dev_env::{interrupt, proxy::Mode};

use crate::{ground::Ground, verdict::Strike, world::World};

/// COMMITs that must be broken for the run to count.
const BROKEN_MIN: u64 = 5;
/// After this time an attempt is left behind; the server has ended its transaction long before.
const LEFT_BEHIND: Duration = Duration::from_secs(30);

/// F13: the server never sees it.
pub fn before_the_server(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    broken(world, Mode::DropCommit)
}

/// F14: the server commits, and the answer is lost.
pub fn after_the_server(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    broken(world, Mode::SwallowAnswer)
}

fn broken(world: &mut World, mode: Mode) -> Result<Strike> {
    let before = world.proxy.broken();
    world.proxy.set(mode);
    interrupt::pause(Duration::from_secs(6))?;
    world.proxy.set(Mode::Pass);
    let broken = world.proxy.broken() - before;
    let wanted = if world.options.is_planted { 1 } else { BROKEN_MIN };
    ensure!(broken >= wanted, "only {broken} COMMITs were broken");
    Ok(Strike::seen(format!("{broken} COMMITs broken")))
}

/// F14h: COMMITs and their connections stand still. Their lanes leave them behind and go on over other
/// connections; in the end the COMMITs arrive, and come to nothing.
pub fn hangs(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let before = world.proxy.broken();
    world.proxy.set(Mode::HoldCommit);
    world.wait("COMMITs to hang", Duration::from_secs(10), |world| Ok(world.proxy.broken() >= before + 2))?;
    // Only those: what comes over other connections passes.
    world.proxy.set(Mode::KeepHolding);
    let held = world.proxy.broken() - before;
    let (went_on, late) =
        world.must("P11", "lanes go on without their COMMITs", LEFT_BEHIND + Duration::from_secs(10), {
            let mut stood = None;
            move |world| {
                let next = world.next_offsets()?;
                let stood = stood.get_or_insert_with(|| next.clone());
                Ok(next.iter().all(|(partition, next)| stood.get(partition) < Some(next)))
            }
        })?;
    world.proxy.set(Mode::Pass);
    let mut strike = Strike::seen(format!("{held} COMMITs held for {} s", went_on.as_secs()));
    strike.violations.extend(late);
    Ok(strike)
}
