//! The command line.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use dev_env::workspace::Workspace;

use crate::{
    bench::{Bench, say},
    faults::{self, FAULTS, Tier},
    long, mutants, page,
    report::Report,
};

/// Breaks a Telex on purpose and checks that every promise still holds.
///
/// Exit codes: 0 everything held (or every planted bug was found); 1 something did not, or a run says
/// nothing.
#[derive(Debug, clap::Parser)]
#[command(name = "torture", version)]
pub struct Cli {
    /// Where the programs are, built with the processor's feature `failpoints`.
    #[arg(long, default_value = "target/debug", global = true)]
    pub binaries: PathBuf,
    /// Where the programs of a former commit are, for the fault that runs both (`make upgrade-try` builds them).
    #[arg(long, global = true)]
    pub former: Option<PathBuf>,
    /// Seed of everything random. Without it, a new one is chosen and printed.
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Messages offered a second to each Telex.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=5_000), global = true)]
    pub rate: u64,
    /// How far back a restored database goes, in seconds (F20).
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..=3_600), global = true)]
    pub restore_ago: u64,
    /// Also keep the logs and data of runs that held.
    #[arg(long, global = true)]
    pub keep: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run each fault of the quick tier once.
    Quick,
    /// Run some faults.
    Run {
        /// Which faults, by their numbers.
        #[arg(long = "fault", required = true)]
        faults: Vec<String>,
        /// How often to run each.
        #[arg(long, default_value_t = 1)]
        times: u64,
    },
    /// Run fault after fault on Telexes that go on, for a long time, and keep the result.
    Long {
        /// How long to run, in seconds.
        #[arg(long, default_value_t = 2_700, value_parser = clap::value_parser!(u64).range(60..=172_800))]
        duration: u64,
        /// Only these faults. A round of all faults takes about ten minutes on two cores.
        #[arg(long = "fault")]
        faults: Vec<String>,
    },
    /// Write docs/torture.md from the last long run and docs/planted-bugs.md from the last runs of planted bugs, if
    /// there were any here.
    Page,
    /// Plant each bug in a copy of the sources, and see whether it is found.
    Mutants {
        /// Only these bugs.
        #[arg(long = "bug")]
        bugs: Vec<String>,
    },
    /// List the faults, and what happens in each.
    List,
}

impl Cli {
    pub fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::find()?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from(UNIX_EPOCH.elapsed()?.subsec_nanos()),
        };
        let held = match &self.command {
            Command::List => {
                FAULTS.iter().for_each(|fault| say(&format!("{:<5} {}", fault.id, fault.what)));
                true
            }
            Command::Page => {
                write_pages(&workspace)?;
                true
            }
            Command::Quick => {
                let has_former = self.former.is_some();
                let faults: Vec<_> = FAULTS.iter().filter(|fault| fault.tier.is_quick(has_former)).collect();
                let held = Bench::start(&self, &workspace, seed)?.run_all(&faults, 1)?;
                let untried = FAULTS.iter().filter(|fault| fault.tier == Tier::Former && !has_former);
                untried.for_each(|fault| say(&format!("{:<5} not run: no former programs", fault.id)));
                held
            }
            Command::Run { faults, times } => {
                let faults = faults.iter().map(|id| faults::find(id)).collect::<Result<Vec<_>>>()?;
                Bench::start(&self, &workspace, seed)?.run_all(&faults, *times)?
            }
            Command::Mutants { bugs } => {
                mutants::run(&mut Bench::start(&self, &workspace, seed)?, &workspace, bugs)?
            }
            Command::Long { duration, faults } => {
                let only = faults.iter().map(|id| faults::find(id)).collect::<Result<Vec<_>>>()?;
                let all = FAULTS.iter().filter(|fault| fault.tier.is_long()).collect();
                let faults = if only.is_empty() { all } else { only };
                let bench = Bench::start(&self, &workspace, seed)?;
                long::run(&bench, &workspace, Duration::from_secs(*duration), &faults)?
            }
        };
        Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn write_pages(workspace: &Workspace) -> Result<()> {
    let (results, docs) = (workspace.dev().join("torture"), workspace.root().join("docs"));
    let mut pages = Vec::new();
    if let Ok(report) = fs::read(results.join(long::RESULT)) {
        let report: Report = serde_json::from_slice(&report)?;
        pages.push(("torture.md", page::long(&report)));
    }
    let bugs = mutants::last(&results);
    if !bugs.is_empty() {
        pages.push(("planted-bugs.md", page::planted(&mutants::all()?, &bugs)));
    }
    ensure!(!pages.is_empty(), "no long run and no run of planted bugs here yet");
    for (name, page) in pages {
        let path = docs.join(name);
        fs::write(&path, page)?;
        say(&format!("{} written", path.display()));
    }
    Ok(())
}
