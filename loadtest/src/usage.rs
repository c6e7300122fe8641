//! What the load tester itself costs: it shares the machine with what it tests, so it has to say so.

use std::time::Duration;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

/// All of the sending runs on one thread. Where only processes are counted, the handler of `loadtest floor`
/// counts, too.
#[cfg(target_os = "linux")]
const WHO: UsageWho = UsageWho::RUSAGE_THREAD;
#[cfg(not(target_os = "linux"))]
const WHO: UsageWho = UsageWho::RUSAGE_SELF;

/// Processor time that the calling thread has used, in user and kernel mode; zero if nobody knows.
pub fn processor_time() -> Duration {
    let used = getrusage(WHO)
        .map(|usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds());
    Duration::from_micros(used.ok().and_then(|micros| u64::try_from(micros).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_counts_and_waiting_does_not() {
        let (before, start) = (processor_time(), Instant::now());
        while processor_time() < before + Duration::from_millis(20) {
            assert!(start.elapsed() < Duration::from_secs(60), "no processor time is counted");
        }
        let before = processor_time();
        std::thread::sleep(Duration::from_millis(100));
        assert!(processor_time() - before < Duration::from_millis(50));
    }
}
