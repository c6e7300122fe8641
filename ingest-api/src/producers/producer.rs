//! One producer: its credentials, what it may write, how much, and how much it has.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use schemas::ExternalClientId;
use service_kit::prometheus::IntCounter;
use subtle::Choice;

use super::entry::{ApiKey, Entry, Scope};
use crate::{
    error::ApiError,
    metrics::Metrics,
    rate::{Buckets, Cost},
    signature::{Signed, SigningKey},
};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Refused,
    /// Its `external_client_id` is not the producer's.
    NotAllowed,
    RateLimited,
    /// Whether it is kept is not known.
    Unavailable,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Accepted, Self::Refused, Self::NotAllowed, Self::RateLimited, Self::Unavailable];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NotAllowed => "source_not_allowed",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }

    /// Of one message.
    pub const fn of<T>(kept: &Result<T, ApiError>) -> Self {
        match kept {
            Ok(_) => Self::Accepted,
            Err(ApiError::SourceNotAllowed) => Self::NotAllowed,
            Err(ApiError::RateLimited { .. }) => Self::RateLimited,
            Err(ApiError::Unavailable(_)) => Self::Unavailable,
            Err(_) => Self::Refused,
        }
    }
}

#[derive(Debug)]
pub struct Producer {
    pub name: String,
    secrets: Vec<SigningKey>,
    api_keys: Vec<ApiKey>,
    /// How old the timestamp of a request that it signed may be.
    pub tolerance: Duration,
    scope: Scope,
    /// Held for some nanoseconds; goes on when the file is reloaded.
    buckets: Arc<Mutex<Buckets>>,
    messages: [IntCounter; 5],
    bytes: IntCounter,
}

impl Producer {
    /// As the file describes it. What `previous` has used up stays used up if the rates are the same.
    pub fn new(entry: Entry, previous: Option<&Self>, metrics: &Metrics, now: Instant) -> Self {
        let (messages, bytes) = (entry.messages, entry.bytes);
        let unchanged = previous
            .filter(|previous| !previous.lock().differ_from(messages, bytes))
            .map(|previous| Arc::clone(&previous.buckets));
        let counter = |outcome: Outcome| [entry.name.as_str(), outcome.as_str()];
        Self {
            buckets: unchanged.unwrap_or_else(|| Arc::new(Mutex::new(Buckets::new(messages, bytes, now)))),
            messages: Outcome::ALL
                .map(|outcome| metrics.ingest_producer_messages_total.with_label_values(&counter(outcome))),
            bytes: metrics.ingest_producer_bytes_total.with_label_values(&[&entry.name]),
            name: entry.name,
            secrets: entry.secrets,
            api_keys: entry.api_keys,
            tolerance: entry.tolerance,
            scope: entry.scope,
        }
    }

    /// How many secrets it has.
    pub const fn secrets(&self) -> usize {
        self.secrets.len()
    }

    /// Whether it signed the request.
    pub fn signed(&self, signed: &Signed<'_>, body: &[u8]) -> bool {
        self.secrets.iter().any(|key| signed.is_by(key, body))
    }

    /// Whether the key is its own.
    pub fn has(&self, key: &ApiKey) -> bool {
        self.api_keys.iter().fold(Choice::from(0), |any, own| any | own.is(key)).into()
    }

    /// Takes its series out of the metrics: the file does not name it any more.
    pub fn forget(&self, metrics: &Metrics) {
        for outcome in Outcome::ALL {
            let labels = [self.name.as_str(), outcome.as_str()];
            let _absent = metrics.ingest_producer_messages_total.remove_label_values(&labels).is_err();
        }
        let _absent = metrics.ingest_producer_bytes_total.remove_label_values(&[&self.name]).is_err();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On whose behalf a request is.
#[derive(Debug, Clone)]
pub enum Principal {
    /// Nobody's: the insecure development mode.
    Anybody,
    Producer(Arc<Producer>),
}

impl Principal {
    /// Takes what a request costs out of the producer's buckets.
    pub fn take(&self, cost: Cost, now: Instant) -> Result<(), ApiError> {
        let Self::Producer(producer) = self else {
            return Ok(());
        };
        let taken = producer.lock().take(cost, now);
        taken.map_err(|wait| {
            let messages = cost.messages.max(1);
            self.count(Outcome::RateLimited, messages.into());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            ApiError::RateLimited { retry_after_seconds: seconds }
        })
    }

    /// Whether messages of this source may be written.
    pub fn may_write(&self, id: &ExternalClientId) -> Result<(), ApiError> {
        match self {
            Self::Producer(producer) if !producer.scope.holds(id.as_str()) => Err(ApiError::SourceNotAllowed),
            Self::Producer(_) | Self::Anybody => Ok(()),
        }
    }

    /// Whether something may be written of which the source is not known.
    ///
    /// # Errors
    /// [`ApiError::SourceNotAllowed`] for a producer that is bound to some.
    pub fn may_write_all(&self) -> Result<(), ApiError> {
        match self {
            Self::Producer(producer) if producer.scope != Scope::All => Err(ApiError::SourceNotAllowed),
            Self::Producer(_) | Self::Anybody => Ok(()),
        }
    }

    /// Counts messages by what became of them.
    pub fn count(&self, outcome: Outcome, messages: u64) {
        if let Self::Producer(producer) = self {
            let counters = Outcome::ALL.iter().zip(&producer.messages);
            for (_, counter) in counters.filter(|(each, _)| **each == outcome) {
                counter.inc_by(messages);
            }
        }
    }

    /// Counts the bytes of a body.
    pub fn count_bytes(&self, bytes: u64) {
        if let Self::Producer(producer) = self {
            producer.bytes.inc_by(bytes);
        }
    }

    /// The producer's name, for the log.
    pub fn name(&self) -> &str {
        match self {
            Self::Anybody => "anybody",
            Self::Producer(producer) => &producer.name,
        }
    }
}
