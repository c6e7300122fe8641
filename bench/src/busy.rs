//! Somebody who works beside everything: a process that turns in a circle for half of the time, so that it has half
//! a core. It is the bench itself, started again, and it ends with what started it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use dev_env::process::{Server, Spec};
use nix::sys::signal::Signal;

use crate::lab::Lab;

const BUSY: Duration = Duration::from_millis(5);
const PERIOD: Duration = Duration::from_millis(10);

/// Starts it; dropping the handle ends it.
pub fn start(lab: &Lab) -> Result<Server> {
    let mut command = Command::new(lab.binaries().join("bench"));
    command.arg("busy-loop");
    let directory = &lab.directory;
    Server::spawn(Spec { name: "busy-loop", directory, command, stop_signal: Signal::SIGTERM })
}

/// Turns for so long, half of the time.
pub fn turn(duration: Duration) {
    let end = Instant::now() + duration;
    loop {
        let start = Instant::now();
        if start >= end {
            return;
        }
        while start.elapsed() < BUSY {
            std::hint::spin_loop();
        }
        std::thread::sleep(PERIOD.saturating_sub(start.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage;

    #[test]
    fn it_works_and_comes_to_an_end() {
        let (before, start) = (usage::own(), Instant::now());
        turn(Duration::from_millis(400));
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert!(usage::own() - before >= Duration::from_millis(20), "it hardly worked");
    }
}
