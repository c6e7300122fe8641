//! PostgreSQL under the processors' feet.

use std::time::Duration;

use anyhow::{Result, bail};
use dev_env::interrupt;

use super::Stage;
use crate::verdict::Outcome;

/// F16: every connection of the processors is terminated, again and again.
pub fn terminated(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f16")?;
    world.processor("")?;
    world.processor("")?;
    world.warm_up()?;
    let mut ended = 0;
    for _ in 0..5 {
        ended += world.sql()?.number(
            "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = 'telex-processor' and datname = current_database()) as ended",
        )?;
        interrupt::pause(Duration::from_secs(2))?;
    }
    if ended < 5 {
        bail!("only {ended} connections were terminated");
    }
    let (recovery, late) = world.catch_up()?;
    world.finish(format!("{ended} connections terminated"), recovery, late.into_iter().collect())
}

/// F17: the postmaster and its children are killed; the API must not notice (A1).
pub fn killed(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f17")?;
    world.processor("")?;
    world.processor("")?;
    world.warm_up()?;
    stage.postgres.kill();
    let refused = world.sql().is_err();
    let before = (world.history.acked(), world.history.unknown());
    interrupt::pause(Duration::from_secs(3))?;
    let kept = world.history.acked() - before.0;
    stage.postgres.start_again()?;
    if !refused || kept == 0 {
        bail!("PostgreSQL was not away");
    }
    let mut violations = Vec::new();
    if world.history.unknown() > before.1 {
        violations.push(crate::checker::Violation::new("A1", "an API without PostgreSQL did not answer 202"));
    }
    let (recovery, late) = world.catch_up()?;
    violations.extend(late);
    world.finish(format!("refused connections, {kept} kept meanwhile"), recovery, violations)
}

/// F24: a stranger holds the table for longer than a processor waits for a lock (55P03).
pub fn locked(stage: &mut Stage) -> Result<Outcome> {
    let mut world = stage.world("f24")?;
    let name = world.processor("")?;
    world.warm_up()?;
    let mut stranger = world.sql()?;
    stranger.query("begin; lock table messages in exclusive mode; select pg_sleep(3); commit")?;
    let (recovery, late) = world.catch_up()?;
    let metrics = world.running(&name)?.metrics();
    let retries =
        metrics.lines().find(|line| line.starts_with("processor_apply_failures_total{action=\"retry\"}"));
    let evidence = match retries.and_then(|line| line.rsplit(' ').next()) {
        Some(retries) => format!("{retries} attempts refused"),
        None if world.options.plant.is_some() => "a planted bug swallows the refusals".to_owned(),
        None => bail!("no attempt was refused"),
    };
    world.finish(evidence, recovery, late.into_iter().collect())
}
