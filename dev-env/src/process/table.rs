//! The process table of this machine, reduced to what [`super::Identity`] needs.
//!
//! Linux has it under `/proc`; elsewhere `ps` is asked, which every such system ships (and which
//! small Linux images do not).

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub pid: u32,
    pub parent: u32,
    /// When it started, as an opaque text that no later process with the same pid shares.
    pub started: String,
    /// Dead already, and only waiting for its parent to notice.
    pub ended: bool,
}

pub(super) use platform::{all, entry};

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::sync::LazyLock;

    use super::Entry;

    /// Start times are counted from the boot, so they only mean something together with it.
    static BOOT: LazyLock<String> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    });

    pub(in crate::process) fn all() -> Vec<Entry> {
        let Ok(directory) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        directory.filter_map(|row| row.ok()?.file_name().to_str()?.parse().ok()).filter_map(entry).collect()
    }

    pub(in crate::process) fn entry(pid: u32) -> Option<Entry> {
        parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state parent … start …`; the name may itself hold blanks and parentheses, so
    /// the fields are counted from its last one.
    fn parse(pid: u32, stat: &str) -> Option<Entry> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let ticks = fields.nth(17)?;
        let started = format!("{}/{ticks}", *BOOT);
        Some(Entry { pid, parent, started, ended: matches!(state, "Z" | "X") })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_name_with_parentheses_does_not_shift_the_fields() {
            let stat = "42 (a) b (c) Z 7 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
            let entry = parse(42, stat).unwrap();
            assert_eq!((entry.pid, entry.parent, entry.ended), (42, 7, true));
            assert!(entry.started.ends_with("/12345"), "{}", entry.started);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::process::Command;

    use super::Entry;

    pub(in crate::process) fn all() -> Vec<Entry> {
        ps(&["-A"])
    }

    pub(in crate::process) fn entry(pid: u32) -> Option<Entry> {
        ps(&["-p", &pid.to_string()]).pop()
    }

    fn ps(which: &[&str]) -> Vec<Entry> {
        let output = Command::new("ps").args(which).args(["-o", "pid=,ppid=,stat=,lstart="]).output();
        let Ok(output) = output else { return Vec::new() };
        String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect()
    }

    fn parse(line: &str) -> Option<Entry> {
        let mut fields = line.split_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let ended = fields.next()?.starts_with('Z');
        Some(Entry { pid, parent, started: fields.collect::<Vec<_>>().join(" "), ended })
    }
}
