//! Tasks with names, and the signal to stop.

use std::future::Future;

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tracing::Instrument as _;

/// Spawns a task under a name that its log lines carry. The only use of `tokio::spawn`.
///
/// The caller keeps the handle: a task that nobody joins is a task whose end nobody sees.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task.instrument(tracing::info_span!("task", task = name)))
}

/// Completes when the process is asked to stop (SIGTERM, or SIGINT from a terminal).
///
/// # Errors
/// The signal handlers could not be installed.
pub async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal, "stop requested");
    Ok(())
}
