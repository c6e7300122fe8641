//! The options of `loadtest run`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use schemas::Timestamp;
use service_kit::Secret;

use crate::{
    connection::Target,
    plan::{
        ADDRESSES_MAX, CLIENTS_MAX, CLIENTS_MIN, Mix, Plan, PlanError, SOURCES_MIN, Settings, Shard, Spread,
    },
    provider::Provider,
    run::Options,
    schedule::{Rate, Schedule, parse_duration},
    send::Policy,
    sign::Signer,
};

/// The options of `loadtest run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The ingest API; messages go to its /v1/messages.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = Target::parse)]
    url: Target,
    /// Requests to send, of every kind together.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX))]
    messages: u64,
    /// Sends for this long instead, such as `90s`, `5m` or `1h`; needs --rate.
    #[arg(long, conflicts_with = "messages", requires = "rate", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Ends the run after this long, whatever is not settled yet, such as `10m`; exit status 1 [default: twice the planned time and half an hour; without a rate, the time that 10 requests a second take and half an hour].
    #[arg(long, value_parser = parse_duration)]
    time_limit: Option<Duration>,
    /// Seed of the plan: the same seed sends the same kinds, clients and words.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Maximum number of clients who write [default: as many as --messages-per-client gives].
    #[arg(
        long,
        conflicts_with = "messages_per_client",
        value_parser = clap::value_parser!(u32).range(i64::from(CLIENTS_MIN)..=i64::from(CLIENTS_MAX))
    )]
    clients: Option<u32>,
    /// Messages that a client writes: a mean (10; most clients write fewer, some far more), even:MEAN, or LOW..HIGH.
    #[arg(long, default_value = "10")]
    messages_per_client: Spread,
    /// Number of sources (external_client_id) that clients write through; a phone is used under up to three
    /// of them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(i64::from(SOURCES_MIN)..))]
    sources: u32,
    /// This many of a hundred clients have an address (tg:…) and no phone; as many have a phone with an
    /// alias.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=i64::from(ADDRESSES_MAX)))]
    addresses: u32,
    /// Number of connections; each client's messages go over one of them, one after the other.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// Shares of valid, duplicate and invalid requests, relative to their sum.
    #[arg(long, default_value = "valid=90,duplicate=5,invalid=5")]
    mix: Mix,
    /// Requests a second (2500, 10k), or a ramp (1k..10k), by a schedule that slow replies do not slow down [default: as many as the connections carry].
    #[arg(long)]
    pub rate: Option<Rate>,
    /// Sends this many messages in each request, to /v1/messages/batch.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub batch: Option<u16>,
    /// Sends one of n parts of the plan, as i/n with i from 0, so that several processes share it. --rate and --messages are those of the whole plan.
    #[arg(long, default_value_t = Shard::WHOLE)]
    shard: Shard,
    /// Sends each message as WhatsApp's Cloud API does, to the hook of this name, and signs as Meta does with --secret-file; loadtest/README.md says what the hook must say.
    #[arg(long, requires = "secret_file", conflicts_with_all = ["batch", "producer"])]
    pub hook: Option<String>,
    /// Signs each request (Standard Webhooks) with the secret in this file.
    #[arg(long, env = "LOADTEST_SECRET_FILE", value_name = "PATH")]
    secret_file: Option<PathBuf>,
    /// The producer whose secret it is; without it, the API tries all.
    #[arg(long, env = "LOADTEST_PRODUCER", requires = "secret_file")]
    producer: Option<String>,
    /// The tables, as `postgres://user:password@host:port/database`, with a role that may read them. Measures when rows are visible and how far the processors lag, and afterwards verifies that every 202 is a row, once and in order, and that nothing else is there.
    #[arg(long, env = "LOADTEST_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,
    /// File that holds this URL, so that the password is in no environment and no argument. Takes precedence over `--database-url`.
    #[arg(long, env = "LOADTEST_DATABASE_URL_FILE", value_parser = Secret::from_file, value_name = "PATH")]
    pub database_url_file: Option<Secret>,
    /// How long to wait, before verifying, until everything acknowledged is applied, in seconds.
    #[arg(long, default_value_t = 60)]
    pub verify_timeout_seconds: u64,
    /// Writes the report as JSON to this file; `-` makes it the last line of standard output.
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
    /// Writes the report as an HTML page to this file.
    #[arg(long, value_name = "PATH")]
    pub html: Option<PathBuf>,
}

