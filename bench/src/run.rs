//! Which measurement comes when. Each of several runs does all of them, one after the other: so that what
//! changes on the machine meanwhile meets them all. What fails is noted, and the others go on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dev_env::{
    commands::steps::{say, step},
    interrupt,
    workspace::Workspace,
};

use crate::{
    backlog::{self, Writers},
    control, document, end_to_end,
    growth::Growth,
    lab::Lab,
    machine::{Machine, Ticks},
    parts::{self, Others, Size},
    postgres_alone,
    summary::Summary,
    sustained, verdict,
};

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The processor, and COPY of what it wrote.
    Drain,
    /// Debezium's JDBC sink.
    Debezium,
    /// The Redis lock.
    Redis,
    /// The ingest API and the handler that does nothing.
    Http,
    /// The same without Kafka.
    PostgresAlone,
    /// Everything at once, at rates that are given, also beside somebody else's work.
    EndToEnd,
    /// The highest rate that is kept.
    Sustained,
    /// What a message costs as work grows: only if it is asked for, about twenty minutes and 20 GB of disk (with
    /// --quick three minutes, without the large ends).
    Growth,
}

impl Part {
    const USUAL: [Self; 7] = [
        Self::Drain,
        Self::Debezium,
        Self::Redis,
        Self::Http,
        Self::PostgresAlone,
        Self::EndToEnd,
        Self::Sustained,
    ];
}

#[derive(Debug)]
pub struct Asked<'a> {
    pub quick: bool,
    /// Only these; all but the growth if there are none.
    pub only: &'a [Part],
    /// What an earlier version sustained, in requests a second.
    pub sustained_before: Option<f64>,
}

pub fn summary_path(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bench/summary.json")
}

/// Where the growth is left, which is measured on another day.
pub fn growth_path(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bench/growth.json")
}

/// Measures, and prints the table. Whether every part was measured, on a quiet machine, and every must is reached.
///
/// # Errors
/// The servers do not start, nothing can be written, or somebody interrupts.
pub fn run(workspace: &Workspace, asked: &Asked<'_>) -> Result<bool> {
    let wanted: &[Part] = if asked.only.is_empty() { &Part::USUAL } else { asked.only };
    let wants = |part| wanted.contains(&part);
    let lab = step("Kafka and PostgreSQL", || Lab::start(workspace))?;
    fs::create_dir_all(summary_path(workspace).parent().context("no folder")?)?;
    let size = if asked.quick { parts::QUICK } else { parts::FULL };
    let mut is_well = true;
    if Part::USUAL.into_iter().any(wants) {
        let mut run = Run::new(&lab, size, asked, summary_path(workspace));
        run.measure(workspace, &wants)?;
        say(&format!("\n{}\n{}", document::table(&run.summary), run.path.display()));
        is_well &= run.is_well();
    }
    if wants(Part::Growth) {
        if asked.only == [Part::Growth] {
            parts::warm_up(&lab, &size, &mut Summary::default())?;
        }
        let path = growth_path(workspace);
        let growth = Growth::measure(&lab, asked.quick, |growth| save(&path, growth))?;
        say(&format!("\n{}\n{}", document::growth_table(&growth), path.display()));
        is_well &= growth.failed.is_empty();
    }
    let directory = lab.directory.clone();
    drop(lab);
    if is_well {
        // Gigabytes, and the logs go with them.
        fs::remove_dir_all(directory).ok();
    } else {
        fs::remove_dir_all(directory.join("kafka")).ok();
        fs::remove_dir_all(directory.join("postgres")).ok();
    }
    Ok(is_well)
}

fn save(path: &Path, what: &impl serde::Serialize) -> Result<()> {
    fs::write(path, serde_json::to_vec_pretty(what)?)
        .with_context(|| format!("{} cannot be written", path.display()))
}

struct Run<'a> {
    lab: &'a Lab,
    size: Size,
    summary: Summary,
    path: PathBuf,
    start: Ticks,
}

impl<'a> Run<'a> {
    fn new(lab: &'a Lab, size: Size, asked: &Asked<'_>, path: PathBuf) -> Self {
        let summary = Summary {
            quick: asked.quick,
            runs: size.runs,
            records: size.records,
            machine: Machine::look(),
            sustained_before: asked.sustained_before,
            ..Summary::default()
        };
        Self { lab, size, summary, path, start: Ticks::now() }
    }

    /// Measures a part. What came out of it before it failed, and of others, stays.
    fn part(&mut self, name: &str, work: impl FnOnce(&Lab, &Size, &mut Summary) -> Result<()>) -> Result<()> {
        if let Err(error) = work(self.lab, &self.size, &mut self.summary) {
            say(&format!("    {name}: {error:#}"));
            self.summary.failed.push(format!("{name}: {error:#}"));
        }
        self.summary.at = service_kit::clock::unix_time().as_secs();
        self.summary.stolen = Ticks::now().stolen_since(self.start);
        save(&self.path, &self.summary)?;
        Ok(interrupt::check()?)
    }

