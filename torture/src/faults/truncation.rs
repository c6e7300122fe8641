//! A log that loses its end: an unclean election makes a replica the leader that had not received everything.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use dev_env::interrupt;

use super::{
    Needs, Stage,
    topic::{must_stop, stop_and_check},
};
use crate::{
    verdict::{Outcome, Strike},
    wire::kafka::End,
    world::World,
};

const LEADER: i32 = 2;
const FOLLOWER: i32 = 3;

/// F27: the follower is away while records are written and applied; then the leader goes, and the follower
/// comes back alone.
pub fn unclean_election(stage: &mut Stage) -> Result<Outcome> {
    let options = stage.options.clone();
    let ground = stage.ground(Needs::Pair)?;
    let mut site = ground.site();
    site.replicas = vec![vec![LEADER, FOLLOWER]; site.replicas.len()];
    site.settings = vec![("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
    let nodes = ground.nodes()?;
    let mut world = World::new("f27", &options, &site)?;
    world.complete()?;
    world.warm_up()?;
    nodes.kill(FOLLOWER);
    world.wait("the follower to leave the replicas in sync", Duration::from_secs(40), |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.in_sync.values().all(|in_sync| *in_sync == [LEADER]))
    })?;
    interrupt::pause(Duration::from_secs(2))?;
    let mut violations = stop_and_check(&mut world)?;
    world.apis.clear();
    world.retarget();
    let applied = world.next_offsets()?;
    nodes.kill(LEADER);
    nodes.run(FOLLOWER)?;
    world.wait("the follower to lead", Duration::from_secs(60), |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.leaders.values().all(|leader| leader.is_some_and(|(id, _)| id == FOLLOWER)))
    })?;
    let mut ends = BTreeMap::new();
    world.wait("the new leader to answer", Duration::from_secs(30), |world| {
        ends = world.cluster.ends(&world.topic, End::Latest)?;
        Ok(true)
    })?;
    let lost: BTreeMap<i32, i64> = applied
        .iter()
        .filter_map(|(partition, next)| Some((*partition, next - ends.get(partition)?)))
        .filter(|(_, lost)| *lost > 0)
        .collect();
    ensure!(!lost.is_empty(), "no log ends before its next offset");
    let (stopped, took) = must_stop(&mut world, &["beyond_log_end", "digest_mismatch"], lost.len())?;
    violations.extend(stopped);
    let records: i64 = lost.values().sum();
    let evidence = format!("{records} applied records gone from {} logs", lost.len());
    let outcome = world.outcome(Strike { evidence, recovery: Some(took), violations });
    world.processors.clear();
    nodes.mend()?;
    Ok(outcome)
}
