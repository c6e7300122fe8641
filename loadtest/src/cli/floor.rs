//! `loadtest floor`: the same sender against a handler that does nothing. What it costs there it costs in every
//! run, so the figures of a run can be read without it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use schemas::Timestamp;

use super::settings::GRACE;
use crate::{
    connection::Target,
    noop,
    plan::{CLIENTS_MAX, CLIENTS_MIN, Plan, Settings},
    run::Options,
    schedule::{Rate, Schedule, parse_duration},
    send::Policy,
};

/// The options of `loadtest floor`.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// Requests a second (2500, 10k), or a ramp (1k..10k).
    #[arg(long, default_value = "10k")]
    pub rate: Rate,
    /// Sends for this long.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    duration: Duration,
    /// Number of connections.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// Writes the report as JSON to this file; `-` makes it the last line of standard output.
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
}

/// Of the plan; any is as good.
pub const SEED: u64 = 1;
/// Nothing is refused by a handler that does nothing.
const MIX: &str = "valid=95,duplicate=5";

impl FloorArgs {
    /// When requests are due.
    pub const fn schedule(&self) -> Schedule {
        Schedule::lasting(self.rate, self.duration)
    }

    /// What `loadtest run` sends by default, without what has to be refused.
    ///
    /// # Errors
    /// None that can happen: the settings are those of a plan.
    pub fn plan(&self, base_time: Timestamp) -> anyhow::Result<Arc<Plan>> {
        let messages = self.schedule().requests();
        let clients = u32::try_from(messages / 10).unwrap_or(CLIENTS_MAX).clamp(CLIENTS_MIN, CLIENTS_MAX);
        let usual = Settings::usual(base_time);
        let settings = Settings { seed: SEED, messages, clients, mix: MIX.parse()?, ..usual };
        Ok(Arc::new(Plan::new(settings)?))
    }

    /// How it is sent: to a handler that has just been started.
    ///
    /// # Errors
    /// The handler cannot be started.
    pub fn options(&self) -> anyhow::Result<Options> {
        let address = noop::start().context("the handler that does nothing cannot be started")?;
        Ok(Options {
            target: Target::parse(&format!("http://{address}"))?,
            connections: usize::from(self.connections),
            schedule: Some(self.schedule()),
            batch: None,
            signer: None,
            provider: None,
            policy: Policy::PATIENT,
            time_limit: self.duration.saturating_mul(2).saturating_add(GRACE),
        })
    }

    /// For the report.
    pub fn described(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("target", "a handler that does nothing".to_owned()),
            ("rate", self.rate.to_string()),
            ("duration", format!("{}s", self.duration.as_secs())),
            ("connections", self.connections.to_string()),
            ("mix", MIX.to_owned()),
            ("seed", SEED.to_string()),
        ])
    }
}
