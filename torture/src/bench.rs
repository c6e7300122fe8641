//! Runs faults one after the other and tells what came of each.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use dev_env::{install::Installation, interrupt, workspace::Workspace};

use crate::{
    cli::Cli,
    faults::{Fault, Stage},
    variant::Variant,
    verdict::Verdict,
    world::Options,
};

/// Where faults are run. Dropping it ends the servers, and removes what held.
pub struct Bench {
    pub stage: Stage,
    /// The seed of the first run.
    pub seed: u64,
    directory: PathBuf,
    keep: bool,
}

impl Bench {
    /// Nothing runs yet.
    pub fn start(cli: &Cli, workspace: &Workspace, seed: u64) -> Result<Self> {
        let installation = Installation::ensure(workspace, &|_| {})?;
        let directory = workspace.dev().join("torture").join(std::process::id().to_string());
        std::fs::create_dir_all(&directory)?;
        say(&format!("seed {seed}; logs and data in {}", directory.display()));
        let options = Options {
            binaries: std::path::absolute(&cli.binaries)?,
            former: cli.former.as_ref().map(std::path::absolute).transpose()?,
            directory: directory.clone(),
            seed,
            rate: cli.rate,
            variant: Variant::Single,
            is_planted: false,
            catch_up: Duration::from_secs(60),
            restore_ago: Duration::from_secs(cli.restore_ago),
        };
        let stage = Stage::new(installation, directory.clone(), options);
        Ok(Self { stage, seed, directory, keep: cli.keep })
    }

    /// Runs each fault some times; whether everything held.
    pub fn run_all(&mut self, faults: &[&Fault], times: u64) -> Result<bool> {
        let start = Instant::now();
        let (mut held, mut runs) = (0, 0);
        for turn in 0..times {
            self.stage.options.seed = self.seed + turn;
            for fault in faults {
                runs += 1;
                held += usize::from(matches!(self.run(fault)?, Verdict::Held(_)));
            }
        }
        let verdict = if held == runs { "HELD" } else { "NOT HELD" };
        let seconds = start.elapsed().as_secs();
        say(&format!("{verdict}: {held} of {runs} runs held, seed {}, {seconds} s", self.seed));
        Ok(held == runs)
    }

    /// Runs one fault.
    pub fn run(&mut self, fault: &Fault) -> Result<Verdict> {
        let start = Instant::now();
        let verdict = Verdict::of(self.stage.run(fault));
        interrupt::check()?;
        say(&verdict.tell(fault.id, self.stage.options.seed, start.elapsed()));
        self.keep |= !matches!(verdict, Verdict::Held(_)) && !self.stage.options.is_planted;
        Ok(verdict)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stage.end();
        if !self.keep {
            std::fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// The commit of the sources.
pub fn version(workspace: &Workspace) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(workspace.root());
    let output = git.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

#[expect(clippy::print_stdout, reason = "what the command is run for")]
pub fn say(line: &str) {
    println!("{line}");
}
