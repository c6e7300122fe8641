//! The processor on a backlog: one process with its default settings, empty tables, everything that it
//! guarantees switched on.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sqlx::{Connection as _, PgConnection};

use crate::{
    lab::{LOOK_EVERY, Lab, Looks},
    usage,
};

/// What a run of it came to.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// Records a second, while there were any.
    pub records_per_second: f64,
    /// Processor time a record, of the processor's process.
    pub cpu_micros: f64,
    /// The most memory it had.
    pub peak_rss_bytes: u64,
}

const DEADLINE: Duration = Duration::from_secs(300);

/// Drains `records` of a topic into a new database, which stays.
///
/// # Errors
/// The processor does not come to the end.
pub fn drain(lab: &Lab, topic: &str, records: u64, database: &str) -> Result<Drained> {
    let programs = lab.telex_database(topic, database)?;
    let group = format!("--group={database}");
    let mut processor = programs.processor(&lab.directory, "processor", &[&group])?;
    let mut looks = Looks::default();
    let end = Instant::now() + DEADLINE;
    let mut connection = lab.runtime.block_on(PgConnection::connect(&programs.database_url))?;
    loop {
        let at = Instant::now();
        let applied: i64 = lab.runtime.block_on(Lab::next_offsets(&mut connection))?.values().sum();
        looks.add(at, u64::try_from(applied)?);
        if u64::try_from(applied)? >= records {
            break;
        }
        if at >= end || !processor.server.is_running() {
            bail!("the processor has not drained the topic: {applied} of {records}");
        }
        thread::sleep(LOOK_EVERY);
    }
    let used = usage::of(processor.server.pid());
    processor.stop()?;
    lab.runtime.block_on(connection.close())?;
    Ok(Drained {
        records_per_second: looks.rate(1).context("too few records to see a rate")?,
        cpu_micros: used.cpu.as_secs_f64() * 1e6 / records as f64,
        peak_rss_bytes: used.peak_rss_bytes,
    })
}
