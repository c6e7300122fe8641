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
    verdict::{Outcome, Strike},
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
    strike.violations.extend(ended(&world));
    let ran = walked.and_then(|()| compare(&mut world, &mut strike));
    let later: Vec<_> = ended(&world).into_iter().filter(|end| !strike.violations.contains(end)).collect();
    strike.violations.extend(later);
    let mut outcome = world.outcome(strike);
    if let Err(error) = ran {
        interrupt::check()?;
        if outcome.violations.is_empty() {
            return Err(error);
        }
        // What was found stays found, whatever came after it.
        outcome.violations.push(Violation::new("U1", format!("{error:#}")));
    }
    Ok(outcome)
}

/// Ends the load and compares everything. No program is replaced: one that has ended must be there to be told of.
fn compare(world: &mut World, strike: &mut Strike) -> Result<()> {
    let (took, late) = world.catch_up()?;
    strike.recovery = Some(took);
    strike.violations.extend(late);
    strike.violations.extend(world.settle(true)?);
    strike.violations.extend(world.check()?);
    strike.violations.extend(world.prove(&["--applied"])?);
    Ok(())
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
            self.stop(processor)?;
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
            self.stop(api)?;
            self.mixture()?;
        }
        Ok(())
    }

    /// Stops a program that has a successor. Until now it was to go on: an end of its own is no orderly stop.
    fn stop(&mut self, program: Running) -> Result<()> {
        if let Some(end) = end_of(&program) {
            self.violations.push(end);
            return Ok(());
        }
        self.stops.stop(program)
    }

    /// Waits until each program that runs has worked: each processor has applied records, each API has answered 202.
    fn mixture(&mut self) -> Result<()> {
        self.world.spread()?;
        let since = self.world.sql()?.number("select coalesce(max(seq), 0) from torture_audit")?;
        let working = format!(
            "select count(distinct process) from torture_audit where seq > {since} and to_offset > from_offset"
        );
        let before: Option<Vec<u64>> = self.world.apis.iter().map(accepted).collect();
        let before = before.context("an ingest API does not show its counters")?;
        self.world.wait("work for each program", SHARED_WITHIN, |world| {
            let mut apis = world.apis.iter().zip(&before);
            let answers = apis.all(|(api, before)| accepted(api).is_some_and(|now| now > *before));
            let working = usize::try_from(world.sql()?.number(&working)?)?;
            Ok(answers && working == world.processors.len())
        })?;
        self.world.require_rate()?;
        self.mixtures += 1;
        Ok(())
    }
}

fn accepted(api: &Running) -> Option<u64> {
    counted_by(api, "ingest_requests_total{code=\"accepted\"")
}

/// The programs that have ended by themselves.
fn ended(world: &World) -> Vec<Violation> {
    world.processors.values().chain(&world.apis).filter_map(end_of).collect()
}

/// What there is to tell of a program that has ended by itself: its name and its last line.
fn end_of(program: &Running) -> Option<Violation> {
    let server = &program.server;
    if server.is_running() {
        return None;
    }
    let name = server.log().file_stem().unwrap_or_default().to_string_lossy();
    let log = server.log_text();
    let words = log.lines().next_back().unwrap_or("without a word");
    Some(Violation::new("U1", format!("{name} ended by itself: {words}")))
}
