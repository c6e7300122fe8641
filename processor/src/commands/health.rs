//! `processor health`: what a probe asks in an image without a shell.

use std::{net::SocketAddr, process::ExitCode};

use service_kit::probe;

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The admin address of the `processor run` to ask.
    #[arg(long, env = "PROCESSOR_ADMIN_LISTEN", default_value = "127.0.0.1:9102")]
    admin_listen: SocketAddr,
}

/// 0 if it is ready, 1 if not; the reason goes to standard error.
pub async fn run(args: Args) -> ExitCode {
    match probe::ready(args.admin_listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("processor: {reason}");
            ExitCode::FAILURE
        }
    }
}
