//! What senders put into the members that Telex does not look at costs a processor no memory beyond the record.

use std::{path::PathBuf, process::Command, time::Duration};

use dev_env::programs::Running;
use rdkafka::producer::Producer as _;
use rstest::rstest;
use schemas::record::EncodedRecord;

use crate::{
    fill,
    harness::{Telex, wait_for},
};

const RECORDS: u32 = 2_000;
const HARD_LIMIT: u64 = 512 << 20;
const RESIDENT_MAX: u64 = 200 << 20;

#[rstest]
#[case::of_version_2(std::convert::identity::<EncodedRecord>)]
#[case::of_version_1(fill::as_version_1)]
fn a_backlog_of_odd_members_fits_into_a_pod(#[case] as_version: fn(EncodedRecord) -> EncodedRecord) {
    let mut telex = Telex::new();
    write(&telex, as_version);
    let peak = applied_within_the_limit(&mut telex);
    assert!(peak < RESIDENT_MAX, "{} MiB", peak >> 20);
}

/// Messages of 63 KB that would be some 9,000 objects each as a tree.
fn write(telex: &Telex, as_version: fn(EncodedRecord) -> EncodedRecord) {
    let odd = vec![r#"{"":0}"#; 9_000].join(",");
    let producer = fill::producer(telex);
    for number in 0..RECORDS {
        let client = number % 97;
        let body = format!(
            r#"{{"external_client_id":"odd","client_phone":"+7{client:010}","external_message_id":"m-{number}","text":"","x":[{odd}]}}"#
        );
        fill::produce(&producer, telex, &as_version(fill::encoded(&body)));
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}

/// The most that a processor has held at once, in bytes, while it applied the backlog.
fn applied_within_the_limit(telex: &mut Telex) -> u64 {
    let mut processor = telex.processor();
    let limit = Limit::on(&processor);
    wait_for("the backlog is applied", Duration::from_secs(180), || {
        assert!(processor.server.is_running(), "it was killed: {}", processor.server.log_text());
        telex.messages() == i64::from(RECORDS)
    });
    let peak = peak_bytes(processor.server.pid());
    eprintln!("{RECORDS} records of 63 KB: at most {} MiB, under {}", peak >> 20, limit.name());
    processor.stop().unwrap();
    assert_eq!(telex.number("select sum(dead_letters)::bigint from partition_progress"), 0);
    peak
}

/// A hard limit on a process's memory.
enum Limit {
    /// A control group of its own (version 1), where this machine has them and the test may make one.
    Group(PathBuf),
    /// RLIMIT_DATA, which counts what is private and writable, used or not: stricter.
    Data,
}

impl Limit {
    fn on(processor: &Running) -> Self {
        let pid = processor.server.pid().to_string();
        let group = PathBuf::from(format!("/sys/fs/cgroup/memory/telex-test-{pid}"));
        let write = |name: &str, text: &str| std::fs::write(group.join(name), text);
        if std::fs::create_dir(&group).is_ok() {
            let is_limited = write("memory.limit_in_bytes", &HARD_LIMIT.to_string())
                .and_then(|()| write("cgroup.procs", &pid))
                .is_ok();
            if is_limited {
                return Self::Group(group);
            }
            std::fs::remove_dir(&group).ok();
        }
        let data = format!("--data={HARD_LIMIT}");
        let status = Command::new("prlimit").args(["--pid", &pid, &data]).status().unwrap();
        assert!(status.success());
        Self::Data
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Group(_) => "memory.limit_in_bytes",
            Self::Data => "RLIMIT_DATA",
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Self::Group(group) = self {
            std::fs::remove_dir(group).ok();
        }
    }
}

fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
