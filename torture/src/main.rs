//! The binary `torture`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use dev_env::interrupt;
use torture::cli::Cli;

fn main() -> ExitCode {
    interrupt::run(|| Cli::parse().run())
}
