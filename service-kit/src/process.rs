//! What the operating system says of this process, as metrics. Computed at each scrape; the names are
//! those that Prometheus' own client libraries use.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use prometheus::{
    Counter,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Processor time of this process since it started: divided by messages, what one costs.
pub struct CpuSeconds {
    /// Never counted up: tells name and help.
    blank: Counter,
}

impl CpuSeconds {
    pub const NAME: &'static str = "process_cpu_seconds_total";

    /// Makes the metric.
    ///
    /// # Errors
    /// None that can happen: the name is one that Prometheus takes.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self { blank: counter()? })
    }
}

fn counter() -> prometheus::Result<Counter> {
    Counter::new(CpuSeconds::NAME, "CPU time of this process, user and system, in seconds.")
}

impl Collector for CpuSeconds {
    fn desc(&self) -> Vec<&Desc> {
        self.blank.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (Ok(usage), Ok(counter)) = (getrusage(UsageWho::RUSAGE_SELF), counter()) else {
            return Vec::new();
        };
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        counter.inc_by(micros as f64 / 1e6);
        counter.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_grows_with_work() {
        let metric = CpuSeconds::new().unwrap();
        let read = || metric.collect()[0].get_metric()[0].get_counter().get_value();
        let before = read();
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(50) {
            std::hint::black_box(started);
        }
        assert!(read() > before + 0.005, "{before}, then {}", read());
    }
}
