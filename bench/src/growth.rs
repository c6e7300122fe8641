//! What a message costs as work grows: with the rate, with partitions, with the clients and with the rows that are
//! there already. One thing grows at a time. A part of its own: it takes long and fills a disk.

mod present;

use std::time::Duration;

use anyhow::Result;
use dev_env::commands::steps::step;
use loadtest::plan::Spread;
use serde::{Deserialize, Serialize};

use crate::{
    backlog::{self, Writers},
    drain::{self, Drained},
    end_to_end,
    lab::Lab,
    machine::Machine,
    summary::number,
    usage::{Cpu, Memory},
};

/// The table, as target/bench/growth.json has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Growth {
    pub quick: bool,
    pub machine: Machine,
    pub records: u64,
    pub rows: Vec<Row>,
    /// What could not be measured, and why.
    pub failed: Vec<String>,
}

/// What a message costs where something has grown so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub what: String,
    pub per_second: f64,
    pub cpu: Cpu,
    pub memory: Memory,
    /// The index of the messages afterwards, in MiB, where it is what grows.
    pub index_mib: Option<f64>,
}

struct Size {
    records: u64,
    rates: &'static [f64],
    at_rate: Duration,
    partitions: &'static [i32],
    clients: &'static [u32],
    rows: &'static [u64],
}

const FULL: Size = Size {
    records: 200_000,
    rates: &[1_000.0, 5_000.0, 10_000.0, 20_000.0],
    at_rate: Duration::from_secs(20),
    partitions: &[1, 4, 12, 64],
    clients: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    rows: &[100_000, 1_000_000, 10_000_000, 30_000_000],
};

const QUICK: Size = Size {
    records: 100_000,
    rates: &[1_000.0, 10_000.0],
    at_rate: Duration::from_secs(10),
    partitions: &[1, 12, 64],
    clients: &[1_000, 100_000],
    rows: &[100_000, 1_000_000],
};

impl Growth {
    /// Measures it; each row is handed to `kept` as soon as it is there. What fails is noted, and the others go on.
    pub fn measure(lab: &Lab, quick: bool, mut kept: impl FnMut(&Self) -> Result<()>) -> Result<Self> {
        let size = if quick { QUICK } else { FULL };
        let machine = Machine::look();
        let mut growth = Self { quick, machine, records: size.records, ..Self::default() };
        let mut add = |what: String, work: &mut dyn FnMut() -> Result<Row>| {
            match step(&what, work) {
                Ok(row) => growth.rows.push(Row { what, ..row }),
                Err(error) => growth.failed.push(format!("{what}: {error:#}")),
            }
            dev_env::interrupt::check()?;
            kept(&growth)
        };
        for rate in size.rates {
            let what = format!("{} requests/s", number(*rate));
            add(what, &mut || at_rate(lab, *rate, size.at_rate))?;
        }
        for partitions in size.partitions {
            let what = format!("{partitions} partitions");
            add(what, &mut || of_partitions(lab, *partitions, size.records))?;
        }
        for clients in size.clients {
            let what = format!("{} clients", number(f64::from(*clients)));
            add(what, &mut || of_clients(lab, *clients, size.records))?;
        }
        let mut table = present::Rows::new(lab, size.records);
        for rows in size.rows {
            let what = format!("{} rows", number(*rows as f64));
            add(what, &mut || table.drain_into(*rows))?;
        }
        lab.drop_database(present::ROWS).ok();
        Ok(growth)
    }
}

impl Row {
    fn of(drained: &Drained) -> Self {
        Self {
            what: String::new(),
            per_second: drained.records_per_second,
            cpu: drained.cpu,
            memory: drained.memory,
            index_mib: None,
        }
    }
}

fn at_rate(lab: &Lab, rate: f64, duration: Duration) -> Result<Row> {
    let point = end_to_end::at_rate(lab, rate, duration, &format!("growth_rate_{rate}"))?;
    Ok(Row {
        what: String::new(),
        per_second: point.achieved,
        cpu: point.cpu_micros,
        memory: point.peak_rss_mib,
        index_mib: None,
    })
}

/// A backlog in a topic of so many partitions.
fn of_partitions(lab: &Lab, partitions: i32, records: u64) -> Result<Row> {
    let name = format!("growth_partitions_{partitions}");
    let topic = format!("bench.{name}");
    lab.topic_of(&topic, partitions)?;
    let count = format!("--partition-count={partitions}");
    backlog::add(lab, &topic, &[&count], backlog::plan(records, 401)?, Writers::Usual)?;
    let drained = drain::drain(lab, &topic, records, &name)?;
    lab.drop_database(&name)?;
    Ok(Row::of(&drained))
}

/// A backlog of so many clients, each with an active dialog already, who all write as much.
fn of_clients(lab: &Lab, clients: u32, records: u64) -> Result<Row> {
    let name = format!("growth_clients_{clients}");
    let topic = format!("bench.{name}");
    let plan = backlog::plan_of(records, (clients, Spread::Even { mean: 1.0 }), 402)?;
    let programs = lab.telex_database(&topic, &name)?;
    lab.runtime.block_on(present::clients(&programs.database_url, &plan))?;
    backlog::fill(lab, &topic, plan, Writers::Usual)?;
    let drained = drain::go_on(lab, &programs, &name, (0, records))?;
    lab.drop_database(&name)?;
    Ok(Row::of(&drained))
}
