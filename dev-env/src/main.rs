//! The binary `dev-env`: what the Makefile calls.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use dev_env::{commands::Cli, interrupt};

fn main() -> ExitCode {
    interrupt::run(|| Cli::parse().run())
}
