//! Everything at once on one machine: load tester → ingest API → Kafka → processor → PostgreSQL, single
//! messages at a rate, with duplicates and invalid ones among them, verified afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    lab::Lab,
    load::{Load, Sent},
    usage::{Cpu, Memory},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtRate {
    /// Requests a second that were due.
    pub offered: f64,
    /// Requests a second that were answered.
    pub achieved: f64,
    /// Milliseconds from when a request was due to its answer.
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    /// Milliseconds from when a message was due to when its row was seen.
    pub stored_p50_ms: f64,
    pub stored_p99_ms: f64,
    /// The most records that were acknowledged and not applied, and the age of the oldest.
    pub lag_records: u64,
    pub lag_seconds: f64,
    /// Replies other than planned, and what verification found.
    pub wrong: u64,
    /// Processor time a request, in microseconds, of each program.
    pub cpu_micros: Cpu,
    /// The most memory that each program had, in MiB.
    pub peak_rss_mib: Memory,
    /// What a record takes of the topic's log, compressed as the ingest API sends it at this rate.
    pub record_bytes: Option<f64>,
}

impl AtRate {
    /// Of a load that was looked for in the database.
    pub fn of(offered: f64, sent: &Sent) -> Result<Self> {
        let report = &sent.report;
        let (Some(stored), Some(lag), Some(verification)) =
            (report.stored_ms, report.lag_max, &report.verification)
        else {
            bail!("the load tester did not look into the database");
        };
        Ok(Self {
            offered,
            achieved: report.requests_per_second,
            ack_p50_ms: report.latency_ms.p50,
            ack_p99_ms: report.latency_ms.p99,
            stored_p50_ms: stored.p50,
            stored_p99_ms: stored.p99,
            lag_records: lag.records,
            lag_seconds: lag.seconds,
            wrong: report.figures.unexpected + verification.found(),
            cpu_micros: sent.cpu,
            peak_rss_mib: sent.memory,
            record_bytes: None,
        })
    }

    /// Whether the rate was kept: answered within a second, applied within two, without one wrong reply.
    pub fn is_sustained(&self) -> bool {
        self.achieved >= 0.98 * self.offered
            && self.ack_p99_ms < 1_000.0
            && self.lag_seconds < 2.0
            && self.wrong == 0
    }
}

/// Sends at a rate for so long, to a topic and a database of this name.
pub fn at_rate(lab: &Lab, offered: f64, duration: Duration, name: &str) -> Result<AtRate> {
    let topic = format!("bench.{name}");
    lab.topic(&topic)?;
    let programs = lab.telex_database(&topic, name)?;
    let mut api = lab.ingest_api(&topic)?;
    let group = format!("--group={name}");
    let mut processor = programs.processor(&lab.directory, "processor", &[&group])?;
    processor.wait_until_ready()?;
    let load = Load {
        name,
        address: api.address.context("the ingest API has no address")?,
        database_url: Some(&programs.database_url),
        rate: offered,
        duration,
        more: &[],
        pids: [
            Some(api.server.pid()),
            Some(processor.server.pid()),
            lab.kafka.pid(),
            lab.postgres.pid(),
            None,
        ],
    };
    let sent = load.send(lab)?;
    api.stop()?;
    processor.stop()?;
    let record_bytes = Some(lab.record_bytes(&topic, name)?);
    lab.drop_database(name)?;
    Ok(AtRate { record_bytes, ..AtRate::of(offered, &sent)? })
}

/// A rate that was kept, for tests.
#[cfg(test)]
pub(crate) fn kept() -> AtRate {
    AtRate {
        offered: 10_000.0,
        achieved: 9_990.0,
        ack_p50_ms: 5.0,
        ack_p99_ms: 40.0,
        stored_p50_ms: 20.0,
        stored_p99_ms: 90.0,
        lag_records: 900,
        lag_seconds: 0.1,
        wrong: 0,
        cpu_micros: Cpu::default(),
        peak_rss_mib: Memory::default(),
        record_bytes: Some(300.0),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::as_it_should_be(kept(), true)]
    #[case::too_few(AtRate { achieved: 9_700.0, ..kept() }, false)]
    #[case::answered_late(AtRate { ack_p99_ms: 1_000.0, ..kept() }, false)]
    #[case::applied_late(AtRate { lag_seconds: 2.0, ..kept() }, false)]
    #[case::wrong(AtRate { wrong: 1, ..kept() }, false)]
    fn a_rate_is_sustained_only_if_nothing_is_late_or_wrong(#[case] rate: AtRate, #[case] is: bool) {
        assert_eq!(rate.is_sustained(), is);
    }
}
