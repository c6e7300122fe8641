//! A child that leads a process group and does not survive its handle.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use super::{Identity, guardian};
use crate::interrupt;

/// How long a tool that is interrupted may tidy up.
const TOOL_GRACE: Duration = Duration::from_secs(3);

/// A running child with everything it starts in its process group. Dropping the handle ends it:
/// SIGTERM, a short grace, SIGKILL.
#[derive(Debug)]
pub struct Group {
    child: Child,
    identity: Identity,
    is_over: bool,
}

impl Group {
    /// The child gets no standard input: a background group that reads from the terminal would
    /// be stopped by the kernel.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("{program} cannot be started"))?;
        // A child that was not waited for keeps its row in the table even after it has ended.
        let Some(identity) = Identity::of(child.id()) else {
            child.kill().ok();
            child.wait().ok();
            return Err(anyhow!("{program} (pid {}) is not in the process table", child.id()));
        };
        guardian::guard(identity.pid);
        Ok(Self { child, identity, is_over: false })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    pub fn is_running(&self) -> bool {
        !self.is_over && self.identity.is_running()
    }

    /// Waits for the child's own end; then nothing of its group is left either.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_within(Duration::MAX)
    }

    /// The same for `limit` at most.
    pub fn wait_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        let mut nap = Duration::from_millis(2);
        while self.is_running() {
            ensure!(started.elapsed() < limit, "it has not ended within {} s", limit.as_secs());
            interrupt::pause(nap)?;
            nap = (nap * 2).min(Duration::from_millis(50));
        }
        self.finish(Signal::SIGKILL, Duration::ZERO)
    }

    /// Ends the child and its family, with `signal` first and SIGKILL after `grace`.
    pub fn finish(&mut self, signal: Signal, grace: Duration) -> Result<ExitStatus> {
        if !self.is_over {
            self.identity.end(signal, grace);
            // Also when its leader had ended by itself: stragglers of the group go with it.
            self.identity.signal_group(Signal::SIGKILL);
        }
        let status = self.child.wait().context("waiting for a child failed")?;
        self.forget();
        Ok(status)
    }

    /// Lets the child live on after this process.
    pub fn detach(mut self) {
        self.forget();
    }

    fn forget(&mut self) {
        if !self.is_over {
            guardian::release(self.identity.pid);
        }
        self.is_over = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            self.finish(Signal::SIGTERM, TOOL_GRACE).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_takes_too_long_ends_with_what_it_has_started() {
        let mut group = Group::spawn(Command::new("sh").args(["-c", "sleep 600 & wait"])).unwrap();
        let error = group.wait_within(Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "it has not ended within 1 s");
        let family = group.identity().family();
        assert_eq!(family.len(), 2, "the shell and what it waits for");
        drop(group);
        assert!(!family.iter().any(Identity::is_running));
    }

    #[test]
    fn a_child_that_ends_in_time_tells_its_exit_status() {
        let mut group = Group::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(group.wait_within(Duration::from_secs(60)).unwrap().code(), Some(7));
    }
}
