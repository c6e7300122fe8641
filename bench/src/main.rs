//! The binary `bench`: see [`bench::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::cli::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    match dev_env::interrupt::watch().map_err(anyhow::Error::from).and_then(|()| Cli::parse().execute()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
