//! Programs of a former commit and of this one beside each other, under load: an upgrade, the way back, another upgrade.
//!
//! The load is what both know. A commit that brings a new type of record forbids one step, APIs before processors: it is
//! the commit that takes the step from here, and docs/upgrades.md says what happens to who takes it all the same.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use dev_env::{interrupt, ports::Port, programs::Running};

use super::{Needs, Stage, scale::Stops};
use crate::{
    checker::Violation,
    verdict::Outcome,
    world::{Options, World, counted_by},
};

/// Within this time each program has its share of the work.
const SHARED_WITHIN: Duration = Duration::from_secs(40);

/// U1: each program is replaced by one of the other commit, one after the other, in the order of docs/upgrades.md; the
/// second upgrade begins with the APIs.
pub fn there_and_back(stage: &mut Stage) -> Result<Outcome> {
    let former = stage.options.former.clone().context("no former programs: see --former")?;
    let present = stage.options.binaries.clone();
    let options = Options { binaries: former.clone(), ..stage.options.clone() };
    let mut world = World::new("U1", &options, &stage.ground(Needs::Small)?.site())?;
    // Before the load, so that each has its part of the connections.
    world.api(Port::Free)?;
    world.complete()?;
    world.warm_up()?;
    let mut rollout =
        Rollout { world: &mut world, stops: Stops::default(), mixtures: 0, violations: Vec::new() };
    let walked = rollout.walk(&former, &present);
    let Rollout { stops, mixtures, violations, .. } = rollout;
    let mut strike = stops.strike();
    strike.evidence = format!("{mixtures} mixtures under load, {}", strike.evidence);
    strike.violations.extend(violations);
    if let Err(error) = walked {
        interrupt::check()?;
        let ended = ended(&world);
        if ended.is_empty() {
            return Err(error);
        }
        let told = ended.into_iter().map(|words| Violation::new("U1", format!("{error:#}: {words}")));
        strike.violations.extend(told);
        return Ok(world.outcome(strike));
    }
    world.recover(&mut strike)?;
    strike.violations.extend(world.settle(true)?);
    strike.violations.extend(world.check()?);
    strike.violations.extend(world.prove(&["--applied"])?);
    Ok(world.outcome(strike))
}

struct Rollout<'a> {
    world: &'a mut World,
    stops: Stops,
    /// Sets of programs that all had work.
    mixtures: u32,
    violations: Vec<Violation>,
}

impl Rollout<'_> {
    fn walk(&mut self, former: &Path, present: &Path) -> Result<()> {
        self.world.start_from(present);
        self.world.command(&["migrate"])?;
        self.processors(present).context("the upgrade of the processors")?;
        self.apis(present).context("the upgrade of the APIs")?;
        self.violations.extend(self.world.prove(&[])?);

        self.apis(former).context("the way back of the APIs")?;
        let (_, late) = self.world.catch_up()?;
        self.violations.extend(late);
        self.world.start_from(former);
        self.world.command(&["migrate"]).context("the former migrate")?;
        self.processors(former).context("the way back of the processors")?;
        self.violations.extend(self.world.prove(&["--since-last"])?);

        self.apis(present).context("APIs upgraded before the processors")?;
        self.processors(present).context("processors upgraded after the APIs")
    }

    /// Replaces the processors, each when its successor has partitions.
    fn processors(&mut self, binaries: &Path) -> Result<()> {
        self.world.start_from(binaries);
        let leaving: Vec<String> = self.world.processors.keys().cloned().collect();
        for name in leaving {
            self.world.processor("")?;
            self.mixture()?;
            let processor = self.world.processors.remove(&name).context("no processor")?;
            self.stops.stop(processor)?;
            self.mixture()?;
        }
        Ok(())
    }

    fn apis(&mut self, binaries: &Path) -> Result<()> {
        self.world.start_from(binaries);
        for place in 0..self.world.apis.len() {
            self.world.api(Port::Free)?;
            // The successor is last, and gets the place and with it the connections of the one that goes.
            let api = self.world.apis.swap_remove(place);
            self.world.retarget();
            self.stops.stop(api)?;
            self.mixture()?;
        }
        Ok(())
    }

    /// Waits until each program that runs has worked: each processor has applied records, each API has answered 202.
    fn mixture(&mut self) -> Result<()> {
        self.world.spread()?;
        let since = self.world.sql()?.number("select coalesce(max(seq), 0) from torture_audit")?;
        let working = format!(
            "select count(distinct process) from torture_audit where seq > {since} and to_offset > from_offset"
        );
        let before: Vec<u64> = self.world.apis.iter().map(accepted).collect();
        self.world.wait("work for each program", SHARED_WITHIN, |world| {
            let answers = world.apis.iter().zip(&before).all(|(api, before)| accepted(api) > *before);
            let working = usize::try_from(world.sql()?.number(&working)?)?;
            Ok(answers && working == world.processors.len())
        })?;
        self.world.require_rate()?;
        self.mixtures += 1;
        Ok(())
    }
}

fn accepted(api: &Running) -> u64 {
    counted_by(api, "ingest_requests_total{code=\"accepted\"")
}

/// The last line of each of the programs that have ended by themselves.
fn ended(world: &World) -> Vec<String> {
    let programs = world.processors.values().chain(&world.apis);
    let ended = programs.filter(|program| !program.server.is_running());
    let words = ended.map(|program| program.server.log_text().lines().next_back().map(str::to_owned));
    words.map(|line| line.unwrap_or_else(|| "a program ended without a word".to_owned())).collect()
}
