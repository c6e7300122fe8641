//! The machine: what it is, and how quiet it was. Others who share it take processor time in two ways that can be
//! seen: they run beside us (the load average before the run), or on the same cores below us (stolen time).

use std::{fs, thread};

use serde::{Deserialize, Serialize};

/// The machine, and how quiet it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub cores: usize,
    pub processor: String,
    pub memory_mib: u64,
    pub kernel: String,
    /// The load average of a minute before the run: what others did.
    pub load_before: f64,
}

impl Machine {
    pub fn look() -> Self {
        let memory = after(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            cores: thread::available_parallelism().map_or(0, usize::from),
            processor: after(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or_default(),
        }
    }
}

/// Time of all cores together since the start of the machine, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    pub fn now() -> Self {
        ticks(&read("/proc/stat")).unwrap_or_default()
    }

    /// The share of the time since then that others had, who run on the same cores below us.
    pub fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        self.stolen.saturating_sub(before.stolen) as f64 / all.max(1) as f64
    }
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`, where guests are part of user and nice.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Ticks { all: fields.iter().sum(), stolen: fields.get(7).copied()? })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        let before = ticks("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n").unwrap();
        let after = ticks("cpu  40 0 20 130 0 0 0 10 0 0\n").unwrap();
        assert_eq!(after.stolen_since(before), 0.1);
        assert_eq!(ticks("cpu  1 2 3\n"), None);
    }

    #[test]
    fn this_machine_has_a_name_and_memory() {
        let machine = Machine::look();
        assert!(machine.cores > 0 && machine.memory_mib > 0 && !machine.kernel.is_empty(), "{machine:?}");
    }
}
