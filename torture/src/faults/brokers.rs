//! Brokers that end, freeze or cannot be reached, of three that vote.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use dev_env::interrupt;

use crate::{
    checker::Violation,
    gate::{Gate, Passage},
    ground::Ground,
    verdict::Strike,
    world::{SESSION, World},
};

/// After its leader's loss a partition takes messages again within this time (A2).
const LEADS_AGAIN: Duration = Duration::from_secs(15);
/// Until all replicas of a partition are in sync again.
const IN_SYNC: Duration = Duration::from_secs(90);
/// So long that what was acknowledged by the leader alone is not replicated any more when it dies.
const FOLLOWERS_STAND: Duration = Duration::from_millis(400);
/// Longer than the brokers' session (4 s), than a request of an API's may take (6 s) and than a message waits
/// for its acknowledgement (9 s).
const LONG: Duration = Duration::from_secs(20);

/// F5: killed. Its followers stand for a moment before: an acknowledgement that did not wait for them is lost.
pub fn leader_killed(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let (leader, led) = leader(world)?;
    let nodes = ground.nodes()?;
    let followers: Vec<i32> = nodes.broker_ids().into_iter().filter(|id| *id != leader).collect();
    followers.iter().for_each(|id| nodes.freeze(*id));
    interrupt::pause(FOLLOWERS_STAND)?;
    nodes.kill(leader);
    followers.iter().for_each(|id| nodes.thaw(*id));
    led_again(world, ground, &led, format!("broker {leader} killed"))
}

/// F5: asked to stop; it hands its partitions over.
pub fn leader_stopped(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let (leader, led) = leader(world)?;
    ground.nodes()?.stop(leader)?;
    led_again(world, ground, &led, format!("broker {leader} stopped"))
}

/// F6: frozen for longer than its session, and then it goes on as if it still led.
pub fn leader_frozen(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let (leader, led) = leader(world)?;
    let nodes = ground.nodes()?;
    nodes.freeze(leader);
    let frozen = Instant::now();
    let (recovery, late) = takes_messages(world, &led)?;
    interrupt::pause(LONG.saturating_sub(frozen.elapsed()))?;
    ground.nodes()?.thaw(leader);
    in_sync(world)?;
    let evidence = format!("broker {leader} frozen for 20 s");
    Ok(Strike { evidence, recovery: Some(recovery), violations: late.into_iter().collect() })
}

/// F7: the topic asks for three replicas, and two are there: nothing may be acknowledged.
pub fn below_min_in_sync(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let (victim, _) = leader(world)?;
    world.cluster.set_topic_setting(&world.topic, "min.insync.replicas", "3")?;
    ground.nodes()?.kill(victim);
    world.wait("the replicas in sync to be too few", LONG, |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.in_sync.values().all(|ids| ids.len() == 2))
    })?;
    interrupt::pause(Duration::from_millis(500))?;
    let since = world.history.now();
    interrupt::pause(Duration::from_secs(10))?;
    let (acked, unknown) = world.history.begun(since..world.history.now());
    ground.nodes()?.mend()?;
    world.cluster.set_topic_setting(&world.topic, "min.insync.replicas", "2")?;
    ensure!(unknown > 0, "no attempt was refused");
    let mut strike = Strike::seen(format!("{unknown} attempts not answered 202 with two replicas of three"));
    let what = format!("{acked} acknowledged by too few replicas");
    strike.violations.extend(Violation::when(acked > 0, "F7", what));
    flows_again(world, &mut strike)?;
    in_sync(world)?;
    Ok(strike)
}

/// F8: killed at the same moment and started again.
pub fn all_killed(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let nodes = ground.nodes()?;
    for id in nodes.broker_ids() {
        nodes.kill(id);
    }
    ensure!(world.cluster.topic(&world.topic).is_err(), "a broker still answers");
    ground.nodes()?.mend()?;
    let mut strike = Strike::seen("no broker answered".to_owned());
    flows_again(world, &mut strike)?;
    in_sync(world)?;
    Ok(strike)
}

/// F9: the nodes that are left elect another one.
pub fn controller_killed(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let controller = world.cluster.controller()?;
    let topic = world.cluster.topic(&world.topic)?;
    let led = topic.leaders.iter().filter(|(_, leader)| leader.is_some_and(|(id, _)| id == controller));
    let led: Vec<i32> = led.map(|(partition, _)| *partition).collect();
    ground.nodes()?.kill(controller);
    world.wait("another controller", LONG, |world| Ok(world.cluster.controller()? != controller))?;
    led_again(world, ground, &led, format!("controller {controller} killed, another elected"))
}

