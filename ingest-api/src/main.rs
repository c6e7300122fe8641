//! The binary `ingest-api`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use ingest_api::{app::Application, config::Config};
use service_kit::{lifecycle::stop_requested, telemetry};

/// Exit codes: 0 stopped when asked, 1 failed, 2 the configuration has no meaning.
#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    let problems = config.problems();
    if !problems.is_empty() {
        for problem in problems {
            eprintln!("ingest-api: {problem}");
        }
        return ExitCode::from(2);
    }
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ingest-api failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.log)?;
    let application = Application::build(config).await?;
    application.run_until_stopped(async { stop_requested().await.unwrap_or_default() }).await
}
