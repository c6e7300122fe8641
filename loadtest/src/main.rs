//! The binary `loadtest`: see [`loadtest::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use loadtest::cli::Cli;

/// One thread: what is tested runs on the same machine, and sending is cheap.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
