//! The binary `dev-env`: what the Makefile calls.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use dev_env::{commands::Cli, interrupt};

/// Exit codes: 0 done, 1 failed, 130 interrupted.
fn main() -> ExitCode {
    match interrupt::watch().map_err(anyhow::Error::from).and_then(|()| Cli::parse().run()) {
        Ok(code) => code,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            eprintln!("\ninterrupted; everything that was started is stopped");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
