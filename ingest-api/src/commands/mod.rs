//! `ingest-api hooks …`: the descriptions of hooks for those who write them, and what they once could not read.

mod check;
mod quarantine;
mod replay;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hooks::presets;
use service_kit::Problems;

/// Hooks, the descriptions of providers' webhooks: list and show the presets, check a hook against a sample,
/// and replay what is in quarantine.
#[derive(Debug, Parser)]
#[command(name = "ingest-api hooks", bin_name = "ingest-api hooks")]
pub struct Hooks {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the presets: name, provider, and whether the signature was checked against somebody else's
    /// vector.
    List,
    /// Show the text of a preset, to start a description of your own from.
    Show { preset: String },
    /// Check a description, and show what it makes of a sample.
    Check(check::Check),
    /// Read items of the quarantine again with the hook as it is now, and keep those that are messages.
    Replay(replay::Replay),
}

impl Hooks {
    /// Runs the command. Exit codes: 0 done, 1 not.
    pub async fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::List => list(),
            Command::Show { preset } => show(&preset),
            Command::Check(check) => check.run(),
            Command::Replay(replay) => replay.run().await,
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                match error.downcast_ref() {
                    Some(Problems(all)) => all.iter().for_each(|one| eprintln!("ingest-api hooks: {one}")),
                    None => eprintln!("ingest-api hooks: {error:#}"),
                }
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn list() -> anyhow::Result<()> {
    for (name, text) in presets::ALL {
        let description = presets::read(text, toml::Table::new()).map_err(anyhow::Error::msg)?;
        let verified = if description.signature_verified { "" } else { "  (signature unverified)" };
        println!("{name:20} {}{verified}", description.title);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
fn show(preset: &str) -> anyhow::Result<()> {
    let text = presets::text(preset)
        .ok_or_else(|| anyhow::anyhow!("there is no preset {preset:?}: see ingest-api hooks list"))?;
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Commands that change nothing. Whatever is not named here asks for `--dry-run` or `--yes`.
    const LOOKING: [&str; 3] = ["check", "list", "show"];

    #[test]
    fn whatever_changes_something_is_told_to_do_it_or_to_say_what_it_would_do() {
        let mut unasked = service_kit::confirmation::unasked(&Hooks::command());
        unasked.sort_unstable();
        assert_eq!(unasked, LOOKING);
    }
}
