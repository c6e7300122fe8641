//! A long-running child with a log file and a pid file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;

use super::{Group, Identity, Record, log_tail};
use crate::interrupt;

/// What to run and where its traces go.
#[derive(Debug)]
pub struct Spec<'a> {
    /// Names the log `logs/NAME.log` and the pid file `run/NAME.json` under `directory`.
    pub name: &'a str,
    pub directory: &'a Path,
    pub command: Command,
    /// The signal that this program takes as "finish quickly, but properly".
    pub stop_signal: Signal,
}

/// A running server. Dropping the handle kills it: what must end gracefully is told so by
/// [`Server::stop`], and what is dropped is being given up.
#[derive(Debug)]
pub struct Server {
    record: Record,
    directory: PathBuf,
    stop_signal: Signal,
    log: PathBuf,
    log_start: u64,
    group: Option<Group>,
}

impl Server {
    /// Ends a left-over of the same name in the same directory first: two servers on one data
    /// directory would damage it.
    pub fn spawn(spec: Spec<'_>) -> Result<Self> {
        let Spec { name, directory, mut command, stop_signal } = spec;
        if let Some(leftover) = Record::find(directory, name) {
            leftover.identity.end(stop_signal, Duration::from_secs(5));
        }
        let (log, file) = create_log(directory, name)?;
        let log_start = file.metadata().map_or(0, |metadata| metadata.len());
        let both = file.try_clone().context("the log file cannot be shared")?;
        let group = Group::spawn(command.stdout(file).stderr(both))?;
        let record = Record { name: name.to_owned(), identity: group.identity().clone() };
        record.write(directory)?;
        Ok(Self { record, directory: directory.to_owned(), stop_signal, log, log_start, group: Some(group) })
    }

    pub fn pid(&self) -> u32 {
        self.record.identity.pid
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What this start, not an earlier one, has written to the log.
    pub fn log_text(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            // An unreadable log is an empty one to whoever looks for a sign in it.
            file.seek(SeekFrom::Start(self.log_start)).and_then(|_| file.read_to_end(&mut text)).ok();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    pub fn is_running(&self) -> bool {
        self.group.as_ref().is_some_and(Group::is_running)
    }

    /// Waits until `is_ready` says so. The error shows the end of the log.
    pub fn wait_until_ready(
        &mut self,
        deadline: Duration,
        mut is_ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            if !self.is_running() {
                let status = self.kill().map_or_else(String::new, |status| format!(" ({status})"));
                bail!("{} ended instead of starting{status}; {}", self.record.name, log_tail(&self.log));
            }
            if is_ready(self) {
                return Ok(());
            }
            if Instant::now() >= end {
                let (name, seconds) = (&self.record.name, deadline.as_secs());
                bail!("{name} was not ready after {seconds} s; {}", log_tail(&self.log));
            }
            interrupt::pause(Duration::from_millis(25))?;
        }
    }

    /// Stops the process and its children where they are (SIGSTOP), as a machine that hangs.
    pub fn freeze(&self) {
        // Parents first: a frozen parent starts no further children.
        for member in self.family() {
            member.signal(Signal::SIGSTOP);
        }
    }

    pub fn thaw(&self) {
        for member in self.family().iter().rev() {
            member.signal(Signal::SIGCONT);
        }
    }

    /// SIGKILL to the process and its children, as a power cut. `None` if it had been ended before.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.finish(Signal::SIGKILL, Duration::ZERO)
    }

    /// Waits for the end of one that ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let mut group = self.group.take().context("it has been waited for before")?;
        let status = group.wait();
        self.record.remove(&self.directory);
        status
    }

    /// Graceful within `grace`, then by force: an error, since its data may need a recovery.
    pub fn stop(&mut self, grace: Duration) -> Result<()> {
        let status = self.finish(self.stop_signal, grace);
        if status.and_then(|status| status.signal()) != Some(Signal::SIGKILL as i32) {
            return Ok(());
        }
        let (name, seconds) = (&self.record.name, grace.as_secs());
        Err(anyhow!("{name} did not stop within {seconds} s and was killed; {}", log_tail(&self.log)))
    }

    /// Lets the server live on after this process; its pid file leads to it.
    pub fn detach(mut self) {
        if let Some(group) = self.group.take() {
            group.detach();
        }
    }

    fn family(&self) -> Vec<Identity> {
        self.group.as_ref().map(|group| group.identity().family()).unwrap_or_default()
    }

    fn finish(&mut self, signal: Signal, grace: Duration) -> Option<ExitStatus> {
        let mut group = self.group.take()?;
        let status = group.finish(signal, grace).ok();
        self.record.remove(&self.directory);
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a tool of a server to its end; `failed` says what it means if it does not succeed.
pub(crate) fn run_logged(directory: &Path, name: &str, mut command: Command, failed: &str) -> Result<()> {
    let (log, file) = create_log(directory, name)?;
    command.stderr(file.try_clone().context("the log file cannot be shared")?).stdout(file);
    let status = Group::spawn(&mut command)?.wait()?;
    ensure!(status.success(), "{failed} ({status}); {}", log_tail(&log));
    Ok(())
}

/// Opens the log of a name, to be written on at its end.
fn create_log(directory: &Path, name: &str) -> Result<(PathBuf, File)> {
    let folder = directory.join("logs");
    let log = folder.join(format!("{name}.log"));
    let file = fs::create_dir_all(&folder)
        .and_then(|()| OpenOptions::new().create(true).append(true).open(&log))
        .with_context(|| format!("{} cannot be written", log.display()))?;
    Ok((log, file))
}
