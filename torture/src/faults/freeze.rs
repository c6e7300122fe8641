//! Processes that stand still for longer than their session, and then go on as if nothing had happened.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use dev_env::interrupt;

use crate::{
    ground::Ground,
    verdict::Strike,
    world::{SESSION, TAKEOVER, World},
};

const HELD_WITHIN: Duration = Duration::from_secs(30);
/// `idle_in_transaction_session_timeout`, after which the server frees what a frozen owner holds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What an heir needs besides: a look at a row that is held every second, and a message in each partition.
const HEIR_NEEDS: Duration = Duration::from_secs(5);

/// F2: frozen between the compare-and-set and COMMIT; its heir has to wait for its row locks, and its COMMIT
/// comes to a transaction that the server has ended.
pub fn with_locks(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let (zombie, frozen) = freeze(world, "after_cas")?;
    let heir = world.processor("")?;
    let before = world.next_offsets()?;
    let within = IDLE_TIMEOUT + HEIR_NEEDS;
    let (recovery, late) = world
        .must("F2", "the heir goes on with all partitions", within, |world| goes_on(world, &heir, &before))?;
    interrupt::pause((SESSION * 2).saturating_sub(frozen.elapsed()))?;
    let evidence = thaw(world, &zombie, frozen)?;
    Ok(Strike { evidence, recovery: Some(recovery), violations: late.into_iter().collect() })
}

/// F2: frozen after BEGIN, with records and without locks, until the heir has gone on, but not until the
/// server ends the transaction: only the compare-and-set is left to refuse it.
pub fn with_records(world: &mut World, _ground: &mut Ground) -> Result<Strike> {
    let (zombie, frozen) = freeze(world, "after_begin")?;
    let heir = world.processor("")?;
    let before = world.next_offsets()?;
    // With all partitions: where it has not been yet, the two would meet at the keys of what both write.
    let (recovery, late) = world.must("F2", "the heir goes on with all partitions", TAKEOVER, |world| {
        goes_on(world, &heir, &before)
    })?;
    if frozen.elapsed() + Duration::from_millis(200) > IDLE_TIMEOUT {
        bail!("the zombie's transaction was ended before it woke up");
    }
    let evidence = thaw(world, &zombie, frozen)?;
    Ok(Strike { evidence, recovery: Some(recovery), violations: late.into_iter().collect() })
}

/// Whether `heir` owns all partitions, and each has moved on from where it was.
fn goes_on(world: &mut World, heir: &str, before: &BTreeMap<i32, i64>) -> Result<bool> {
    let (owners, next) = (world.owners()?, world.next_offsets()?);
    let advances = next.iter().all(|(partition, next)| before.get(partition) < Some(next));
    Ok(owners.values().all(|owner| owner == heir) && advances)
}

/// Leaves the Telex with one processor, which has just been frozen at a failpoint with a transaction open.
fn freeze(world: &mut World, failpoint: &str) -> Result<(String, Instant)> {
    world.keep_processors(0)?;
    let passed = 20 + world.random.below(30);
    let zombie = world.processor(&format!("{failpoint}={passed}*off->1*return(3000)"))?;
    world.wait("the failpoint", HELD_WITHIN, |world| {
        Ok(world.running(&zombie)?.server.log_text().contains("reached"))
    })?;
    world.running(&zombie)?.server.freeze();
    let frozen = Instant::now();
    let open = world.sql()?.number(
        "select count(*) from pg_stat_activity where application_name = 'telex-processor'
         and state = 'idle in transaction' and datname = current_database()",
    )?;
    ensure!(open > 0, "no transaction was open");
    Ok((zombie, frozen))
}

/// Lets it go on with what it has in its hands; it has to be told no.
fn thaw(world: &mut World, zombie: &str, frozen: Instant) -> Result<String> {
    world.running(zombie)?.server.thaw();
    let stood = frozen.elapsed().as_secs_f64();
    interrupt::pause(Duration::from_secs(5))?;
    let said = world.running(zombie)?.server.log_text();
    let refusals = [
        "outcome of a transaction not known",
        "not applied, trying again",
        "not applied, and others apply it",
    ];
    let refusals: usize = refusals.iter().map(|text| said.matches(text).count()).sum();
    ensure!(refusals > 0 || world.options.is_planted, "the zombie never tried to write");
    world.running(zombie)?.stop()?;
    world.processors.remove(zombie);
    Ok(format!("frozen {stood:.1} s with a transaction open, refused {refusals} times"))
}
