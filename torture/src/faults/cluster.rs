//! The processors' settings lead to another Kafka, and to the same tables.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dev_env::{ports::Port, programs::TOPIC_SETTINGS};

use super::{
    Needs, Stage,
    topic::{must_stop, stop_and_check},
};
use crate::{
    checker::Violation,
    verdict::{Outcome, Strike},
};

/// A4: another cluster has a topic of the same name: staging's brokers and production's tables.
pub fn another(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("A4")?;
    world.complete()?;
    world.warm_up()?;
    let mut violations = stop_and_check(&mut world)?;
    world.apis.clear();
    world.retarget();
    let mut site = stage.ground(Needs::Pair)?.site();
    site.cluster.create_topic(&world.topic, &site.replicas, &TOPIC_SETTINGS)?;
    site.database = world.proxy.server();
    world.read_from(&site);
    world.api(Port::Free)?;
    world.start_load();
    let before = world.history.acked();
    world.wait("messages in the other cluster", Duration::from_secs(20), |world| {
        Ok(world.history.acked() > before + 100)
    })?;
    let kept = world.history.acked() - before;
    let (stopped, took) = must_stop(&mut world, &["other_cluster"], site.replicas.len())?;
    violations.extend(stopped);
    let topics = world.sql()?.number("select count(*) from topics").context("topics")?;
    let what = format!("{topics} topics are registered, one of them in silence");
    violations.extend(Violation::when(topics != 1, "P10", what));
    let evidence = format!("{kept} messages in another cluster's topic of the same name");
    Ok(world.outcome(Strike { evidence, recovery: Some(took), violations }))
}
