//! The command line, and what a run prints and returns.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use schemas::Timestamp;

use crate::{
    connection::Target,
    plan::{CLIENTS_MAX, CLIENTS_MIN, Mix, Plan, PlanError, SOURCES_MIN, Settings},
    progress,
    report::{Report, Summary},
    run::{Ended, Options, run},
    send::Policy,
    stats::Stats,
};

/// Sends webhooks to an ingest API and reports what came back.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends a plan of webhooks. Exit status: 0 every reply as planned, 1 not so, 2 usage, 130 interrupted.
    Run(RunArgs),
}

/// What `loadtest run` is told.
#[derive(Debug, Args)]
struct RunArgs {
    /// The ingest API; messages go to its /v1/messages.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = Target::parse)]
    url: Target,
    /// Requests to send, of every kind together.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// The plan follows from it: the same seed sends the same kinds, clients and words.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People who write, at most [default: a tenth of the messages].
    #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(CLIENTS_MIN)..=i64::from(CLIENTS_MAX)))]
    clients: Option<u32>,
    /// Values of external_client_id they write through; a phone is used under up to three.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(i64::from(SOURCES_MIN)..))]
    sources: u32,
    /// Connections; each client's messages go over one of them, one after the other.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Shares of valid, duplicate and invalid requests, relative to their sum.
    #[arg(long, default_value = "valid=90,duplicate=5,invalid=5")]
    mix: Mix,
    /// Requests a second, by a schedule that slow replies do not slow down [default: as many as the connections carry].
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// Writes the report as JSON to this file.
    #[arg(long, value_name = "PATH")]
    report: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// The run could not be made; not that replies were unexpected.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => args.execute().await,
        }
    }
}

impl RunArgs {
    async fn execute(self) -> anyhow::Result<ExitCode> {
        let seed = self.seed;
        let micros = i64::try_from(service_kit::clock::unix_time().as_micros())?;
        let now = Timestamp::from_micros(micros).context("the clock is far off")?;
        let plan = self.plan(now).unwrap_or_else(|error| {
            Cli::command().error(ErrorKind::ValueValidation, error).exit();
        });
        let options = Options {
            target: self.url,
            connections: usize::from(self.connections),
            rate: self.rate,
            policy: Policy::PATIENT,
        };
        let stats = Stats::new()?;
        let plan = Arc::new(plan);
        let planned = plan.settings().messages;
        let stop = async {
            // Without the handler the signal ends the process the usual way.
            if service_kit::lifecycle::stop_requested().await.is_err() {
                std::future::pending().await
            }
        };
        let (ended, elapsed) = tokio::select! {
            biased;
            outcome = run(plan, &options, &stats, stop) => outcome?,
            () = progress::show(stats.clone(), planned) => (Ended::Interrupted, std::time::Duration::ZERO),
        };
        let tally = stats.tally();
        let report = Report::new(&tally, elapsed, seed);
        let summary = Summary {
            report: &report,
            examples: &tally.examples,
            ended,
            planned,
        };
        write!(stdout(), "{summary}").context("cannot write the summary")?;
        if let Some(path) = &self.report {
            let json = serde_json::to_vec(&report)?;
            std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(exit_code(ended, report.unexpected))
    }

    fn plan(&self, base_time: Timestamp) -> Result<Plan, PlanError> {
        let tenth = u32::try_from(self.messages / 10).unwrap_or(CLIENTS_MAX);
        Plan::new(Settings {
            seed: self.seed,
            messages: self.messages,
            clients: self.clients.unwrap_or(tenth.clamp(CLIENTS_MIN, CLIENTS_MAX)),
            sources: self.sources,
            mix: self.mix,
            base_time,
        })
    }
}

fn exit_code(ended: Ended, unexpected: u64) -> ExitCode {
    match (ended, unexpected) {
        (Ended::Complete, 0) => ExitCode::SUCCESS,
        (Ended::Complete | Ended::GaveUp, _) => ExitCode::FAILURE,
        (Ended::Interrupted, _) => ExitCode::from(130),
    }
}

fn parse_rate(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("must be a number of requests a second from 0.01 to 1000000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_make_a_plan_with_a_tenth_as_many_clients() {
        let Command::Run(args) = Cli::try_parse_from(["loadtest", "run"]).unwrap().command;
        let plan = args
            .plan(Timestamp::parse("2026-11-24T12:00:00Z").unwrap())
            .unwrap();
        assert_eq!(
            (plan.settings().messages, plan.settings().clients),
            (20_000, 2_000)
        );
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for wrong in [
            "--url=https://x",
            "--messages=0",
            "--clients=1",
            "--sources=2",
            "--connections=0",
            "--mix=valid=x",
            "--rate=0",
            "--rate=NaN",
        ] {
            let error = Cli::try_parse_from(["loadtest", "run", wrong]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