/// F10: the APIs do not reach one of the brokers, which the others do.
pub fn apis_cut_off(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let (leader, _) = leader(world)?;
    let gate = ground.nodes()?.api_gates().remove(&leader).context("no gate")?;
    let (held, unanswered) = (gate.held(), world.history.unanswered());
    gate.set(Passage::Closed);
    interrupt::pause(LONG)?;
    gate.set(Passage::Open);
    let held = gate.held() - held;
    ensure!(held > 0, "nothing was sent to broker {leader}");
    let mut strike = Strike::seen(format!("bytes to broker {leader} held {held} times in 20 s"));
    let unanswered = world.history.unanswered() - unanswered;
    let what = format!("{unanswered} requests without an answer while a broker could not be reached");
    strike.violations.extend(Violation::when(unanswered > 0, "F10", what));
    flows_again(world, &mut strike)?;
    Ok(strike)
}

/// F11: the processors reach PostgreSQL, but not Kafka, for longer than their session.
pub fn processors_cut_off(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let gates = ground.nodes()?.processor_gates();
    let (held, unknown) = (sum(&gates), world.history.unknown());
    gates.values().for_each(|gate| gate.set(Passage::Closed));
    interrupt::pause(SESSION + Duration::from_secs(4))?;
    let unknown = world.history.unknown() - unknown;
    gates.values().for_each(|gate| gate.set(Passage::Open));
    let held = sum(&gates) - held;
    ensure!(held > 0, "nothing was sent");
    let mut strike = Strike::seen(format!("bytes to and from processors held {held} times in 10 s"));
    let what = format!("{unknown} attempts not answered 202 while the processors were cut off");
    strike.violations.extend(Violation::when(unknown > 0, "A1", what));
    Ok(strike)
}

/// F15: the brokers write, and their answers do not come back.
pub fn acknowledgements_lost(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    let gates = ground.nodes()?.api_gates();
    let held = sum(&gates);
    gates.values().for_each(|gate| gate.set(Passage::Deaf));
    interrupt::pause(Duration::from_secs(2))?;
    gates.values().for_each(|gate| gate.set(Passage::Open));
    let held = sum(&gates) - held;
    ensure!(held > 0, "no answer was lost");
    let mut strike = Strike::seen(format!("answers of brokers lost on {held} connections"));
    flows_again(world, &mut strike)?;
    Ok(strike)
}

fn sum(gates: &BTreeMap<i32, Gate>) -> u64 {
    gates.values().map(Gate::held).sum()
}

/// The broker that leads a partition, and all that it leads.
fn leader(world: &mut World) -> Result<(i32, Vec<i32>)> {
    let topic = world.cluster.topic(&world.topic)?;
    let partition = i32::try_from(world.random.below(topic.leaders.len() as u64))?;
    let (leader, _) = topic.leaders.get(&partition).copied().flatten().context("no leader")?;
    let led = topic.leaders.iter().filter(|(_, at)| at.is_some_and(|(id, _)| id == leader));
    Ok((leader, led.map(|(partition, _)| *partition).collect()))
}

/// The partitions take messages again; then all nodes run, and all replicas are in sync.
fn led_again(world: &mut World, ground: &mut Ground, led: &[i32], evidence: String) -> Result<Strike> {
    let (recovery, late) = takes_messages(world, led)?;
    ground.nodes()?.mend()?;
    in_sync(world)?;
    Ok(Strike { evidence, recovery: Some(recovery), violations: late.into_iter().collect() })
}

/// A2: how long it takes until each of the partitions has a 202 again.
fn takes_messages(world: &mut World, led: &[i32]) -> Result<(Duration, Option<Violation>)> {
    let since = world.history.now();
    world.must("A2", "202 for the partitions that were led", LEADS_AGAIN, |world| {
        Ok(led.iter().all(|partition| world.history.last_acked(*partition) > Some(since)))
    })
}

fn in_sync(world: &mut World) -> Result<()> {
    world.wait("all replicas in sync", IN_SYNC, |world| {
        let topic = world.cluster.topic(&world.topic)?;
        Ok(topic.in_sync.values().all(|ids| ids.len() == 3))
    })?;
    Ok(())
}

/// How long it takes until messages are acknowledged again, everywhere.
fn flows_again(world: &mut World, strike: &mut Strike) -> Result<()> {
    let since = world.history.now();
    let partitions: Vec<i32> = world.cluster.topic(&world.topic)?.leaders.into_keys().collect();
    let (took, late) = world.must("A2", "202 for all partitions", Duration::from_secs(60), |world| {
        Ok(partitions.iter().all(|partition| world.history.last_acked(*partition) > Some(since)))
    })?;
    strike.recovery = Some(took);
    strike.violations.extend(late);
    Ok(())
}
