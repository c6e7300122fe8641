//! More partitions, more processors, fewer again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{PARTITIONS, Running},
};

use super::Stage;
use crate::{checker::Violation, verdict::Outcome, world::World};

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
    if partitions != usize::try_from(PARTITIONS * 2)? {
        bail!("the topic has {partitions} partitions");
    }
    let (recovery, late) = world.catch_up()?;
    let mut violations: Vec<Violation> = late.into_iter().collect();
    // Whether a processor with partitions that nobody writes to is ready is its operator's question.
    violations.extend(world.settle(false)?);
    violations.extend(world.check()?);
    let logs = world.cluster.read(&world.topic)?;
    let strayed = logs.range(PARTITIONS..).map(|(_, log)| log.records.len()).sum::<usize>();
    if strayed > 0 {
        violations.push(Violation::new("I4", format!("{strayed} records in the new partitions")));
    }
    Ok(world.outcome(format!("{PARTITIONS} partitions became {partitions}"), recovery, violations))
}

/// F31: processors 1, 3, 6, 1, then each API, under load.
pub fn rolling_restarts(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f31")?;
    world.api(Port::Free)?;
    let first = world.processor("")?;
    world.warm_up()?;
    let mut stops = Stops::default();
    for count in [3, 6] {
        while world.processors.len() < count {
            world.processor("")?;
        }
        spread(&mut world, count)?;
    }
    let others: Vec<String> = world.processors.keys().filter(|name| **name != first).cloned().collect();
    for name in others {
        let processor = world.processors.remove(&name).context("no processor")?;
        stops.stop(processor)?;
    }
    spread(&mut world, 1)?;
    for _ in 0..world.apis.len() {
        world.api(Port::Free)?;
        let api = world.apis.remove(0);
        world.retarget();
        stops.stop(api)?;
    }
    let (recovery, late) = world.catch_up()?;
    stops.violations.extend(late);
    let evidence = format!("{} orderly stops, the slowest {:.1} s", stops.count, stops.slowest.as_secs_f64());
    world.finish(evidence, recovery, stops.violations)
}

/// Waits until every processor has taken a partition.
fn spread(world: &mut World, count: usize) -> Result<()> {
    world.wait("every processor to own a partition", Duration::from_secs(40), |world| {
        let owners = world.owners()?;
        Ok(world.processors.keys().filter(|name| owners.values().any(|owner| owner == *name)).count()
            == count)
    })?;
    Ok(())
}

#[derive(Default)]
struct Stops {
    count: usize,
    slowest: Duration,
    violations: Vec<Violation>,
}

impl Stops {
    fn stop(&mut self, mut program: Running) -> Result<()> {
        let asked = Instant::now();
        program.stop()?;
        let took = asked.elapsed();
        self.count += 1;
        self.slowest = self.slowest.max(took);
        if took > STOPS_WITHIN {
            self.violations.push(Violation::new("A3", format!("an orderly stop took {} s", took.as_secs())));
        }
        Ok(())
    }
}
