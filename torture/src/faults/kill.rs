//! Processes that end without a word.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dev_env::{interrupt, ports::Port};

use crate::{
    checker::Violation,
    ground::Ground,
    verdict::Strike,
    world::{SESSION, TAKEOVER, World},
};

/// Where a processor can be held, and after how many passages at most: by record, chunk, batch or second.
const FAILPOINTS: [(&str, u64); 12] = [
    ("after_poll", 200),
    ("after_route", 60),
    ("after_begin", 60),
    ("after_clients", 60),
    ("after_dialogs", 60),
    ("after_messages", 60),
    ("after_dead_letters", 60),
    ("after_cas", 60),
    ("after_commit", 60),
    ("after_ack", 3),
    ("inside_assign", 1),
    ("inside_revoke", 1),
];

const HELD_WITHIN: Duration = Duration::from_secs(30);

/// F1: one processor stays; another is killed at each failpoint, and the first has to take over.
pub fn at_every_failpoint(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    kill_at(world, &FAILPOINTS)
}

/// F1, at a failpoint that is left to chance.
pub fn at_a_failpoint(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let at = usize::try_from(world.random.below(FAILPOINTS.len() as u64))?;
    kill_at(world, FAILPOINTS.get(at..=at).unwrap_or_default())
}

/// F1, only around the COMMIT: what finds a bug in it. Several times right after it, since not each transaction has a
/// dead letter, which a processor could still owe (M8).
pub fn around_the_commit(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let around =
        ["after_dead_letters", "after_cas", "after_commit", "after_commit", "after_commit", "after_commit"];
    kill_at(world, &around.map(|name| (name, 60)))
}

fn kill_at(world: &mut World, failpoints: &[(&str, u64)]) -> Result<Strike> {
    world.keep_processors(0)?;
    let _survivor = world.processor("")?;
    let (mut slowest, mut violations) = (Duration::ZERO, Vec::new());
    for (name, passages) in failpoints {
        let passed = world.random.below(*passages);
        let victim = world.processor(&format!("{name}={passed}*off->1*return(600000)"))?;
        let joins = (*name == "inside_revoke").then(|| take_some(world, &victim)).transpose()?;
        world.wait(&format!("{name} reached"), HELD_WITHIN, |world| {
            Ok(world.running(&victim)?.server.log_text().contains(&format!("failpoint {name} reached")))
        })?;
        let (took, late) = kill_and_wait(world, &victim)?;
        slowest = slowest.max(took);
        violations.extend(late);
        if let Some(joined) = joins {
            world.running(&joined)?.stop()?;
            world.processors.remove(&joined);
        }
    }
    let names: Vec<&str> = failpoints.iter().map(|(name, _)| *name).collect();
    let evidence = match names[..] {
        [name] => format!("killed at {name}"),
        _ => format!("killed {} times at failpoints, each reached", names.len()),
    };
    Ok(Strike { evidence, recovery: Some(slowest), violations })
}

/// Partitions are revoked from a processor that has some when a third one joins.
fn take_some(world: &mut World, victim: &str) -> Result<String> {
    world.wait("partitions of the victim", HELD_WITHIN, |world| {
        Ok(world.owners()?.values().any(|owner| owner == victim))
    })?;
    world.processor("")
}

/// Kills, and waits until others have taken what it owned and gone on.
fn kill_and_wait(world: &mut World, victim: &str) -> Result<(Duration, Option<Violation>)> {
    let owned: Vec<i32> =
        world.owners()?.into_iter().filter(|(_, owner)| owner == victim).map(|(p, _)| p).collect();
    world.running(victim)?.server.kill().context("it had ended by itself")?;
    world.processors.remove(victim);
    let at_death = world.next_offsets()?;
    world.must("F1", "takeover and advance", TAKEOVER, move |world| {
        let (owners, next) = (world.owners()?, world.next_offsets()?);
        let is_alive = |partition| owners.get(partition).is_some_and(|o| world.processors.contains_key(o));
        Ok(owned.iter().all(|partition| is_alive(partition) && next.get(partition) > at_death.get(partition)))
    })
}

/// F3: the broker is held for a moment, so that many requests are in flight when the API is killed.
pub fn api(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    ground.freeze_brokers();
    interrupt::pause(Duration::from_millis(300))?;
    let in_flight = world.history.in_flight.load(std::sync::atomic::Ordering::Relaxed);
    let mut victim = world.apis.pop().context("no API")?;
    let address = victim.address.context("no address")?;
    victim.server.kill();
    ground.thaw_brokers();
    let unknown = world.history.unknown();
    world.api(Port::Usual(address.port()))?;
    let acked = world.history.acked();
    let (recovery, late) =
        world.must("A2", "202 again", SESSION, |world| Ok(world.history.acked() > acked))?;
    interrupt::pause(Duration::from_secs(3))?;
    ensure!(in_flight > 0 || world.options.is_planted, "no message was in flight");
    let broken = world.history.unknown().saturating_sub(unknown);
    Ok(Strike {
        evidence: format!("{in_flight} messages in flight, {broken} without an answer"),
        recovery: Some(recovery),
        violations: late.into_iter().collect(),
    })
}
