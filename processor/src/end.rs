//! The end of the process.

use std::{future::Future, time::Duration};

/// How long a process that has done its work waits for calls that block.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Runs a program to its end. Calls that block are not waited for any longer than two seconds then: a process that
/// must end ends, although a library never comes back.
pub fn run_to_end<T>(program: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(program);
    runtime.shutdown_timeout(END_WITHIN);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Instant};

    use super::*;

    #[test]
    fn a_program_ends_although_a_call_that_blocks_never_does() {
        let (_never, blocked) = mpsc::channel::<()>();
        let (done, answer) = mpsc::channel();
        let started = Instant::now();
        thread::spawn(move || {
            let program = async move {
                drop(tokio::task::spawn_blocking(move || blocked.recv().ok()));
                tokio::time::sleep(Duration::from_millis(50)).await;
                7
            };
            done.send(run_to_end(program).ok()).ok();
        });
        assert_eq!(answer.recv_timeout(END_WITHIN * 2), Ok(Some(7)));
        assert!(started.elapsed() >= END_WITHIN);
    }
}
