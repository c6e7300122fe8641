//! PostgreSQL under the processors' feet.

use std::time::Duration;

use anyhow::{Result, ensure};
use dev_env::interrupt;

use crate::{checker::Violation, ground::Ground, verdict::Strike, world::World};

/// Records that wait when the tables become slow: more than are written within a statement's time.
const BACKLOG: i64 = 4_000;

/// F16: every connection of the processors is terminated, again and again.
pub fn terminated(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let mut ended = 0;
    for _ in 0..5 {
        ended += world.sql()?.number(
            "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = 'telex-processor' and datname = current_database()) as ended",
        )?;
        interrupt::pause(Duration::from_secs(2))?;
    }
    ensure!(ended >= 5, "only {ended} connections were terminated");
    Ok(Strike::seen(format!("{ended} connections terminated")))
}

/// F17: the postmaster and its children are killed; the API must not notice (A1).
pub fn killed(world: &mut World, ground: &mut Ground) -> Result<Strike> {
    ground.postgres.kill();
    let refused = world.sql().is_err();
    let since = world.history.now();
    interrupt::pause(Duration::from_secs(3))?;
    let away = since..world.history.now();
    ground.postgres.start_again()?;
    let (kept, unknown) = world.history.begun(away);
    ensure!(refused && kept > 0, "PostgreSQL was not away");
    let mut strike = Strike::seen(format!("refused connections, {kept} kept meanwhile"));
    let what = format!("{unknown} attempts at an API without PostgreSQL were not answered 202");
    strike.violations.extend(Violation::when(unknown > 0, "A1", what));
    Ok(strike)
}

/// F24: a stranger holds the table for longer than a processor waits for a lock (55P03).
pub fn locked(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let before = refusals(world);
    let mut stranger = world.sql()?;
    stranger.execute("begin; lock table messages in exclusive mode; select pg_sleep(3); commit")?;
    world.wait("a refusal", Duration::from_secs(3), |world| Ok(refusals(world) > before)).ok();
    let refused = refusals(world) - before;
    ensure!(refused > 0 || world.options.is_planted, "no attempt was refused");
    Ok(Strike::seen(format!("{refused} attempts refused")))
}

/// A7: each row takes so long that a full batch takes longer than a statement may.
pub fn slow(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    world.keep_processors(0)?;
    world.wait("a backlog", Duration::from_secs(40), |world| Ok(world.lag()? > BACKLOG))?;
    world.sql()?.execute(
        "create function torture_slow() returns trigger language plpgsql as $$
         begin perform pg_sleep(0.01); return new; end $$;
         create trigger torture_slow before insert on messages for each row execute function torture_slow()",
    )?;
    world.stop_load();
    let backlog = world.lag()?;
    world.complete()?;
    let within = Duration::from_secs(90);
    let (took, late) = world.must("P11", "a backlog of slow rows", within, |world| Ok(world.lag()? == 0))?;
    world.sql()?.execute("drop trigger torture_slow on messages; drop function torture_slow()")?;
    world.start_load();
    let refused = refusals(world);
    ensure!(refused > 0 || world.options.is_planted, "no batch was too slow");
    let mut strike = Strike::seen(format!("{backlog} records of 10 ms each, {refused} batches refused"));
    strike.recovery = Some(took);
    strike.violations.extend(late);
    Ok(strike)
}

/// Attempts of all processors that PostgreSQL refused, whatever they made of it.
fn refusals(world: &World) -> u64 {
    world.counted("processor_apply_failures_total{")
}
