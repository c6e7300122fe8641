//! The command line, and what a run prints and returns.

mod floor;
mod settings;

use std::{
    io::{Write as _, stdout},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use schemas::Timestamp;
use tokio::runtime::Runtime;

pub use floor::FloorArgs;
pub use settings::RunArgs;

use crate::{
    database::Database,
    ledger::Ledger,
    plan::Plan,
    progress,
    reach::reach,
    report::{Facts, Report, Summary, html},
    run::{Ended, Options, run},
    stats::Stats,
    tick,
    usage::processor_time,
    verify::{self, Receipts, Verdict},
    watch::{Probes, watch},
};

/// Sends webhooks to an ingest API, reports what came back, and compares the tables with it.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends a plan of webhooks. Exit status: 0 every reply is as planned (and, with a database, every 202 is a row, once and in order), 1 otherwise, 2 wrong usage, 130 interrupted.
    Run(Box<RunArgs>),
    /// Sends to a handler that does nothing, within this program, and says what the load tester itself costs. Exit status: 0 every reply is as planned, 1 otherwise, 2 wrong usage, 130 interrupted.
    Floor(FloorArgs),
}

/// In the place of the report's file.
const STANDARD_OUTPUT: &str = "-";

/// How a run went.
struct Sent {
    ended: Ended,
    elapsed: Duration,
    /// Processor time that the load tester used meanwhile.
    own_cpu: Duration,
}

impl Cli {
    /// What it runs on.
    pub fn runtime(&self) -> std::io::Result<Runtime> {
        let (rate, connections) = match &self.command {
            Command::Run(args) => (args.rate, args.connections),
            Command::Floor(args) => (Some(args.rate), args.connections),
        };
        tick::runtime(rate.map(|rate| rate.mean()), connections)
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// The run could not be made; not that replies were unexpected.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(args) => execute(&args).await,
            Command::Floor(args) => floor(&args).await,
        }
    }
}

async fn execute(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let plan = args.plan(now()?).unwrap_or_else(|error| {
        Cli::command().error(ErrorKind::ValueValidation, error).exit();
    });
    let plan = Arc::new(plan);
    let database =
        args.database_url_file.as_ref().or(args.database_url.as_ref()).map(Database::new).transpose()?;
    let stats = Stats::keeping(database.is_some().then(Ledger::default))?;
    let Sent { ended, elapsed, own_cpu } = watched(args, &plan, &stats, database.as_ref()).await?;
    let verdict = match &database {
        Some(database) => Some(compare(args, &plan, &stats, database).await?),
        None => None,
    };
    let report = Report::new(Facts {
        tally: &stats.tally(),
        ended,
        elapsed,
        own_cpu,
        schedule: args.schedule(),
        settings: args.described(),
        seed: args.seed,
        verdict: verdict.as_ref().map(|(verdict, applied)| (verdict, *applied)),
    });
    let code = tell(&report, plan.messages(), args.report.as_deref())?;
    write_file(args.html.as_deref(), || Ok(html::page(&report).into_bytes()))?;
    Ok(code)
}

async fn floor(args: &FloorArgs) -> anyhow::Result<ExitCode> {
    let (plan, stats, options) = (args.plan(now()?)?, Stats::new()?, args.options()?);
    let Sent { ended, elapsed, own_cpu } = send(&plan, &options, &stats, None).await?;
    let report = Report::new(Facts {
        tally: &stats.tally(),
        ended,
        elapsed,
        own_cpu,
        schedule: Some(args.schedule()),
        settings: args.described(),
        seed: floor::SEED,
        verdict: None,
    });
    tell(&report, plan.messages(), args.report.as_deref())
}

/// To a person, and to a file for machines, or behind what the person is told.
fn tell(report: &Report, planned: u64, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    write!(stdout(), "{}", Summary { report, planned }).context("cannot write the summary")?;
    if json == Some(Path::new(STANDARD_OUTPUT)) {
        writeln!(stdout(), "{}", serde_json::to_string(report)?).context("cannot write the report")?;
    } else {
        write_file(json, || Ok(serde_json::to_vec(report)?))?;
    }
    Ok(match (report.ended, report.is_clean()) {
        (Ended::Complete, true) => ExitCode::SUCCESS,
        (Ended::Complete | Ended::GaveUp | Ended::OutOfTime, _) => ExitCode::FAILURE,
        (Ended::Interrupted, _) => ExitCode::from(130),
    })
}

fn now() -> anyhow::Result<Timestamp> {
    let micros = i64::try_from(service_kit::clock::unix_time().as_micros())?;
    Timestamp::from_micros(micros).context("the clock is far off")
}

