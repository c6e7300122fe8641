//! The first connection to somebody: a network may need a moment until it lets a new pod through.

use std::{future::Future, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A wrong address should not cost more than this.
const WITHIN: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(200);

/// Tries until it succeeds.
///
/// # Errors
/// Nobody takes the connection in time.
pub async fn reach<T, F>(connect: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let give_up = Instant::now() + WITHIN;
    loop {
        let again = Instant::now() + AGAIN;
        match timeout_at(give_up, connect()).await {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(_)) if again < give_up => sleep_until(again).await,
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("nobody answers"),
        }
    }
}
