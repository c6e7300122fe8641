//! The producers file, in TOML (docs/producers.md tells its readers of each key):
//!
//! ```toml
//! [[producers]]
//! name = "crm"                                  # in metrics and logs; not a secret
//! secrets = [                                   # all listed are valid together: that is a rotation
//!     { secret_file = "crm.secret" },           # a path, relative to this file
//!     { secret_env = "CRM_SECRET_OLD" },        # or the environment, or `{ secret = "whsec_…" }` here
//! ]
//! timestamp_tolerance_seconds = 300             # how old a signed request may be; 300 if left out, a week at most
//! api_keys = [{ sha256 = "9f86d081…" }]         # of the key; the key itself is with the producer only
//! external_client_ids = ["client-17"]           # exactly these,
//! external_client_id_prefixes = ["crm-", "wa-"] # and those that begin so: the hook's sources, too,
//! all_external_client_ids = false               # or all
//! messages = { per_second = 500, burst = 1000 } # no limit if left out; burst = one second if left out
//! bytes = { per_second = 1000000 }
//!
//! [[producers.hooks]]                           # a provider's webhook: POST /v1/hooks/whatsapp
//! name = "whatsapp"
//! preset = "whatsapp-cloud"                     # or `file = "my-provider.toml"`, relative to this file
//! secrets = [{ secret_file = "meta.secret" }]   # with which the provider signs; all listed are valid together
//! verify_tokens = [{ secret_env = "META_TOKEN" }] # with which it looks whether the URL is ours, if it does
//! change = { identity = "provider_id_first" }   # values of the description that are other ones here
//! identity_change = { hook = "whatsapp", to = "provider_id_first" } # this change is wanted: clients become others
//! ```
//!
//! `timestamp_tolerance_seconds` is widened for a sender that signs once and repeats the same bytes: after an hour
//! of outage its retry is an hour old, and 401 would be final. A message counts once forever, so an old one does no
//! harm; a close command that somebody has seen can be repeated for as long.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use serde::Deserialize;
use service_kit::Problems;

use self::{
    hooks::RawHook,
    reader::{RawSecret, Reader, is_name},
};
use super::entry::{ApiKey, Entry, Scope};
use crate::{
    files::Files,
    rate::Rate,
    signature::{SigningKey, TOLERANCE},
};

mod hooks;
mod reader;