/// More would not fit the receipts into memory: 800 MB.
const MESSAGES_MAX: u64 = 100_000_000;

/// A run without a rate that is slower is taken for one that hangs.
const SETTLED_PER_SECOND_MIN: u64 = 10;
/// A request that nobody answers is given up after 17 minutes, which says more than the end of the time.
pub const GRACE: Duration = Duration::from_secs(30 * 60);

impl RunArgs {
    /// The plan, about this time.
    pub fn plan(&self, base_time: Timestamp) -> Result<Plan, PlanError> {
        let messages = self.messages();
        if messages > MESSAGES_MAX {
            return Err(PlanError::Messages { max: MESSAGES_MAX });
        }
        Plan::new(Settings {
            seed: self.seed,
            messages,
            clients: self.clients.unwrap_or_else(|| self.clients_of(messages)),
            sources: self.sources,
            spread: self.messages_per_client,
            addresses: self.addresses,
            mix: self.mix,
            shard: self.shard,
            base_time,
        })
    }

    fn messages(&self) -> u64 {
        match self.duration {
            Some(_) => self.schedule().map_or(self.messages, |schedule| schedule.requests()),
            None => self.messages,
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped, and not negative")]
    fn clients_of(&self, messages: u64) -> u32 {
        let clients = (messages as f64 / self.messages_per_client.mean()).round();
        (clients as u32).clamp(CLIENTS_MIN, CLIENTS_MAX)
    }

    /// When requests are due.
    pub fn schedule(&self) -> Option<Schedule> {
        let rate = self.rate?;
        Some(match self.duration {
            Some(duration) => Schedule::lasting(rate, duration),
            None => Schedule::of(rate, self.messages),
        })
    }

    /// How the plan is sent.
    pub fn options(&self) -> anyhow::Result<Options> {
        ensure!(
            self.hook.is_none() || !self.mix.has_invalid() && self.addresses == 0,
            "a provider sends valid messages of clients with phones: --hook needs --mix valid=95,duplicate=5 --addresses 0"
        );
        let secret = self.secret_file.as_ref().map(|path| {
            std::fs::read_to_string(path).with_context(|| format!("the secret in {}", path.display()))
        });
        let secret = secret.transpose()?;
        let (signer, provider) = match (&secret, &self.hook) {
            (Some(secret), None) => (Some(Signer::new(secret, self.producer.as_deref())), None),
            (Some(secret), Some(_)) => (None, Some(Provider::new(secret))),
            (None, _) => (None, None),
        };
        let target = self.url.clone();
        Ok(Options {
            target: match &self.hook {
                Some(name) => target.with_hook(name)?,
                None => target,
            },
            connections: usize::from(self.connections),
            schedule: self.schedule(),
            batch: self.batch.map(usize::from),
            signer: signer.transpose()?,
            provider: provider.transpose()?,
            policy: Policy::PATIENT,
            time_limit: self.time_limit(),
        })
    }

    fn time_limit(&self) -> Duration {
        let expected = || match self.schedule() {
            Some(schedule) => schedule.duration().saturating_mul(2),
            None => Duration::from_secs(self.messages / SETTLED_PER_SECOND_MIN),
        };
        self.time_limit.unwrap_or_else(|| expected().saturating_add(GRACE))
    }

    /// For the report: what a reader needs to make the same run. Nothing that is secret.
    pub fn described(&self) -> BTreeMap<&'static str, String> {
        let mut settings = BTreeMap::from([
            ("messages", self.messages().to_string()),
            ("connections", self.connections.to_string()),
            ("mix", self.mix.to_string()),
            ("sources", self.sources.to_string()),
            ("addresses", self.addresses.to_string()),
            ("seed", self.seed.to_string()),
            ("shard", self.shard.to_string()),
            ("signed", self.secret_file.is_some().to_string()),
        ]);
        match self.clients {
            Some(clients) => settings.insert("clients", clients.to_string()),
            None => settings.insert("messages-per-client", self.messages_per_client.to_string()),
        };
        settings.extend(self.rate.map(|rate| ("rate", rate.to_string())));
        settings.extend(self.duration.map(|duration| ("duration", format!("{}s", duration.as_secs()))));
        settings.extend(self.hook.as_ref().map(|hook| ("hook", hook.clone())));
        settings.extend(self.batch.map(|batch| ("batch", batch.to_string())));
        settings
    }
}
