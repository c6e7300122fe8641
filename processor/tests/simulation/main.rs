//! A simulated world for the machine that owns partitions and accounts for offsets: logs, group, rows and clocks,
//! driven from one seed. What decides is the production code: `Ownerships`, `Tickets`, `Schedule`, `decide`,
//! `guard`, `differences`, `LaneMachine`, `Continuity`. What waits, sends and stores is a stand-in, whose module names
//! what it stands in for.
//!
//! After each step the invariants of `check` must hold, and when the faults have ended everything must come to its
//! end in time. Most are told from the brokers' chronicle and the group's callbacks alone; `check` names the others.
//!
//! `TELEX_SEEDS=1000000` runs more worlds than the default; `TELEX_SEED=17` runs that one alone. A world that breaks
//! an invariant is shown with its seed and the last of what happened; its seed belongs into `REGRESSIONS`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod attempt;
mod brokers;
mod check;
mod database;
mod dice;
mod faults;
mod group;
mod lane;
mod node;
mod poller;
mod takeover;
mod twin;
mod what;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use check::{Checked, NO_PANIC, Violation};
use twin::Twin;
use world::World;

/// How many worlds are run if nobody says how many.
const SEEDS: u64 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };

/// In how many worlds a broken twin must be found.
const TWIN_SEEDS: u64 = if cfg!(debug_assertions) { 10_000 } else { 20_000 };

/// Seeds that failed once.
const REGRESSIONS: &[u64] = &[10_363];

fn run(seed: u64, twin: Twin) -> Checked {
    end_of(&mut World::new(seed, twin, false))
}

/// What becomes of a world. A panic must not take its seed along.
fn end_of(world: &mut World) -> Checked {
    catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let detail = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Violation { invariant: NO_PANIC, detail })
    })
}

/// The same world again, with the last of what happened.
fn explain(seed: u64, twin: Twin) -> String {
    let mut world = World::new(seed, twin, true);
    let ended = match end_of(&mut world) {
        Ok(()) => "everything holds".to_owned(),
        Err(Violation { invariant, detail }) => format!("broken: {invariant}: {detail}"),
    };
    format!("{}seed {seed}, {} ms: {ended}", world.trace(), world.now)
}

#[expect(clippy::disallowed_methods, reason = "a setting of these tests alone")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Runs worlds until one breaks an invariant that is sought.
fn first_broken(seeds: u64, twin: Twin, sought: Option<&str>) -> Option<u64> {
    let (next, is_found) = (AtomicU64::new(0), AtomicBool::new(false));
    let search = || {
        while !is_found.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            if run(seed, twin)
                .is_err_and(|violation| sought.is_none_or(|sought| sought == violation.invariant))
            {
                is_found.store(true, Ordering::Relaxed);
                return Some(seed);
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        searches.into_iter().filter_map(|search| search.join().unwrap()).min()
    })
}

#[test]
fn seeds_hold() {
    if let Some(seed) = setting("TELEX_SEED") {
        let shown = explain(seed, Twin::Whole);
        assert!(run(seed, Twin::Whole).is_ok(), "{shown}");
        return;
    }
    if let Some(seed) = first_broken(setting("TELEX_SEEDS").unwrap_or(SEEDS), Twin::Whole, None) {
        panic!("{}", explain(seed, Twin::Whole));
    }
}

#[test]
fn seeds_that_failed_once_hold() {
    for seed in REGRESSIONS {
        assert!(run(*seed, Twin::Whole).is_ok(), "{}", explain(*seed, Twin::Whole));
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        assert_eq!(explain(seed, Twin::Whole), explain(seed, Twin::Whole));
    }
}

/// Some world of a broken twin must break this invariant.
fn is_found(twin: Twin, invariant: &str) {
    let seed = first_broken(TWIN_SEEDS, twin, Some(invariant));
    assert!(seed.is_some(), "{twin:?} is not found in {TWIN_SEEDS} worlds");
}

#[test]
fn rows_that_nobody_looks_at_are_found() {
    is_found(Twin::RowsNotLookedAt, check::NOTICED);
}

#[test]
fn a_takeover_that_is_all_or_nothing_is_found() {
    is_found(Twin::AllOrNothing, check::FINISHED);
}

#[test]
fn a_takeover_that_outlives_its_ownership_is_found() {
    is_found(Twin::OrphanTakeover, check::WANTED);
}

#[test]
fn a_halt_that_does_not_look_at_its_row_is_found() {
    is_found(Twin::HaltUnseen, check::TRUE_HALT);
}

#[test]
fn another_clusters_topic_of_the_same_name_is_found() {
    is_found(Twin::ForeignCluster, check::TOPIC);
}

#[test]
fn a_topic_that_is_created_again_under_its_readers_is_found() {
    is_found(Twin::RecreatedUnseen, check::TOPIC);
}

#[test]
fn the_end_of_a_transaction_that_is_not_explained_is_found() {
    is_found(Twin::ControlIsGap, check::CAUSE);
}

#[test]
fn a_halt_before_what_is_in_hand_is_applied_is_found() {
    is_found(Twin::HaltsAtOnce, check::FINISHED);
}

#[test]
fn a_partition_out_of_range_that_ends_its_process_is_found() {
    is_found(Twin::OutOfRangeEndsAll, check::LIVES);
}

#[test]
fn a_log_that_nobody_doubts_is_found() {
    is_found(Twin::DoubtForgotten, check::FINISHED);
}

#[test]
fn a_cache_that_outlives_its_ownership_is_found() {
    is_found(Twin::CacheOutlives, check::REMEMBERED);
}

#[test]
fn an_epoch_that_is_not_compared_is_found() {
    is_found(Twin::EpochNotCompared, check::FENCED);
}
