//! The topic is not what it was: the processors must stop, and write nothing (P10).

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use dev_env::{
    interrupt,
    ports::Port,
    programs::{self, PARTITIONS, TOPIC_SETTINGS},
};

use super::Stage;
use crate::{
    checker::Violation,
    verdict::{Outcome, Strike},
    wire::kafka::End,
    world::World,
};

const HALTED_WITHIN: Duration = Duration::from_secs(30);
/// How long a halted processor is watched.
const STANDS_STILL: Duration = Duration::from_secs(4);
/// A topic that was created again is noticed within this time, also while a processor reads it (A5).
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// How many records more than before are in a topic that was created again.
const BEYOND: i64 = 50;
/// Partitions that lose records under a running processor.
const OVERRUN: usize = 3;

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
    let before = world.next_offsets()?;
    create_again(&world)?;
    world.api(Port::Free)?;
    world.start_load();
    if longer {
        world.wait("more records than before", Duration::from_secs(60), |world| {
            let ends = world.cluster.ends(&world.topic, End::Latest)?;
            Ok(before.iter().all(|(partition, next)| ends.get(partition) > Some(next)))
        })?;
    } else {
        interrupt::pause(Duration::from_millis(500))?;
    }
    world.stop_load();
    let ends = world.cluster.ends(&world.topic, End::Latest)?;
    let beyond = before.iter().filter(|(partition, next)| ends.get(partition) > Some(next)).count();
    ensure!(longer || beyond == 0, "{beyond} partitions are longer than before");
    let (stopped, took) = must_stop(&mut world, &["topic_recreated"], 12)?;
    violations.extend(stopped);
    let evidence = format!("topic id changed, {beyond} of 12 partitions longer than before");
    Ok(world.outcome(Strike { evidence, recovery: Some(took), violations }))
}

/// Another topic takes the place of a Telex's.
fn create_again(world: &World) -> Result<()> {
    let before = world.cluster.topic(&world.topic)?.id;
    world.cluster.delete_topic(&world.topic)?;
    let replicas = vec![vec![1]; usize::try_from(PARTITIONS)?];
    world.cluster.create_topic(&world.topic, &replicas, &TOPIC_SETTINGS)?;
    ensure!(world.cluster.topic(&world.topic)?.id != before, "the topic is the same");
    Ok(())
}

/// F25 (running): while the processors stand for a moment, the topic is deleted, created and filled beyond
/// where they were. What is in it now is nothing that Telex would take: each row of it can be told.
pub fn created_again_while_running(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f25r")?;
    world.complete()?;
    world.warm_up()?;
    let mut violations = world.settle(true)?;
    violations.extend(world.check()?);
    world.apis.clear();
    world.retarget();
    let applied = world.next_offsets()?;
    let before = fingerprint(&world)?;
    world.processors.values().for_each(|processor| processor.server.freeze());
    create_again(&world)?;
    for (partition, next) in &applied {
        world.cluster.fill(&world.topic, *partition, i32::try_from(next + BEYOND)?)?;
    }
    world.processors.values().for_each(|processor| processor.server.thaw());
    let (took, late) = world.must("A5", "all partitions halted", NOTICED_WITHIN, |world| {
        let halted = "select count(*) from halts where resumed_at is null and reason = 'topic_recreated'";
        Ok(world.sql()?.number(halted)? == 12)
    })?;
    violations.extend(late);
    interrupt::pause(STANDS_STILL)?;
    let after = fingerprint(&world)?;
    let what = format!("records of the new topic were applied: {before:?} before it, {after:?} after");
    violations.extend(Violation::when(before != after, "P10", what));
    let evidence = format!("topic id changed, each partition {BEYOND} records longer than before");
    Ok(world.outcome(Strike { evidence, recovery: Some(took), violations }))
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
    ensure!(lost > 0, "nothing was lost");
    let (stopped, took) = must_stop(&mut world, &["below_log_start"], below.len())?;
    violations.extend(stopped);
    let evidence = format!("{lost} records in {} partitions removed before they were applied", below.len());
    Ok(world.outcome(Strike { evidence, recovery: Some(took), violations }))
}

/// F26 (running): retention overtakes a processor in three partitions while it stands for a moment. Those halt
/// by name, and the others go on (A11).
pub fn overrun_while_running(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f26r")?;
    world.complete()?;
    world.warm_up()?;
    // A partition that is just changing hands would be found out when it is taken up.
    world.spread()?;
    world.processors.values().for_each(|processor| processor.server.freeze());
    interrupt::pause(Duration::from_secs(4))?;
    let next = world.next_offsets()?;
    let ends = world.cluster.ends(&world.topic, End::Latest)?;
    let below: BTreeMap<i32, i64> = ends.iter().take(OVERRUN).map(|(p, end)| (*p, *end)).collect();
    world.cluster.delete_records(&world.topic, &below)?;
    let lost: i64 = below.iter().filter_map(|(p, start)| Some((start - next.get(p)?).max(0))).sum();
    world.processors.values().for_each(|processor| processor.server.thaw());
    ensure!(lost > 0, "nothing was lost");
    let (took, late) = world.must("A11", "the others go on", HALTED_WITHIN, |world| {
        let now = world.next_offsets()?;
        Ok(ends.iter().skip(OVERRUN).all(|(partition, end)| now.get(partition) > Some(end)))
    })?;
    let mut violations: Vec<Violation> = late.into_iter().collect();
    let (_, late) = world.must("P10", "three partitions halted by name", HALTED_WITHIN, |world| {
        let halted = "select count(*) from halts where resumed_at is null and reason = 'below_log_start'";
        Ok(world.sql()?.number(halted)? >= 1)
    })?;
    violations.extend(late);
    let ended = world.processors.values().filter(|processor| !processor.server.is_running()).count();
    let what = format!("{ended} processes ended over three partitions");
    violations.extend(Violation::when(ended > 0, "A11", what));
    let evidence = format!("{lost} records of {OVERRUN} partitions removed under a running processor");
    world.stop_load();
    Ok(world.outcome(Strike { evidence, recovery: Some(took), violations }))
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
    let what = format!("rows were written: {before:?} before, {after:?} after");
    violations.extend(Violation::when(before != after, "P10", what));
    Ok((violations, took))
}

/// What changes when a row of a halted partition does.
fn fingerprint(world: &World) -> Result<Vec<[Option<i64>; 6]>> {
    world.sql()?.rows(
        "select json_build_array(
                (select count(*) from messages), (select count(*) from dead_letters),
                (select sum(hashtext(dialogs::text)) from dialogs), (select count(*) from clients),
                (select count(*) from torture_audit),
                (select sum(hashtext(row(partition, next_offset, owner_epoch, messages, duplicates)::text))
                 from partition_progress))",
    )
}