/// Each has series of its own in the metrics.
pub const PRODUCERS_MAX: usize = 256;
/// Of one producer, of each kind; a rotation needs two.
const CREDENTIALS_MAX: usize = 4;
/// Senders give up within days.
const TOLERANCE_SECONDS: RangeInclusive<u64> = 1..=7 * 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    producers: Vec<RawProducer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProducer {
    name: String,
    #[serde(default)]
    secrets: Vec<RawSecret>,
    #[serde(default)]
    api_keys: Vec<RawApiKey>,
    timestamp_tolerance_seconds: Option<u64>,
    #[serde(default)]
    external_client_ids: Vec<String>,
    #[serde(default)]
    external_client_id_prefixes: Vec<String>,
    #[serde(default)]
    all_external_client_ids: bool,
    messages: Option<RawRate>,
    bytes: Option<RawRate>,
    #[serde(default)]
    hooks: Vec<RawHook>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApiKey {
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    per_second: u32,
    burst: Option<u32>,
}

/// Reads the file and the files that it names.
///
/// # Errors
/// Everything that is wrong, each with its producer and the rule; no secret.
pub fn read(
    path: &Path,
    files: &mut Files,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Entry>, Problems> {
    let text = files.read(path)?;
    let raw: RawFile = toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
    let mut reader = Reader {
        text: &text,
        directory: path.parent().unwrap_or(path),
        files,
        variable,
        problems: Problems::default(),
    };
    let mut names = std::collections::BTreeSet::new();
    let mut entries = Vec::with_capacity(raw.producers.len().min(PRODUCERS_MAX));
    if !(1..=PRODUCERS_MAX).contains(&raw.producers.len()) {
        reader.problems.push(format!("there must be 1 to {PRODUCERS_MAX} producers"));
    }
    for producer in raw.producers.into_iter().take(PRODUCERS_MAX) {
        if !names.insert(producer.name.clone()) {
            reader.problems.push(format!("producer {:?} appears twice", producer.name));
        }
        entries.push(reader.producer(producer));
    }
    reader.problems.or(entries)
}

/// What is wrong and in which line; the parser's own words would quote the line, which may hold a secret.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("{}, line {}: {}", path.display(), before.matches('\n').count() + 1, safe_message(error))
}

/// The parser's message, unless it holds a value of the file.
fn safe_message(error: &toml::de::Error) -> &str {
    let message = error.message();
    if message.starts_with("invalid type") || message.contains(crate::signature::PREFIX) {
        "a value has another type than its field"
    } else {
        message
    }
}

impl<V: Fn(&str) -> Option<String>> Reader<'_, V> {
    fn producer(&mut self, raw: RawProducer) -> Entry {
        let before = self.problems.0.len();
        self.problems.require(is_name(&raw.name), "name must be 1 to 64 of a-z, 0-9, - and _");
        self.problems.require(
            raw.secrets.len() + raw.api_keys.len() + raw.hooks.len() > 0,
            "there must be a credential: an entry in secrets or in api_keys, or a hook",
        );
        self.problems.require(
            raw.secrets.len() <= CREDENTIALS_MAX && raw.api_keys.len() <= CREDENTIALS_MAX,
            "there may be 4 secrets and 4 API keys at most",
        );
        let secrets = raw.secrets.iter().take(CREDENTIALS_MAX).enumerate();
        let secrets = secrets.filter_map(|(index, secret)| self.secret(index, secret)).collect();
        let api_keys = raw.api_keys.iter().take(CREDENTIALS_MAX).enumerate();
        let api_keys = api_keys.filter_map(|(index, key)| self.api_key(index, key)).collect();
        let tolerance = self.tolerance(raw.timestamp_tolerance_seconds);
        let (messages, bytes) = (self.rate("messages", raw.messages), self.rate("bytes", raw.bytes));
        let scope =
            self.scope(raw.all_external_client_ids, raw.external_client_ids, raw.external_client_id_prefixes);
        let hooks = raw.hooks.into_iter().filter_map(|hook| self.hook(hook)).collect();
        for problem in self.problems.0.iter_mut().skip(before) {
            *problem = format!("producer {:?}: {problem}", raw.name);
        }
        Entry { name: raw.name, secrets, api_keys, tolerance, scope, messages, bytes, hooks }
    }

    fn secret(&mut self, index: usize, raw: &RawSecret) -> Option<SigningKey> {
        let key = self
            .secret_text(raw)
            .and_then(|secret| SigningKey::parse(secret.expose().trim()).map_err(|error| error.to_string()));
        self.keep(&format!("secrets[{index}]"), key)
    }

    fn api_key(&mut self, index: usize, raw: &RawApiKey) -> Option<ApiKey> {
        let key = ApiKey::parse(&raw.sha256);
        self.keep(
            &format!("api_keys[{index}]"),
            key.ok_or_else(|| "sha256 must be 64 hexadecimal digits".to_owned()),
        )
    }

    fn tolerance(&mut self, seconds: Option<u64>) -> Duration {
        let tolerance = seconds.map_or(TOLERANCE, Duration::from_secs);
        self.problems.require(
            TOLERANCE_SECONDS.contains(&tolerance.as_secs()),
            "timestamp_tolerance_seconds must be from 1 to 604800",
        );
        tolerance
    }

    fn rate(&mut self, field: &str, raw: Option<RawRate>) -> Option<Rate> {
        let raw = raw?;
        let rate = Rate { per_second: raw.per_second, burst: raw.burst.unwrap_or(raw.per_second) };
        self.problems.require(
            rate.per_second > 0 && rate.burst > 0,
            &format!("{field}: per_second and burst must be 1 at least"),
        );
        Some(rate)
    }

    fn scope(&mut self, all: bool, exact: Vec<String>, prefixes: Vec<String>) -> Scope {
        let named = exact.len() + prefixes.len();
        self.problems.require(
            all != (named > 0),
            "set either external_client_ids or external_client_id_prefixes, or all_external_client_ids = true",
        );
        for id in &exact {
            if schemas::ExternalClientId::parse(id.as_str()).is_err() {
                self.problems.push(format!("external_client_ids: {id:?} is not an external_client_id"));
            }
        }
        self.problems.require(
            prefixes.iter().all(|prefix| !prefix.is_empty()),
            "external_client_id_prefixes: an empty prefix means all_external_client_ids = true",
        );
        if all { Scope::All } else { Scope::Named { exact: exact.into_iter().collect(), prefixes } }
    }
}

#[cfg(test)]
mod tests;
