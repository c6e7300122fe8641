//! What a Telex looks like from outside: its rows, its log, what its processors say.

use std::{collections::BTreeMap, ops::Range};

use anyhow::{Context as _, Result};
use dev_env::programs::{self, PARTITIONS, Running};

use super::{APPLIED, World};
use crate::{
    checker::{self, Evidence, Log, Violation},
    wire::{kafka::End, postgres::Connection},
};

impl World {
    /// A connection to the database, past the proxy.
    pub fn sql(&self) -> Result<Connection> {
        Connection::open(self.proxy.server(), &self.database)
    }

    pub fn applied(&self) -> Result<i64> {
        self.sql()?.number(APPLIED)
    }

    /// Records that a reader would get and that are not applied.
    pub fn lag(&self) -> Result<i64> {
        self.lag_before(&self.cluster.ends(&self.topic, End::Latest)?)
    }

    /// The same, below these offsets.
    pub(super) fn lag_before(&self, ends: &BTreeMap<i32, i64>) -> Result<i64> {
        let mut lag = 0;
        for (partition, next) in self.next_offsets()? {
            let end = ends.get(&partition).copied().unwrap_or(next);
            if next < end && self.holds_records(partition, next..end)? {
                lag += end - next;
            }
        }
        Ok(lag)
    }

    /// What the processors tell people: readiness, and the lag.
    pub fn what_processors_say(&self) -> Result<String> {
        let processor = self.processors.values().next().context("no processor")?;
        let ready = programs::get(processor.admin, "/readyz").map_or(0, |(status, _)| status);
        let metrics = processor.metrics();
        let lags = metrics.lines().filter(|line| line.starts_with("processor_lag_records{"));
        let lag: f64 = lags.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        Ok(format!(
            "/readyz answers {ready} and the lag is {lag}, where {} records are not applied",
            self.lag()?
        ))
    }

    /// What the counters that begin so come to, over all processors that run.
    pub fn counted(&self, beginning: &str) -> u64 {
        self.processors.values().filter_map(|processor| counted_by(processor, beginning)).sum()
    }

    /// How far each partition is applied.
    pub fn next_offsets(&self) -> Result<BTreeMap<i32, i64>> {
        let next = "select json_build_array(partition, next_offset) from partition_progress";
        Ok(self.sql()?.rows::<(i32, i64)>(next)?.into_iter().collect())
    }

    /// Who has taken each partition last.
    pub fn owners(&self) -> Result<BTreeMap<i32, String>> {
        let owners = "select distinct on (partition) json_build_array(partition, process) from torture_audit
                      where to_epoch > from_epoch order by partition, seq desc";
        Ok(self.sql()?.rows::<(i32, String)>(owners)?.into_iter().collect())
    }

    /// Whether there is anything in a stretch of a log that a reader gets.
    fn holds_records(&self, partition: i32, range: Range<i64>) -> Result<bool> {
        if self.history.planted().transactions == 0 {
            return Ok(true);
        }
        let log = self.cluster.read_range(&self.topic, partition, range)?;
        let planted = self.history.planted();
        Ok(log.records.iter().any(|record| !planted.aborted.contains(&(partition, record.offset))))
    }

    /// What the processor's own proof finds; nothing if all is clean.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn prove(&self, arguments: &[&str]) -> Result<Option<Violation>> {
        let output = self.past_the_proxy().run_processor(&[&["prove"][..], arguments].concat())?;
        if output.status.success() {
            return Ok(None);
        }
        let (found, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let what = format!("{}: {} {}", output.status, found.trim(), said.trim());
        Ok(Some(Violation::new("prove", what)))
    }

    /// Compares what was sent, the topic and the tables.
    pub fn check(&mut self) -> Result<Vec<Violation>> {
        let topic = self.cluster.topic(&self.topic)?;
        let partitions = self.cluster.read(&self.topic)?;
        let log = Log { topic_id: topic.id, partitions, keyed_partitions: PARTITIONS };
        let attempts = self.history.attempts();
        let planted = self.history.planted();
        let evidence = Evidence { attempts: &attempts, planted: &planted, log: &log };
        checker::check(&evidence, &mut self.sql()?)
    }
}

/// What the counters of a program that begin so come to; `None` if it does not show them.
pub fn counted_by(program: &Running, beginning: &str) -> Option<u64> {
    let (_, page) = programs::get(program.admin, "/metrics").filter(|(status, _)| *status == 200)?;
    let lines = page.lines().filter(|line| line.starts_with(beginning));
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
