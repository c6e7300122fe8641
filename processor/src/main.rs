//! The binary `processor`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use processor::cli::Cli;

fn main() -> ExitCode {
    // Reads FAILPOINTS.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    match processor::end::run_to_end(Cli::parse().run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "processor failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            ExitCode::FAILURE
        }
    }
}
