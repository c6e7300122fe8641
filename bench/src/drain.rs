//! The processor on a backlog: one process with its default settings, everything that it guarantees switched on.

use anyhow::{Context as _, Result};
use dev_env::programs::Programs;
use sqlx::{Connection as _, PgConnection};

use crate::{
    lab::Lab,
    usage::{self, Cpu, Memory},
};

/// What a run of it came to.
#[derive(Debug, Clone, Copy)]
pub struct Drained {
    /// Records a second, while there were any.
    pub records_per_second: f64,
    /// Processor time a record, of each program; of the processor with that of its start.
    pub cpu: Cpu,
    pub memory: Memory,
}

/// Drains `records` of a topic into a new database, which stays.
pub fn drain(lab: &Lab, topic: &str, records: u64, database: &str) -> Result<Drained> {
    let programs = lab.telex_database(topic, database)?;
    go_on(lab, &programs, database, (0, records))
}

/// Drains the records of a topic from so many that are applied up to so many.
pub fn go_on(lab: &Lab, programs: &Programs, group: &str, (from, to): (u64, u64)) -> Result<Drained> {
    let group = format!("--group={group}");
    let mut processor = programs.processor(&lab.directory, "processor", &[&group])?;
    let pids = [None, Some(processor.server.pid()), lab.kafka.pid(), lab.postgres.pid(), None];
    // It has hardly begun: its start is part of what it uses.
    let before = usage::uses(&pids);
    let mut connection = lab.runtime.block_on(PgConnection::connect(&programs.database_url))?;
    let is_running = || processor.server.is_running();
    let complaint = "the processor has not drained the topic";
    let looks = lab.looks(&mut connection, (from, to), is_running, complaint)?;
    let after = usage::uses(&pids);
    processor.stop()?;
    lab.runtime.block_on(connection.close())?;
    Ok(Drained {
        records_per_second: looks.rate(1).context("too few records to see a rate")?,
        cpu: Cpu::between(&before, &after, to.saturating_sub(from) as f64),
        memory: Memory::of(&after),
    })
}
