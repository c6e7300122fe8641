//! What processes and their children have used, from `/proc`, by program.

use std::{fmt, fs, ops::Sub, time::Duration};

use dev_env::process::Identity;
use serde::{Deserialize, Serialize};

/// Microseconds of processor time a message, of each program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Or what stands in its place: the handler that does nothing, the edge of PostgreSQL alone.
    pub ingest_api: f64,
    pub processor: f64,
    pub kafka: f64,
    pub postgres: f64,
    /// Or the bench itself, where it is what sends.
    pub loadtest: f64,
}

/// MiB, of each program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub ingest_api: f64,
    pub processor: f64,
    pub kafka: f64,
}

/// The processes of the programs, in the order of [`Cpu`]; none of a program that does not run.
pub type Pids = [Option<u32>; 5];

pub type Uses = [Usage; 5];

pub fn uses(pids: &Pids) -> Uses {
    pids.map(|pid| pid.map(of).unwrap_or_default())
}

impl Cpu {
    /// For each of so many messages between two looks.
    pub fn between(before: &Uses, after: &Uses, messages: f64) -> Self {
        let [ingest_api, processor, kafka, postgres, loadtest] = std::array::from_fn(|place| {
            let of = |uses: &Uses| uses.get(place).copied().unwrap_or_default();
            micros(of(after) - of(before), messages)
        });
        Self { ingest_api, processor, kafka, postgres, loadtest }
    }

    /// Of all programs but the one that sends.
    pub const fn without_sender(&self) -> f64 {
        self.ingest_api + self.processor + self.kafka + self.postgres
    }
}

impl Memory {
    pub fn of(uses: &Uses) -> Self {
        let mib = |usage: Usage| usage.peak_rss_bytes as f64 / 1_048_576.0;
        let [ingest_api, processor, kafka, ..] = uses.map(mib);
        Self { ingest_api, processor, kafka }
    }
}

/// All but the one that sends.
impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ingest_api, processor, kafka, postgres, .. } = self;
        write!(f, "{ingest_api:.1} · {processor:.1} · {kafka:.1} · {postgres:.1}")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ingest_api, processor, kafka } = self;
        write!(f, "{ingest_api:.0} · {processor:.0} · {kafka:.0}")
    }
}

/// Microseconds for each of so many messages.
pub fn micros(used: Duration, messages: f64) -> f64 {
    used.as_secs_f64() * 1e6 / f64::max(messages, 1.0)
}

/// Processor time since the process began, and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// In user and kernel mode, with that of children that have ended.
    pub cpu: Duration,
    /// The most it ever had resident; of several processes the sum, so that shared pages count twice.
    pub peak_rss_bytes: u64,
}

/// Of a process with all its descendants. Nothing of one that has ended.
pub fn of(pid: u32) -> Usage {
    let family = Identity::of(pid).map(|process| process.family()).unwrap_or_default();
    family.iter().fold(Usage::default(), |sum, process| {
        let one = of_one(process.pid).unwrap_or_default();
        Usage { cpu: sum.cpu + one.cpu, peak_rss_bytes: sum.peak_rss_bytes + one.peak_rss_bytes }
    })
}

/// Of this process, without its children.
pub fn own() -> Usage {
    of_one(std::process::id()).unwrap_or_default()
}

impl Sub for Usage {
    type Output = Duration;

    /// Processor time between two looks.
    fn sub(self, before: Self) -> Duration {
        self.cpu.saturating_sub(before.cpu)
    }
}

fn of_one(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu: cpu(&stat)?, peak_rss_bytes: peak_rss_bytes(&status)? })
}

/// `pid (name) state …`; the name may hold blanks and parentheses. Times are in ticks of 10 ms, on every
/// Linux that there is.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Option<u64> =
        fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks? * 10))
}

fn peak_rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_the_process_and_of_its_dead_children_count() {
        let stat = "42 (a) b (c) S 7 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 12345 0 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1_270)));
        assert_eq!(peak_rss_bytes("Name:\ta\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"), Some(2_097_152));
    }

    #[test]
    fn each_program_is_charged_for_what_it_used_between_two_looks() {
        let at = |millis| Usage { cpu: Duration::from_millis(millis), ..Usage::default() };
        let (before, after) = ([at(10), at(0), at(0), at(5), at(0)], [at(30), at(0), at(4), at(5), at(100)]);
        let cpu = Cpu::between(&before, &after, 1_000.0);
        assert_eq!((cpu.ingest_api, cpu.kafka, cpu.postgres, cpu.loadtest), (20.0, 4.0, 0.0, 100.0));
        assert_eq!(cpu.without_sender(), 24.0);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(of(std::process::id()).peak_rss_bytes > 1_000_000);
    }
}
