//! Ctrl-C, SIGTERM and SIGHUP as a flag.
//!
//! A signal only raises the flag. Every wait in this package looks at it and returns
//! [`Interrupted`]; the handles on the way out then end what they own. So there is one way out
//! of a command, and no clean-up runs inside a signal handler. A test process never calls
//! [`watch`]: there the flag stays down and signals keep their default effect.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static RAISED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How long a wait may sleep before it looks at the flag again.
const ATTENTION: Duration = Duration::from_millis(25);

/// The person at the keyboard, or the machine, wants the command to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Turns the three signals into the flag, for the rest of the process's life.
pub fn watch() -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&RAISED))?;
    }
    Ok(())
}

/// What a binary does: a command, until it ends or is interrupted. Exit codes: its own, 1 failed, 130 interrupted.
pub fn run(command: impl FnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    match watch().map_err(anyhow::Error::from).and_then(|()| command()) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("\ninterrupted; everything that was started is stopped");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

pub fn check() -> Result<(), Interrupted> {
    if RAISED.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
}

/// Sleeps, unless interrupted.
pub fn pause(length: Duration) -> Result<(), Interrupted> {
    let end = Instant::now() + length;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(ATTENTION));
    }
}
