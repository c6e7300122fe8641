//! The binary `loadtest`: see [`loadtest::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use loadtest::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.runtime() {
        Ok(runtime) => runtime.block_on(cli.execute()),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("loadtest: {error:#}");
        ExitCode::FAILURE
    })
}
