//! The binary `checks`: what the Makefile calls.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use checks::commands::Cli;
use clap::Parser as _;
use dev_env::interrupt;

fn main() -> ExitCode {
    interrupt::run(|| Cli::parse().run())
}
