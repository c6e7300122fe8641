//! The long run: several Telexes at once, to which fault after fault happens. Each goes on for some minutes and
//! is compared as a whole when it retires, so that memory does not grow with the run; the figures add up.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use dev_env::{interrupt, workspace::Workspace};

use crate::{
    bench::{Bench, say, version},
    faults::{Fault, How, Needs, Stage},
    ground::Ground,
    random::Random,
    report::Report,
    variant::Variant,
    verdict::{Strike, Verdict},
    world::World,
};

pub const RESULT: &str = "long.json";

/// Messages after which a Telex retires: what is compared at once fits into memory.
const ACKED_MAX: u64 = 80_000;
/// How long it lives at most.
const AGE_MAX: Duration = Duration::from_secs(240);
/// So many Telexes one after the other that do not get under way are the machine's fault, or the end.
const FAILURES_MAX: u32 = 5;

/// What runs beside each other, each on servers of its own.
#[derive(Debug, Clone, Copy)]
enum Track {
    /// Faults of the programs and the database.
    Small,
    Three,
    /// Faults that end a Telex.
    Own,
}

struct Run<'a> {
    report: Mutex<Report>,
    start: Instant,
    duration: Duration,
    bench: &'a Bench,
    faults: &'a [&'static Fault],
}

/// Lets these faults happen for a time; whether everything held.
pub fn run(
    bench: &Bench,
    workspace: &Workspace,
    duration: Duration,
    faults: &[&'static Fault],
) -> Result<bool> {
    let report = Report {
        seed: bench.seed,
        version: version(workspace),
        binaries: bench.stage.options.binaries.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        cores: thread::available_parallelism().map_or(0, usize::from),
        rate: bench.stage.options.rate,
        ..Report::default()
    };
    let run = Run { report: Mutex::new(report), start: Instant::now(), duration, bench, faults };
    let ended = thread::scope(|scope| {
        let wanted = [Track::Small, Track::Three, Track::Own].into_iter();
        let wanted = wanted.filter(|track| faults.iter().any(|fault| track.has(fault)));
        let run = &run;
        let tracks: Vec<_> = wanted.map(|track| scope.spawn(move || run.track(track))).collect();
        let ended = tracks.into_iter();
        ended.map(|track| track.join().unwrap_or_else(|_| bail!("a track panicked"))).collect::<Vec<_>>()
    });
    let Run { report, start, .. } = run;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.seconds = start.elapsed().as_secs();
    fs::write(workspace.dev().join("torture").join(RESULT), serde_json::to_vec_pretty(&report)?)?;
    report.invalid.iter().for_each(|line| say(&format!("invalid  {line}")));
    report.violations.iter().for_each(|line| say(&format!("VIOLATED {line}")));
    let verdict = if report.has_held() { "HELD" } else { "NOT HELD" };
    say(&format!("{verdict}: {}, seed {}", report.line(start.elapsed()), report.seed));
    ended.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(report.has_held())
}

impl Run<'_> {
    fn track(&self, track: Track) -> Result<()> {
        let Stage { installation, options, .. } = &self.bench.stage;
        let directory = self.bench.stage.directory.join(format!("{track:?}").to_lowercase());
        let mut options = options.clone();
        options.directory.clone_from(&directory);
        let mut stage = Stage::new(installation.clone(), directory, options);
        let faults: Vec<&Fault> = self.faults.iter().copied().filter(|fault| track.has(fault)).collect();
        let ended = match track {
            Track::Small => self.heal(&mut stage, Needs::Small, Bag::new(faults, self.bench.seed)),
            Track::Three => self.heal(&mut stage, Needs::Three, Bag::new(faults, self.bench.seed + 1)),
            Track::Own => self.end(&mut stage, Bag::new(faults, self.bench.seed + 2)),
        };
        stage.end();
        ended
    }

    /// Telexes one after the other, to each of which fault after fault happens.
    fn heal(&self, stage: &mut Stage, needs: Needs, mut bag: Bag) -> Result<()> {
        let mut variants = Variant::ALL.iter().copied().cycle();
        let mut failures = 0;
        while self.goes_on()? {
            stage.options.seed += 1;
            stage.options.variant = variants.next().unwrap_or(Variant::Single);
            let options = stage.options.clone();
            let ground = stage.ground(needs)?;
            let name = format!("{needs:?}");
            let mut world = match ground.telex(&name, &options) {
                Ok(world) => world,
                Err(error) if failures == FAILURES_MAX => return Err(error),
                Err(error) => {
                    failures += 1;
                    self.report().invalid("start", &format!("{error:#}"));
                    continue;
                }
            };
            failures = 0;
            self.strike(&mut world, ground, &mut bag)?;
            self.retire(world, &name);
        }
        Ok(())
    }

    /// Fault after fault, until the Telex is old or one of them says nothing: then it may not be whole.
    fn strike(&self, world: &mut World, ground: &mut Ground, bag: &mut Bag) -> Result<()> {
        let born = Instant::now();
        while self.goes_on()? && born.elapsed() < AGE_MAX && world.history.acked() < ACKED_MAX {
            let fault = bag.draw();
            let How::Heals(_, happen) = fault.how else { continue };
            let start = Instant::now();
            let struck = world.require_rate().and_then(|()| happen(world, ground)).and_then(|mut strike| {
                world.recover(&mut strike)?;
                Ok(strike)
            });
            let rate = world.rate();
            match struck {
                Ok(strike) => {
                    self.report().strike(fault, rate, &strike);
                    let (id, evidence, took) = (fault.id, &strike.evidence, start.elapsed().as_secs());
                    say(&format!("{id:<5} {evidence}; {rate}/s before, {took} s"));
                }
                Err(error) => {
                    interrupt::check()?;
                    let why = format!("{error:#}");
                    say(&format!("{:<5} invalid: {why}", fault.id));
                    self.report().invalid(fault.id, &why);
                    bag.put_back(fault);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Compares all of a Telex's history with its tables.
    fn retire(&self, mut world: World, name: &str) {
        let variant = world.options.variant;
        let place = format!("{name} {:x}", world.options.seed);
        match Verdict::of(world.finish(Strike::default())) {
            Verdict::Held(outcome) => {
                self.report().world(&place, variant, &outcome);
                world.retire();
            }
            // What is left of it is looked at later.
            Verdict::Violated(outcome) => self.report().world(&place, variant, &outcome),
            Verdict::Invalid(why) => self.report().invalid(&place, &why),
        }
        say(&self.report().line(self.start.elapsed()));
    }

    /// Faults that each end a Telex of their own.
    fn end(&self, stage: &mut Stage, mut bag: Bag) -> Result<()> {
        while self.goes_on()? {
            let fault = bag.draw();
            stage.options.seed += 1;
            let start = Instant::now();
            let verdict = Verdict::of(stage.run(fault));
            interrupt::check()?;
            say(&verdict.tell(fault.id, stage.options.seed, start.elapsed()));
            match verdict {
                Verdict::Held(outcome) | Verdict::Violated(outcome) => {
                    let mut report = self.report();
                    let recovery = Some(outcome.recovery);
                    let strike =
                        Strike { evidence: outcome.evidence.clone(), recovery, violations: Vec::new() };
                    report.strike(fault, outcome.rate, &strike);
                    report.world(fault.id, fault.variant, &outcome);
                }
                Verdict::Invalid(why) => self.report().invalid(fault.id, &why),
            }
        }
        Ok(())
    }

    fn goes_on(&self) -> Result<bool> {
        interrupt::check()?;
        Ok(self.start.elapsed() < self.duration)
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Track {
    const fn has(self, fault: &Fault) -> bool {
        matches!(
            (self, fault.how),
            (Self::Small, How::Heals(Needs::Small, _))
                | (Self::Three, How::Heals(Needs::Three, _))
                | (Self::Own, How::Own(_))
        )
    }
}

/// Faults in an order that is left to chance; none comes again before all others have come.
struct Bag {
    all: Vec<&'static Fault>,
    left: Vec<&'static Fault>,
    random: Random,
}

impl Bag {
    fn new(all: Vec<&'static Fault>, seed: u64) -> Self {
        Self { all, left: Vec::new(), random: Random::new(seed, 0x0062_6167) }
    }

    fn draw(&mut self) -> &'static Fault {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
        }
        let at = self.random.below(self.left.len() as u64);
        self.left.swap_remove(usize::try_from(at).unwrap_or_default())
    }

    fn put_back(&mut self, fault: &'static Fault) {
        self.left.push(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::FAULTS;

    #[test]
    fn each_fault_comes_once_before_one_comes_again() {
        let faults: Vec<&Fault> = FAULTS.iter().take(7).collect();
        let mut bag = Bag::new(faults, 5);
        for _ in 0..3 {
            let mut ids: Vec<&str> = (0..7).map(|_| bag.draw().id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 7);
        }
    }

    #[test]
    fn each_fault_of_the_long_run_has_one_track() {
        for fault in FAULTS.iter().filter(|fault| fault.tier.is_long()) {
            let tracks = [Track::Small, Track::Three, Track::Own];
            assert_eq!(tracks.iter().filter(|track| track.has(fault)).count(), 1, "{}", fault.id);
        }
    }
}
