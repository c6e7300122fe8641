//! The command line.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use dev_env::{
    install::Installation,
    interrupt,
    kafka::{self, Kafka},
    postgres::{self, Postgres},
    workspace::Workspace,
};

use crate::{
    faults::{Fault, MUTANTS, QUICK, Stage},
    verdict::Verdict,
    world::Options,
};

/// Breaks a Telex on purpose and checks that every promise still holds.
///
/// Exit codes: 0 everything held (or every planted bug was found); 1 not, or a run that says nothing.
#[derive(Debug, clap::Parser)]
#[command(name = "torture", version)]
pub struct Cli {
    /// Where the programs are, built with the processor's features `failpoints` and `planted-bugs`.
    #[arg(long, default_value = "target/debug", global = true)]
    binaries: PathBuf,
    /// What everything random follows from; without it a new one, which is printed.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Requests offered a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=5_000), global = true)]
    rate: u64,
    /// Keep the logs and data also of runs that held.
    #[arg(long, global = true)]
    keep: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Each fault of the quick tier once.
    Quick,
    /// Some faults.
    Run {
        /// Which, by their numbers.
        #[arg(long = "fault", required = true)]
        faults: Vec<String>,
        /// Plant a bug in the processors.
        #[arg(long)]
        plant: Option<String>,
        /// How often each.
        #[arg(long, default_value_t = 1)]
        times: u64,
    },
    /// Plant each bug, and see whether it is found.
    Mutants {
        /// Only these.
        #[arg(long = "bug")]
        bugs: Vec<String>,
    },
    /// The faults, and what happens.
    List,
}

/// A bug must be found within so many runs.
const TRIES: u64 = 3;

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// It could not be done.
    pub fn run(self) -> Result<ExitCode> {
        if matches!(self.command, Command::List) {
            for fault in &QUICK {
                say(&format!("{:<5} {}", fault.id, fault.what));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut bench = Bench::start(&self)?;
        let held = match self.command {
            Command::Quick => bench.run_all(&QUICK.iter().collect::<Vec<_>>(), None, 1)?,
            Command::Run { faults, plant, times } => {
                let wanted = faults
                    .iter()
                    .map(|id| {
                        QUICK.iter().find(|fault| fault.id.eq_ignore_ascii_case(id)).context("no such fault")
                    })
                    .collect::<Result<Vec<_>>>()?;
                bench.run_all(&wanted, plant, times)?
            }
            Command::Mutants { bugs } => bench.mutants(&bugs)?,
            Command::List => true,
        };
        bench.stop();
        Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

struct Bench {
    stage: Stage,
    seed: u64,
    keep: bool,
}

impl Bench {
    fn start(cli: &Cli) -> Result<Self> {
        let workspace = Workspace::find()?;
        let installation = Installation::ensure(&workspace, &|_| {})?;
        let directory = workspace.dev().join("torture").join(std::process::id().to_string());
        std::fs::create_dir_all(&directory)?;
        let seed = match cli.seed {
            Some(seed) => seed,
            None => u64::from(UNIX_EPOCH.elapsed()?.subsec_nanos()),
        };
        say(&format!("seed {seed}; logs and data in {}", directory.display()));
        let kafka = Kafka::start(&installation, kafka::Options::on_free_ports(&directory))?;
        let postgres = Postgres::start(&installation, postgres::Options::on_free_port(&directory))?;
        let binaries = std::path::absolute(&cli.binaries)?;
        let options = Options {
            binaries,
            directory,
            seed,
            rate: cli.rate,
            plant: None,
            catch_up: Duration::from_secs(60),
        };
        Ok(Self { stage: Stage { installation, kafka, postgres, options }, seed, keep: cli.keep })
    }

    /// Whether everything held.
    fn run_all(&mut self, faults: &[&Fault], plant: Option<String>, times: u64) -> Result<bool> {
        let start = Instant::now();
        self.stage.options.plant = plant;
        let (mut held, mut runs) = (0, 0);
        for turn in 0..times {
            self.stage.options.seed = self.seed + turn;
            for fault in faults {
                runs += 1;
                held += usize::from(matches!(self.run_one(fault)?, Verdict::Held(_)));
            }
        }
        let verdict = if held == runs { "HELD" } else { "NOT HELD" };
        say(&format!(
            "{verdict}: {held} of {runs} runs held, seed {}, {} s",
            self.seed,
            start.elapsed().as_secs()
        ));
        Ok(held == runs)
    }

    fn run_one(&mut self, fault: &Fault) -> Result<Verdict> {
        let start = Instant::now();
        let verdict = Verdict::of((fault.run)(&mut self.stage));
        interrupt::check()?;
        say(&verdict.tell(fault.id, self.stage.options.seed, start.elapsed()));
        self.keep |= !matches!(verdict, Verdict::Held(_)) && self.stage.options.plant.is_none();
        Ok(verdict)
    }

    /// Whether every bug was found.
    fn mutants(&mut self, only: &[String]) -> Result<bool> {
        self.stage.options.catch_up = Duration::from_secs(25);
        let (mut found, mut planted) = (0, 0);
        for (bug, fault) in MUTANTS.iter().filter(|(bug, _)| only.is_empty() || only.iter().any(|o| o == bug))
        {
            planted += 1;
            self.stage.options.plant = Some((*bug).to_owned());
            let mut tripped = Vec::new();
            for turn in 0..TRIES {
                self.stage.options.seed = self.seed + turn;
                tripped = self.run_one(fault)?.violated();
                if !tripped.is_empty() {
                    break;
                }
            }
            found += usize::from(!tripped.is_empty());
            let word = if tripped.is_empty() { "MISSED" } else { "found" };
            say(&format!("{bug:<5} {word} in {} by {}", fault.id, tripped.join(", ")));
        }
        say(&format!("{found} of {planted} planted bugs found, seed {}", self.seed));
        Ok(found == planted)
    }

    fn stop(mut self) {
        self.stage.kafka.kill();
        self.stage.postgres.kill();
        if !self.keep {
            std::fs::remove_dir_all(&self.stage.options.directory).ok();
        }
    }
}

#[expect(clippy::print_stdout, reason = "what the command is run for")]
fn say(line: &str) {
    println!("{line}");
}
