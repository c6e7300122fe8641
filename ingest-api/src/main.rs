//! The binary `ingest-api`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use ingest_api::{app::Application, commands::Hooks, config::Config};
use service_kit::{Problems, lifecycle::stop_requested, probe, telemetry};

/// docs/performance.md says what it gains.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes: 0 stopped when asked, 1 failed, 2 the configuration has no meaning. Connections have threads of their
/// own: this one accepts them, watches and answers probes.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "hooks") {
        return Hooks::parse_from(std::env::args_os().skip(1)).run().await;
    }
    match run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<probe::NotReady>() => {
            eprintln!("ingest-api: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            if let Some(Problems(problems)) = error.downcast_ref() {
                problems.iter().for_each(|problem| eprintln!("ingest-api: {problem}"));
                return ExitCode::from(2);
            }
            tracing::error!(error = format!("{error:#}"), "ingest-api failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    if config.health {
        return Ok(probe::ready(config.admin_listen).await?);
    }
    telemetry::init(&config.log);
    let application = Application::build(config).await?;
    application.run_until_stopped(async { stop_requested().await.unwrap_or_default() }).await
}
