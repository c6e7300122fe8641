//! What a process and its children have used, from `/proc`.

use std::{fs, ops::Sub, time::Duration};

use dev_env::process::Identity;

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
    fn this_process_has_used_something() {
        assert!(of(std::process::id()).peak_rss_bytes > 1_000_000);
    }
}
