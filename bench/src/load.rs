//! The load tester against a server: its report, and what each program used between two moments in the middle.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    interrupt,
    process::{Server, Spec, log_tail},
};
use loadtest::report::{Point, Report};
use nix::sys::signal::Signal;

use crate::{
    lab::Lab,
    usage::{self, Cpu, Memory, Pids},
};

#[derive(Debug)]
pub struct Load<'a> {
    pub name: &'a str,
    pub address: SocketAddr,
    /// Whose rows are waited for and compared.
    pub database_url: Option<&'a str>,
    /// Requests a second.
    pub rate: f64,
    pub duration: Duration,
    pub more: &'a [&'a str],
    /// The programs that are looked at; the load tester's own place is filled in.
    pub pids: Pids,
}

#[derive(Debug)]
pub struct Sent {
    pub report: Report,
    pub cpu: Cpu,
    pub memory: Memory,
}

const CONNECTIONS: usize = 256;

/// Not counted at both ends.
const EDGE: Duration = Duration::from_secs(2);

/// For what could not be sent in time, and for the comparison of all rows.
const PATIENCE: Duration = Duration::from_secs(240);

/// A load tester that is on its way.
#[derive(Debug)]
pub struct Sending {
    sender: Server,
    report: PathBuf,
    pids: Pids,
    duration: Duration,
    start: Instant,
}

impl Load<'_> {
    pub fn start(&self, lab: &Lab) -> Result<Sending> {
        let report = lab.directory.join(format!("{}.json", self.name));
        let mut command = Command::new(lab.binaries().join("loadtest"));
        match self.database_url {
            Some(url) => command.env("LOADTEST_DATABASE_URL", url),
            None => command.env_remove("LOADTEST_DATABASE_URL"),
        };
        command.args(["run", "--url", &format!("http://{}", self.address), "--rate", &self.rate.to_string()]);
        command.args(["--duration", &self.duration.as_secs().to_string()]);
        command.args(["--connections", &CONNECTIONS.to_string()]).args(self.more);
        command.arg("--report").arg(&report);
        let spec = Spec { name: "loadtest", directory: &lab.directory, command, stop_signal: Signal::SIGINT };
        let sender = Server::spawn(spec)?;
        let [ingest_api, processor, kafka, postgres, _] = self.pids;
        let pids = [ingest_api, processor, kafka, postgres, Some(sender.pid())];
        Ok(Sending { sender, report, pids, duration: self.duration, start: Instant::now() })
    }

    pub fn send(&self, lab: &Lab) -> Result<Sent> {
        let sending = self.start(lab)?;
        interrupt::pause(EDGE)?;
        let (from, before) = (sending.start.elapsed(), usage::uses(&sending.pids));
        interrupt::pause(self.duration.saturating_sub(EDGE + from))?;
        let (to, after) = (sending.start.elapsed(), usage::uses(&sending.pids));
        let report = sending.finish()?;
        let requests = requests(&report.timeline, (from, to));
        Ok(Sent { report, cpu: Cpu::between(&before, &after, requests), memory: Memory::of(&after) })
    }
}

impl Sending {
    pub fn finish(mut self) -> Result<Report> {
        let end = self.start + self.duration + PATIENCE;
        while self.sender.is_running() {
            if Instant::now() >= end {
                bail!("the load tester does not come to an end; {}", log_tail(self.sender.log()));
            }
            interrupt::pause(Duration::from_millis(100))?;
        }
        self.sender.wait()?;
        let text =
            fs::read(&self.report).with_context(|| format!("no report; {}", log_tail(self.sender.log())))?;
        serde_json::from_slice(&text).context("the load tester's report cannot be read")
    }
}

/// How many requests were settled between two moments, by the rates of the timeline.
fn requests(timeline: &[Point], (from, to): (Duration, Duration)) -> f64 {
    let within = |point: &&Point| (from.as_secs_f64()..to.as_secs_f64()).contains(&point.at_seconds);
    let (points, rates) = timeline
        .iter()
        .filter(within)
        .fold((0.0, 0.0), |(points, rates), point| (points + 1.0, rates + point.achieved_per_second));
    rates / f64::max(points, 1.0) * to.saturating_sub(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_between_the_two_looks_only() {
        let point =
            |at_seconds, achieved_per_second| Point { at_seconds, achieved_per_second, ..Point::default() };
        let timeline = [point(0.5, 9_000.0), point(1.5, 1_000.0), point(2.5, 3_000.0), point(3.5, 9_000.0)];
        let looks = (Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!(requests(&timeline, looks), 4_000.0);
        assert_eq!(requests(&[], looks), 0.0);
    }
}
