//! What a message costs as work grows: with the rate, with partitions, with the clients and with the rows that are
//! there already. One thing grows at a time. A part of its own: it takes long and fills a disk.

mod present;

use std::time::Duration;

use anyhow::Result;
use dev_env::{
    commands::steps::step,
    interrupt::{self, Interrupted},
};
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub what: String,
    pub per_second: f64,
    pub cpu: Cpu,
    pub memory: Memory,
    /// The index of the messages afterwards, in MiB, where it is what grows.
    pub index_mib: Option<f64>,
}

/// What grows, and how far.
#[derive(Debug, Clone, Copy)]
enum Grown {
    Rate(f64),
    Partitions(i32),
    Clients(u32),
    Rows(u64),
}

impl Grown {
    fn what(self) -> String {
        match self {
            Self::Rate(rate) => format!("{} requests/s", number(rate)),
            Self::Partitions(count) => format!("{count} partitions"),
            Self::Clients(count) => format!("{} clients", number(f64::from(count))),
            Self::Rows(count) => format!("{} rows", number(count as f64)),
        }
    }
}

struct Size {
    records: u64,
    at_rate: Duration,
    /// In the order in which it is measured.
    all: &'static [Grown],
}

const FULL: Size = Size {
    records: 200_000,
    at_rate: Duration::from_secs(20),
    all: &[
        Grown::Rate(1_000.0),
        Grown::Rate(5_000.0),
        Grown::Rate(10_000.0),
        Grown::Rate(20_000.0),
        Grown::Partitions(1),
        Grown::Partitions(4),
        Grown::Partitions(12),
        Grown::Partitions(64),
        Grown::Clients(1_000),
        Grown::Clients(10_000),
        Grown::Clients(100_000),
        Grown::Clients(1_000_000),
        Grown::Clients(10_000_000),
        Grown::Rows(100_000),
        Grown::Rows(1_000_000),
        Grown::Rows(10_000_000),
        Grown::Rows(30_000_000),
    ],
};

const QUICK: Size = Size {
    records: 100_000,
    at_rate: Duration::from_secs(10),
    all: &[
        Grown::Rate(1_000.0),
        Grown::Rate(10_000.0),
        Grown::Partitions(1),
        Grown::Partitions(12),
        Grown::Partitions(64),
        Grown::Clients(1_000),
        Grown::Clients(100_000),
        Grown::Rows(100_000),
        Grown::Rows(1_000_000),
    ],
};

impl Growth {
    /// Measures it; each row is handed to `kept` as soon as it is there. What fails is noted, and the others go on.
    /// If somebody interrupts, what is not measured is noted, too.
    pub fn measure(lab: &Lab, quick: bool, kept: impl FnMut(&Self) -> Result<()>) -> Result<Self> {
        let size = if quick { QUICK } else { FULL };
        let machine = Machine::look();
        let mut growth = Self { quick, machine, records: size.records, ..Self::default() };
        let mut table = present::Rows::new(lab, size.records);
        let measure = |grown: Grown| match grown {
            Grown::Rate(rate) => at_rate(lab, rate, size.at_rate),
            Grown::Partitions(count) => of_partitions(lab, count, size.records),
            Grown::Clients(count) => of_clients(lab, count, size.records),
            Grown::Rows(count) => table.drain_into(count),
        };
        growth.add_all(size.all, measure, interrupt::check, kept)?;
        lab.drop_database(present::ROWS).ok();
        Ok(growth)
    }

    fn add_all(
        &mut self,
        all: &[Grown],
        mut measure: impl FnMut(Grown) -> Result<Row>,
        may_go_on: impl Fn() -> Result<(), Interrupted>,
        mut kept: impl FnMut(&Self) -> Result<()>,
    ) -> Result<()> {
        for (at, grown) in all.iter().enumerate() {
            let what = grown.what();
            match step(&what, || measure(*grown)) {
                Ok(row) => self.rows.push(Row { what, ..row }),
                Err(error) => self.failed.push(format!("{what}: {error:#}")),
            }
            let goes_on = may_go_on();
            if let Err(interrupted) = goes_on {
                let rest = all.iter().skip(at + 1);
                self.failed.extend(rest.map(|grown| format!("{}: {interrupted}", grown.what())));
            }
            kept(self)?;
            goes_on?;
        }
        Ok(())
    }
}

impl Row {
    fn of(drained: &Drained) -> Self {
        let Drained { records_per_second: per_second, cpu, memory } = *drained;
        Self { per_second, cpu, memory, ..Self::default() }
    }
}

fn at_rate(lab: &Lab, rate: f64, duration: Duration) -> Result<Row> {
    let point = end_to_end::at_rate(lab, rate, duration, &format!("growth_rate_{rate}"))?;
    let (per_second, cpu, memory) = (point.achieved, point.cpu_micros, point.peak_rss_mib);
    Ok(Row { per_second, cpu, memory, ..Row::default() })
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
    let plan = backlog::plan_of(records, clients, Spread::Even { mean: 1.0 }, 402)?;
    let programs = lab.telex_database(&topic, &name)?;
    lab.runtime.block_on(present::clients(&programs.database_url, &plan))?;
    backlog::fill(lab, &topic, plan, Writers::Usual)?;
    let drained = drain::go_on(lab, &programs, &name, (0, records))?;
    lab.drop_database(&name)?;
    Ok(Row::of(&drained))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_an_interrupted_run_has_not_measured_is_noted() {
        let all = [Grown::Partitions(1), Grown::Partitions(4), Grown::Clients(1_000), Grown::Rows(100_000)];
        let (measured, mut kept) = (Cell::new(0), Growth::default());
        let measure = |_| {
            measured.set(measured.get() + 1);
            Ok(Row { per_second: 1.0, ..Row::default() })
        };
        let may_go_on = || if measured.get() < 2 { Ok(()) } else { Err(Interrupted) };
        let ended = Growth::default().add_all(&all, measure, may_go_on, |growth| {
            kept = growth.clone();
            Ok(())
        });
        assert!(ended.unwrap_err().is::<Interrupted>());
        assert_eq!(
            kept.rows.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(),
            ["1 partitions", "4 partitions"]
        );
        assert_eq!(kept.failed, ["1,000 clients: interrupted", "100,000 rows: interrupted"]);
    }
}
