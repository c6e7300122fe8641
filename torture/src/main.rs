//! The binary `torture`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Err(error) = dev_env::interrupt::watch() {
        eprintln!("torture: signals cannot be watched: {error}");
        return ExitCode::FAILURE;
    }
    torture::cli::Cli::parse().run().unwrap_or_else(|error| {
        eprintln!("torture: {error:#}");
        ExitCode::FAILURE
    })
}