    fn measure(&mut self, workspace: &Workspace, wants: &impl Fn(Part) -> bool) -> Result<()> {
        if Part::USUAL.into_iter().any(|part| part != Part::Redis && wants(part)) {
            self.part("the warm-up of Kafka", parts::warm_up)?;
        }
        if wants(Part::Drain) || wants(Part::Debezium) {
            self.part("a backlog", |lab, size, _| {
                step(&format!("a backlog of {} records", size.records), || {
                    backlog::fill(lab, parts::BACKLOG, backlog::plan(size.records, 1)?, Writers::Usual)
                })
            })?;
        }
        if wants(Part::Drain) {
            self.part("backlogs of other clients", parts::other_backlogs)?;
        }
        if wants(Part::PostgresAlone) {
            self.part("the best way of PostgreSQL alone", parts::best_way)?;
        }
        let others = Others::prepare(
            workspace,
            self.lab,
            wants(Part::Debezium),
            wants(Part::Redis),
            &mut self.summary.failed,
        );
        for number in 1..=self.size.runs {
            say(&format!("run {number} of {}", self.size.runs));
            self.once(number, &others, wants)?;
        }
        if wants(Part::Redis) {
            self.part("the Redis-lock way, broken", |lab, size, summary| others.damage(lab, size, summary))?;
        }
        drop(others);
        self.at_last(wants)
    }

    fn once(&mut self, number: u32, others: &Others, wants: &impl Fn(Part) -> bool) -> Result<()> {
        self.part("the control", parts::control)?;
        if wants(Part::Drain) {
            self.part("the drain", |lab, size, summary| parts::drained(lab, size, number, summary))?;
            self.part("the drain of other clients", |lab, size, summary| {
                parts::other_drains(lab, size, number, summary)
            })?;
        }
        self.part("Debezium's JDBC sink", |lab, size, summary| others.debezium(lab, size, number, summary))?;
        self.part("the Redis-lock way", |lab, size, summary| others.redis(lab, size, number, summary))?;
        if wants(Part::Http) {
            self.part("HTTP", |lab, size, summary| parts::over_http(lab, size, number, summary))?;
        }
        if wants(Part::PostgresAlone) {
            self.part("PostgreSQL alone", |lab, size, summary| parts::alone(lab, size, number, summary))?;
        }
        if wants(Part::EndToEnd) {
            self.part("end to end, 10,000 requests/s", |lab, size, summary| {
                parts::end_to_end(lab, size, control::RATE, number, &mut summary.end_to_end)
            })?;
        }
        Ok(())
    }

    fn at_last(&mut self, wants: &impl Fn(Part) -> bool) -> Result<()> {
        if wants(Part::EndToEnd) {
            for rate in self.size.other_rates {
                self.part(&format!("end to end, {rate} requests/s"), |lab, size, summary| {
                    parts::end_to_end(lab, size, *rate, 1, &mut summary.end_to_end)
                })?;
            }
            self.part("end to end beside somebody else's work", parts::beside_busy_loop)?;
        }
        if wants(Part::Sustained) {
            self.part("the highest rate that is kept", |lab, size, summary| {
                let at_rate = |rate: f64| {
                    let what = format!("end to end, is {rate} requests/s kept?");
                    step(&what, || end_to_end::at_rate(lab, rate, size.searched, &format!("search_{rate}")))
                };
                summary.sustained = Some(sustained::search(at_rate)?);
                Ok(())
            })?;
        }
        if wants(Part::PostgresAlone) {
            for rate in [1_000.0, control::RATE] {
                self.part(&format!("PostgreSQL alone, {rate} requests/s"), |lab, size, summary| {
                    let way = summary.alone.way.context("its best way is not known")?;
                    let what = format!("PostgreSQL alone, {rate} requests/s");
                    let name = format!("alone_rate_{rate}");
                    let point =
                        step(&what, || postgres_alone::at_rate(lab, way, rate, size.searched, &name))?;
                    summary.alone.at_rate.push(point);
                    Ok(())
                })?;
            }
            self.part("PostgreSQL away", parts::outage)?;
        }
        self.part("the control", parts::control)
    }

    fn is_well(&self) -> bool {
        let verdicts = verdict::verdicts(&self.summary);
        self.summary.failed.is_empty()
            && self.summary.noise().is_empty()
            && verdicts.iter().all(|verdict| verdict.reaches_must() != Some(false))
    }
}
