//! More partitions, more processors, fewer again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{PARTITIONS, Running},
};

use super::Stage;
use crate::{
    checker::Violation,
    ground::Ground,
    verdict::{Outcome, Strike},
    world::World,
};

/// A process that is asked to stop is gone within this time (A3).
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// F28: the topic gets twice its partitions; the API keeps to the number that it is pinned to.
pub fn partitions_added(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f28")?;
    world.processor("")?;
    world.processor("")?;
    world.warm_up()?;
    world.cluster.create_partitions(&world.topic, PARTITIONS * 2)?;
    interrupt::pause(Duration::from_secs(6))?;
    let partitions = world.cluster.topic(&world.topic)?.leaders.len();
    ensure!(partitions == usize::try_from(PARTITIONS * 2)?, "the topic has {partitions} partitions");
    let mut strike = Strike::seen(format!("{PARTITIONS} partitions became {partitions}"));
    world.recover(&mut strike)?;
    let violations = &mut strike.violations;
    // Whether a processor with partitions that nobody writes to is ready is its operator's question.
    violations.extend(world.settle(false)?);
    violations.extend(world.check()?);
    let logs = world.cluster.read(&world.topic)?;
    let strayed = logs.range(PARTITIONS..).map(|(_, log)| log.records.len()).sum::<usize>();
    let what = format!("{strayed} records in the new partitions");
    violations.extend(Violation::when(strayed > 0, "I4", what));
    Ok(world.outcome(strike))
}

/// F31: processors 1, 3, 6, 1, then each API, under load.
pub fn rolling_restarts(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    world.api(Port::Free)?;
    world.keep_processors(1)?;
    let first = world.processors.keys().next().cloned().context("no processor")?;
    let mut stops = Stops::default();
    for count in [3, 6] {
        while world.processors.len() < count {
            world.processor("")?;
        }
        world.spread()?;
    }
    let others: Vec<String> = world.processors.keys().filter(|name| **name != first).cloned().collect();
    for name in others {
        let processor = world.processors.remove(&name).context("no processor")?;
        stops.stop(processor)?;
    }
    world.spread()?;
    for _ in 0..world.apis.len() {
        world.api(Port::Free)?;
        let api = world.apis.remove(0);
        world.retarget();
        stops.stop(api)?;
    }
    Ok(stops.strike())
}

/// F31, of one processor and the API: each has a successor before it is asked to stop.
pub fn orderly_restart(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let mut stops = Stops::default();
    let (_, processor) = world.processors.pop_first().context("no processor")?;
    world.processor("")?;
    stops.stop(processor)?;
    world.spread()?;
    world.api(Port::Free)?;
    let api = world.apis.remove(0);
    world.retarget();
    stops.stop(api)?;
    Ok(stops.strike())
}

/// Orderly stops, and how long they took.
#[derive(Default)]
pub(super) struct Stops {
    count: usize,
    slowest: Duration,
    violations: Vec<Violation>,
}

impl Stops {
    pub(super) fn strike(self) -> Strike {
        let slowest = self.slowest.as_secs_f64();
        let mut strike = Strike::seen(format!("{} orderly stops, the slowest {slowest:.1} s", self.count));
        strike.violations = self.violations;
        strike
    }

    pub(super) fn stop(&mut self, mut program: Running) -> Result<()> {
        let asked = Instant::now();
        program.stop()?;
        let took = asked.elapsed();
        self.count += 1;
        self.slowest = self.slowest.max(took);
        let what = format!("an orderly stop took {} s", took.as_secs());
        self.violations.extend(Violation::when(took > STOPS_WITHIN, "A3", what));
        Ok(())
    }
}