/// Sends, and watches meanwhile when it is in the tables.
async fn watched(
    args: &RunArgs,
    plan: &Arc<Plan>,
    stats: &Stats,
    database: Option<&Database>,
) -> anyhow::Result<Sent> {
    let options = args.options()?;
    let (mut probes, mut watching) = (None, None);
    if let Some(database) = database {
        // A wrong address should say so before anything is sent.
        drop(reach(|| database.lookout()).await?);
        let (sender, watch) = watch(database.clone(), stats.clone(), args.rate.map(|rate| rate.mean()));
        (probes, watching) = (Some(sender), Some(service_kit::spawn("watch", watch.run())));
    }
    let sent = send(plan, &options, stats, probes).await?;
    if let Some(watching) = watching {
        watching.await.context("the watch failed")?;
    }
    Ok(sent)
}

/// Sends, shows how far it is, and stops when asked to.
async fn send(
    plan: &Arc<Plan>,
    options: &Options,
    stats: &Stats,
    probes: Option<Probes>,
) -> anyhow::Result<Sent> {
    let before = processor_time();
    let stop = async {
        // Without the handler the signal ends the process the usual way.
        if service_kit::lifecycle::stop_requested().await.is_err() {
            std::future::pending().await
        }
    };
    let (ended, elapsed) = tokio::select! {
        biased;
        outcome = run(Arc::clone(plan), options, stats, probes, stop) => outcome?,
        () = progress::show(stats.clone(), plan.messages()) => (Ended::Interrupted, Duration::ZERO),
    };
    Ok(Sent { ended, elapsed, own_cpu: processor_time().saturating_sub(before) })
}

/// The verdict, and whether everything was applied in time.
async fn compare(
    args: &RunArgs,
    plan: &Plan,
    stats: &Stats,
    database: &Database,
) -> anyhow::Result<(Verdict, bool)> {
    let ledger = stats.take_ledger().unwrap_or_default();
    let patience = Duration::from_secs(args.verify_timeout_seconds);
    let applied = match &args.hook {
        None => verify::wait_until_applied(database, &stats.acknowledged(), patience).await?,
        // A provider is not told where its records lie.
        Some(_) => {
            let rows = stats.tally().figures.expected_messages;
            verify::wait_until_there_are(database, plan.id_prefix(), rows, patience).await?
        }
    };
    let receipts = Receipts { plan, ledger: &ledger, in_batches: args.batch.is_some() };
    Ok((verify::verify(&receipts, database).await?, applied))
}

fn write_file(path: Option<&Path>, content: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, content()?).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> Result<Box<RunArgs>, clap::Error> {
        match Cli::try_parse_from([&["loadtest", "run"], more].concat())?.command {
            Command::Run(args) => Ok(args),
            Command::Floor(_) => unreachable!("another command was asked for"),
        }
    }

    fn settings(more: &[&str]) -> (u64, u32) {
        let now = Timestamp::parse("2026-11-24T12:00:00Z").unwrap();
        let plan = args(more).unwrap().plan(now).unwrap();
        (plan.settings().messages, plan.settings().clients)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_make_a_plan_with_a_tenth_as_many_clients() {
        assert_eq!(settings(&[]), (20_000, 2_000));
    }

    #[test]
    fn a_duration_at_a_rate_says_how_many_messages() {
        assert_eq!(settings(&["--rate=1k..10k", "--duration=1m"]), (330_000, 33_000));
        assert_eq!(settings(&["--rate=100", "--duration=10", "--messages-per-client=1..3"]), (1_000, 500));
        assert_eq!(settings(&["--messages=50", "--clients=7"]), (50, 7));
    }

    #[test]
    fn every_run_has_an_end_whatever_the_target_does() {
        let seconds = |more: &[&str]| args(more).unwrap().options().unwrap().time_limit.as_secs();
        let grace = 30 * 60;
        assert_eq!(seconds(&[]), 20_000 / 10 + grace);
        assert_eq!(seconds(&["--rate=100", "--messages=6000"]), 2 * 60 + grace);
        assert_eq!(seconds(&["--rate=1k..10k", "--duration=1h"]), 2 * 3_600 + grace);
        assert_eq!(seconds(&["--time-limit=90s"]), 90);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for wrong in [
            ["--url=https://x"].as_slice(),
            &["--messages=0"],
            &["--clients=1"],
            &["--clients=5", "--messages-per-client=5"],
            &["--sources=2"],
            &["--connections=0"],
            &["--mix=valid=x"],
            &["--rate=0"],
            &["--rate=NaN"],
            &["--duration=10"],
            &["--rate=5", "--duration=10", "--messages=50"],
            &["--batch=1001"],
            &["--shard=2/2"],
            &["--time-limit=0"],
        ] {
            let error = args(wrong).and_then(|args| {
                let now = Timestamp::parse("2026-11-24T12:00:00Z").unwrap();
                args.plan(now).map_err(|error| Cli::command().error(ErrorKind::ValueValidation, error))
            });
            assert_eq!(error.unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
