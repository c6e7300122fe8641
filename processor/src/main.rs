//! The binary `processor`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use processor::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    // Reads FAILPOINTS.
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "processor failed");
            ExitCode::FAILURE
        }
    }
}
