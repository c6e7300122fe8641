//! A process that is certainly the one that was meant.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::table;

/// How long a killed process may take to be gone: the kernel has to tear down its memory.
const KILL_TAKES: Duration = Duration::from_secs(5);

/// A pid with the start time of its process. Never signals a process that merely got the pid
/// later. (Between the check and the signal a pid could change hands only if the machine went
/// through all its pids in a microsecond.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    started: String,
}

impl Identity {
    /// `None` if there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        table::entry(pid).map(|entry| Self { pid, started: entry.started })
    }

    pub fn is_running(&self) -> bool {
        table::entry(self.pid).is_some_and(|entry| entry.started == self.started && !entry.ended)
    }

    /// The process and all its descendants, parents first. PostgreSQL's children leave their
    /// parent's process group, so the group alone would miss them.
    pub fn family(&self) -> Vec<Self> {
        let entries = table::all();
        let root = entries.iter().find(|entry| entry.pid == self.pid && entry.started == self.started);
        let mut family: Vec<&table::Entry> = root.into_iter().collect();
        let mut next = 0;
        while let Some(parent) = family.get(next).map(|entry| entry.pid) {
            family.extend(entries.iter().filter(|entry| entry.parent == parent && entry.pid != parent));
            next += 1;
        }
        let living = family.into_iter().filter(|entry| !entry.ended);
        living.map(|entry| Self { pid: entry.pid, started: entry.started.clone() }).collect()
    }

    /// No effect on a process that has ended.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.raw().filter(|_| self.is_running()) {
            // The only failure left is that it ended just now.
            signal::kill(pid, signal).ok();
        }
    }

    /// Asks the process group that this process leads, gives its family `grace` to go, and kills
    /// what is still there. Returns whether everything is gone.
    ///
    /// The family is listed before anything is signalled: once a parent is gone its children
    /// belong to nobody and cannot be found any more.
    pub fn end(&self, signal: Signal, grace: Duration) -> bool {
        let family = self.family();
        self.signal_group(signal);
        if all_gone(&family, grace) {
            return true;
        }
        // The leader first: a PostgreSQL that loses a child would otherwise start new ones.
        self.signal_group(Signal::SIGKILL);
        for member in &family {
            member.signal(Signal::SIGKILL);
        }
        all_gone(&family, KILL_TAKES)
    }

    /// Signals the process group that this process leads. A leader that has ended still counts
    /// while its parent has not reaped it: so long nobody else can get its number.
    pub(super) fn signal_group(&self, signal: Signal) {
        let is_same = table::entry(self.pid).is_some_and(|entry| entry.started == self.started);
        if let Some(group) = self.raw().filter(|_| is_same) {
            signal::killpg(group, signal).ok();
        }
    }

    fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().map(Pid::from_raw)
    }
}

fn all_gone(family: &[Identity], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut wait = Duration::from_millis(2);
    loop {
        if !family.iter().any(Identity::is_running) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn a_pid_with_another_start_time_is_another_process() {
        let own = Identity::of(process::id()).unwrap();
        assert!(own.is_running());
        let impostor = Identity { started: "never".to_owned(), ..own };
        assert!(!impostor.is_running());
        // Would end the test if the start time were ignored.
        impostor.signal(Signal::SIGKILL);
    }
}
