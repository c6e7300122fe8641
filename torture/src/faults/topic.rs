//! The topic is not what it was: the processors must stop, and write nothing (P10).

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{self, PARTITIONS, TOPIC_SETTINGS},
};

use super::Stage;
use crate::{checker::Violation, verdict::Outcome, wire::kafka::End, world::World};

const HALTED_WITHIN: Duration = Duration::from_secs(30);
/// How long a halted processor is watched.
const STANDS_STILL: Duration = Duration::from_secs(4);

/// F25 (a): deleted and created again; what is in it now ends before the next offsets.
pub fn created_again_shorter(stage: &mut Stage) -> Result<Outcome> {
    created_again(stage, "f25a", false)
}

/// F25 (b): the same, and what is in it now goes beyond the next offsets: name and range look right.
pub fn created_again_longer(stage: &mut Stage) -> Result<Outcome> {
    created_again(stage, "f25b", true)
}

fn created_again(stage: &mut Stage, name: &str, longer: bool) -> Result<Outcome> {
    let mut world = stage.world(name)?;
    world.processor("")?;
    world.warm_up()?;
    let mut violations = stop_and_check(&mut world)?;
    world.apis.clear();
    world.retarget();
    let before = (world.cluster.topic(&world.topic)?.id, world.next_offsets()?);
    world.cluster.delete_topic(&world.topic)?;
    let replicas = vec![vec![1]; usize::try_from(PARTITIONS)?];
    world.cluster.create_topic(&world.topic, &replicas, &TOPIC_SETTINGS)?;
    if world.cluster.topic(&world.topic)?.id == before.0 {
        bail!("the topic is the same");
    }
    world.api(Port::Free)?;
    world.start_load();
    if longer {
        let applied = before.1.clone();
        world.wait("more records than before", Duration::from_secs(60), |world| {
            let ends = world.cluster.ends(&world.topic, End::Latest)?;
            Ok(applied.iter().all(|(partition, next)| ends.get(partition) > Some(next)))
        })?;
    } else {
        interrupt::pause(Duration::from_millis(500))?;
    }
    world.stop_load();
    let ends = world.cluster.ends(&world.topic, End::Latest)?;
    let beyond = before.1.iter().filter(|(partition, next)| ends.get(partition) > Some(next)).count();
    if !longer && beyond > 0 {
        bail!("{beyond} partitions are longer than before");
    }
    let (stopped, took) = must_stop(&mut world, &["topic_recreated"], 12)?;
    violations.extend(stopped);
    let evidence = format!("topic id changed, {beyond} of 12 partitions longer than before");
    Ok(world.outcome(evidence, took, violations))
}

/// F26: retention removes what was not applied yet.
pub fn overrun(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f26")?;
    world.processor("")?;
    world.warm_up()?;
    let mut violations = stop_and_check(&mut world)?;
    world.start_load();
    interrupt::pause(Duration::from_secs(2))?;
    world.stop_load();
    let next = world.next_offsets()?;
    let ends = world.cluster.ends(&world.topic, End::Latest)?;
    let below: BTreeMap<i32, i64> = ends.into_iter().filter(|(p, end)| next.get(p) < Some(end)).collect();
    world.cluster.delete_records(&world.topic, &below)?;
    let starts = world.cluster.ends(&world.topic, End::Start)?;
    let lost: i64 = next.iter().filter_map(|(p, next)| Some((starts.get(p)? - next).max(0))).sum();
    if lost == 0 {
        bail!("nothing was lost");
    }
    let (stopped, took) = must_stop(&mut world, &["below_log_start"], below.len())?;
    violations.extend(stopped);
    let evidence = format!("{lost} records in {} partitions removed before they were applied", below.len());
    Ok(world.outcome(evidence, took, violations))
}

/// Everything is applied and right, and no processor runs.
pub fn stop_and_check(world: &mut World) -> Result<Vec<Violation>> {
    let mut violations = world.settle(true)?;
    violations.extend(world.check()?);
    for (_, mut processor) in std::mem::take(&mut world.processors) {
        processor.stop()?;
    }
    Ok(violations)
}

/// Starts a processor: `count` partitions must halt for one of `reasons`, visibly, and not a row may change.
/// Says how long it took until they stood.
pub fn must_stop(world: &mut World, reasons: &[&str], count: usize) -> Result<(Vec<Violation>, Duration)> {
    let before = fingerprint(world)?;
    if !world.apis.is_empty() {
        world.start_load();
    }
    let name = world.processor("")?;
    let (took, late) = world.must("P10", "all partitions halted", HALTED_WITHIN, |world| {
        let processor = world.running(&name)?;
        let metrics = processor.metrics();
        let halted = |line: &&str| {
            line.starts_with("processor_partition_halted{")
                && line.ends_with(" 1")
                && reasons.iter().any(|reason| line.contains(&format!("reason=\"{reason}\"")))
        };
        let in_metrics = metrics.lines().filter(halted).count();
        let ready = programs::get(processor.admin, "/readyz");
        let is_told = ready.is_some_and(|(status, text)| {
            status == 503 && reasons.iter().map(|reason| text.matches(reason).count()).sum::<usize>() >= count
        });
        Ok(in_metrics == count && is_told)
    })?;
    let mut violations: Vec<Violation> = late.into_iter().collect();
    interrupt::pause(STANDS_STILL)?;
    world.stop_load();
    let after = fingerprint(world)?;
    if before != after {
        violations
            .push(Violation::new("P10", format!("rows were written: {before:?} before, {after:?} after")));
    }
    Ok((violations, took))
}

/// What changes when a row of a halted partition does.
fn fingerprint(world: &World) -> Result<Vec<Option<String>>> {
    let rows = world.sql()?.query(
        "select (select count(*) from messages), (select count(*) from dead_letters),
                (select sum(hashtext(dialogs::text)) from dialogs), (select count(*) from clients),
                (select count(*) from torture_audit),
                (select sum(hashtext(row(partition, next_offset, owner_epoch, messages, duplicates)::text))
                 from partition_progress)",
    )?;
    Ok(rows.into_iter().flatten().collect())
}
