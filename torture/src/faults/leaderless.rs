//! One partition without a leader, and processors that take their partitions up.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Needs, Stage};
use crate::{
    verdict::{Outcome, Strike},
    wire::kafka::End,
    world::World,
};

/// The broker that alone keeps the partition; the other one keeps all others.
const ALONE: i32 = 3;
const OTHER: i32 = 2;
const PARTITION: i32 = 0;
/// What can be taken up is taken up within this time.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// A2: the eleven others go on; the one joins when it has a leader again.
pub fn partition(stage: &mut Stage) -> Result<Outcome> {
    let options = stage.options.clone();
    let ground = stage.ground(Needs::Pair)?;
    let mut site = ground.site();
    site.replicas = vec![vec![OTHER]; site.replicas.len()];
    if let Some(replicas) = site.replicas.first_mut() {
        *replicas = vec![ALONE];
    }
    site.settings.clear();
    let mut world = World::new("A2", &options, &site)?;
    world.complete()?;
    world.warm_up()?;
    world.keep_processors(0)?;
    world.wait("a backlog", Duration::from_secs(20), |world| Ok(world.lag()? > 200))?;
    let ends = world.cluster.ends(&world.topic, End::Latest)?;
    ground.nodes()?.kill(ALONE);
    world.wait("a partition without a leader", Duration::from_secs(30), |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.leaders.get(&PARTITION).is_some_and(Option::is_none))
    })?;
    world.complete()?;
    let (recovery, late) = world.must("A2", "the other partitions go on", TAKEN_WITHIN, move |world| {
        let next = world.next_offsets()?;
        Ok(ends.iter().all(|(partition, end)| *partition == PARTITION || next.get(partition) >= Some(end)))
    })?;
    if world.cluster.topic(&world.topic)?.leaders.get(&PARTITION).is_some_and(Option::is_some) {
        bail!("the partition has a leader");
    }
    ground.nodes()?.mend()?;
    let evidence = "partition 0 of 12 without a leader".to_owned();
    let mut strike = Strike { evidence, recovery: Some(recovery), violations: late.into_iter().collect() };
    world.recover(&mut strike)?;
    world.finish(strike)
}
