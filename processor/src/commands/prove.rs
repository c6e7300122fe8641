//! `processor prove`: one verdict line, and every difference with its place.

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use super::{
    operator::Operator,
    output::{say, say_json},
    rights,
};
use crate::{
    kafka::client::KafkaConfig,
    prove::{
        self, Options, baseline,
        report::{Report, Scope, Verdict},
    },
    store::{Database, rights::BASELINE},
};

/// What to prove, and how to tell it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Look only at what was applied since the last clean proof, and at the dialogs and clients that this
    /// touches. Only a full proof finds a row that was changed after it was proved.
    #[arg(long)]
    since_last: bool,
    /// Also check that every record in the log is applied. Exit code 3 means that all is clean up to the next
    /// offsets, and that some records are not applied yet.
    #[arg(long)]
    applied: bool,
    /// Prove nothing, but record that later proofs with `--since-last` go on from here. Use it if the chain
    /// of proofs is broken because retention has removed records that no proof has looked at.
    #[arg(long, conflicts_with_all = ["since_last", "applied"], requires = "word")]
    baseline: bool,
    /// With `--baseline`: say what would be recorded; change nothing.
    #[arg(long, group = "word", requires = "baseline")]
    dry_run: bool,
    /// With `--baseline`: record it.
    #[arg(long, group = "word", requires = "baseline")]
    yes: bool,
    #[command(flatten)]
    operator: Operator,
    /// Workers, each with a connection and a Kafka client of its own; by default one per core, 64 at most.
    #[arg(long, env = "PROCESSOR_PROVE_JOBS")]
    jobs: Option<NonZeroUsize>,
    /// Memory for rows and records that wait to be compared, in MiB; beyond it they wait on disk.
    #[arg(long, env = "PROCESSOR_PROVE_MEMORY_MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    memory_mib: u16,
    /// Directory for rows and records that wait on disk: about 140 bytes a record, in files that nobody else can
    /// open and that vanish with the process. By default, the system's directory for temporary files.
    #[arg(long, env = "PROCESSOR_PROVE_DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Args {
    fn options(&self) -> Options {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Options {
            scope: if self.since_last { Scope::SinceLast } else { Scope::Full },
            jobs: self.jobs.map_or_else(cores, NonZeroUsize::get).min(JOBS_MAX),
            memory_max: usize::from(self.memory_mib) * 1024 * 1024,
            directory: self.directory.clone().unwrap_or_else(std::env::temp_dir),
        }
    }
}

/// Each worker is a connection.
const JOBS_MAX: usize = 64;

/// Clean, but not everything is applied that should be.
const NOT_APPLIED: u8 = 3;

/// Compares the tables with the topic. The exit code is 0 only if the verdict is clean.
///
/// # Errors
/// Kafka or PostgreSQL did not answer: nothing is known.
pub async fn run(args: Args, database: &Database, kafka: &KafkaConfig) -> anyhow::Result<ExitCode> {
    if args.baseline {
        rights::require(&mut database.writer().await?, BASELINE).await?;
        let decision = args.operator.decision("baseline".to_owned());
        let recorded = baseline::record(database, kafka, &decision, args.yes).await?;
        if args.json {
            say_json(&recorded)?
        } else {
            say(&recorded.line)?
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (json, options) = (args.json, args.options());
    let (database, kafka) = (database.clone(), kafka.clone());
    let proof = tokio::task::spawn_blocking(move || prove::prove(&database, &kafka, &options));
    let report = proof.await??;
    if json {
        say_json(&report)?
    } else {
        tell(&report)?
    }
    Ok(match report.verdict {
        Verdict::Clean if args.applied && report.compared.not_applied > 0 => ExitCode::from(NOT_APPLIED),
        Verdict::Clean => ExitCode::SUCCESS,
        Verdict::Differs | Verdict::NotProvable => ExitCode::FAILURE,
    })
}

fn tell(report: &Report) -> std::io::Result<()> {
    for finding in &report.findings {
        let offset = finding.offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        say(&format!(
            "partition {} offset {offset}: {}: {}",
            finding.partition, finding.kind, finding.detail
        ))?;
    }
    let told = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    if told < report.findings_total {
        say(&format!("and {} more", report.findings_total - told))?;
    }
    say(&report.line)
}
