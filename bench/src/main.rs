//! The binary `bench`: see [`bench::cli`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench::cli::Cli;
use clap::Parser as _;
use dev_env::interrupt;

fn main() -> ExitCode {
    interrupt::run(|| Cli::parse().execute())
}
