//! All producers, and which of them sent a request. What its head says ([`Producers::claim`]) is looked at before a
//! byte of the body is read: an API key proves its sender then and there, a signature only once the body is there
//! ([`Claimed::prove`]); whatever else is wrong with either is known at once.
//!
//! A signed request does not say whose key signed it: the specification has no key id. The header
//! `x-telex-producer` names the producer; without it every key is tried, as long as the file holds
//! [`SECRETS_TRIED_MAX`] at most, so that a forged request costs a known number of hashes of its body
//! (`cost_of_a_forged_request` in the tests measures it). The name is no secret and no proof: only a key is.
//!
//! An API key proves less than a signature: it can be replayed, and it lies open on a connection without
//! TLS. It is for senders that cannot sign.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};

use axum::http::{HeaderMap, header};
use service_kit::Problems;

use super::{
    entry::ApiKey,
    file,
    hook::{self, HookClaim, ProducerHook},
    producer::{Principal, Producer},
};
use crate::{
    files::{Files, Load},
    metrics::Metrics,
    signature::Signed,
};

pub const PRODUCER_HEADER: &str = "x-telex-producer";

/// How many keys are tried for a request that does not name its producer.
pub const SECRETS_TRIED_MAX: usize = 16;

/// Why it is not known who sent a request. For the metric: the sender gets one answer for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Neither a signature nor an API key.
    NoCredential,
    /// Headers that cannot be read.
    Malformed,
    /// The timestamp is further off than the producer's setting allows.
    Timestamp,
    UnknownProducer,
    /// There are too many keys to try them all.
    ProducerNotNamed,
    /// No key has made the signature.
    Signature,
    /// Nobody's API key.
    ApiKey,
    /// A provider's webhook whose signature or secret is not the hook's.
    Hook(hooks::signature::Refused),
}

impl Refused {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::Malformed => "malformed",
            Self::Timestamp => "timestamp",
            Self::UnknownProducer => "unknown_producer",
            Self::ProducerNotNamed => "producer_not_named",
            Self::Signature => "signature",
            Self::ApiKey => "api_key",
            Self::Hook(refused) => refused.as_str(),
        }
    }
}

/// The producers of one version of the file.
#[derive(Debug)]
pub struct Producers {
    by_name: BTreeMap<String, Arc<Producer>>,
    hooks: BTreeMap<String, Arc<ProducerHook>>,
    secrets: usize,
}

/// What a request's head says of its sender.
#[derive(Debug)]
pub enum Claim<'a> {
    /// An API key: this is the sender.
    Proven(Principal),
    /// A signature, which the body has to prove.
    Signed(Claimed<'a>),
    /// A provider's webhook, the same.
    Hooked(HookClaim<'a>),
}

impl Claim<'_> {
    /// The producer, as far as the head names one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Proven(principal) => Some(principal.name()),
            Self::Signed(claimed) => claimed.name(),
            Self::Hooked(claimed) => Some(&claimed.hook.producer.name),
        }
    }

    /// Who sent `body`, which is as it was sent.
    pub fn prove(&self, body: &[u8]) -> Result<Principal, Refused> {
        match self {
            Self::Proven(principal) => Ok(principal.clone()),
            Self::Signed(claimed) => claimed.prove(body),
            Self::Hooked(claimed) => claimed.prove(body).map_err(Refused::Hook),
        }
    }
}

/// A signature that one of the producers may have made.
#[derive(Debug)]
pub struct Claimed<'a> {
    producers: Arc<Producers>,
    named: Option<Arc<Producer>>,
    signed: Signed<'a>,
    now: u64,
}

impl Claimed<'_> {
    /// The producer that the request names, if it names one.
    pub fn name(&self) -> Option<&str> {
        self.named.as_ref().map(|producer| producer.name.as_str())
    }

    /// Who signed `body`, which is as it was sent.
    pub fn prove(&self, body: &[u8]) -> Result<Principal, Refused> {
        let (signed, now) = (&self.signed, self.now);
        let signer = self.producers.find(self.named.as_ref(), |producer| {
            signed.is_within(producer.tolerance, now) && producer.signed(signed, body)
        });
        signer.map(|producer| Principal::Producer(Arc::clone(producer))).ok_or(Refused::Signature)
    }
}

impl Producers {
    /// Who sent a request, as far as its head tells; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`Refused`], whatever the body is.
    pub fn claim<'a>(self: &Arc<Self>, headers: &'a HeaderMap, now: u64) -> Result<Claim<'a>, Refused> {
        let named = self.named(headers)?;
        if !Signed::is_claimed(headers) {
            let key = api_key(headers)?;
            let owner = self.find(named, |producer| producer.has(&key)).ok_or(Refused::ApiKey)?;
            return Ok(Claim::Proven(Principal::Producer(Arc::clone(owner))));
        }
        let signed = Signed::read(headers).map_err(|_malformed| Refused::Malformed)?;
        if named.is_none() && self.secrets > SECRETS_TRIED_MAX {
            return Err(Refused::ProducerNotNamed);
        }
        self.find(named, |producer| producer.secrets() > 0).ok_or(Refused::Signature)?;
        self.find(named, |producer| producer.secrets() > 0 && signed.is_within(producer.tolerance, now))
            .ok_or(Refused::Timestamp)?;
        let named = named.map(Arc::clone);
        Ok(Claim::Signed(Claimed { producers: Arc::clone(self), named, signed, now }))
    }

    /// The hook of this name.
    pub fn hook(&self, name: &str) -> Option<&Arc<ProducerHook>> {
        self.hooks.get(name)
    }

    /// Whether there is a hook at all.
    pub fn has_hooks(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// The producer that the request names, if it names one.
    fn named(&self, headers: &HeaderMap) -> Result<Option<&Arc<Producer>>, Refused> {
        let Some(name) = headers.get(PRODUCER_HEADER) else {
            return Ok(None);
        };
        let name = name.to_str().map_err(|_| Refused::Malformed)?;
        self.by_name.get(name).map(Some).ok_or(Refused::UnknownProducer)
    }

    fn find<'a>(
        &'a self,
        named: Option<&'a Arc<Producer>>,
        is_sender: impl Fn(&Producer) -> bool,
    ) -> Option<&'a Arc<Producer>> {
        match named {
            Some(producer) => Some(producer).filter(|producer| is_sender(producer)),
            None => self.by_name.values().find(|producer| is_sender(producer)),
        }
    }
}

/// The API key that a request carries.
fn api_key(headers: &HeaderMap) -> Result<ApiKey, Refused> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refused::NoCredential)?;
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    let (scheme, key) = value.split_once(' ').ok_or(Refused::Malformed)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.len() < ApiKey::BYTES_MIN {
        return Err(Refused::Malformed);
    }
    Ok(ApiKey::of(key))
}

/// Where the producers are written down.
pub struct ProducersFile {
    path: PathBuf,
    /// Whether the URL is known under which providers reach this service.
    has_public_url: bool,
    metrics: Arc<Metrics>,
}

impl ProducersFile {
    /// The file at `path`.
    pub const fn new(path: PathBuf, has_public_url: bool, metrics: Arc<Metrics>) -> Self {
        Self { path, has_public_url, metrics }
    }
}

impl Load for ProducersFile {
    type Value = Producers;

    const WHAT: &'static str = "producers";

    #[expect(clippy::disallowed_methods, reason = "the file names variables that hold secrets")]
    fn load(&self, files: &mut Files, previous: Option<&Producers>) -> Result<Producers, Problems> {
        let entries = file::read(&self.path, files, |name| std::env::var(name).ok())?;
        hook::problems(&entries, self.has_public_url, |name| previous?.hook(name)).or(())?;
        let now = Instant::now();
        let (mut by_name, mut hooks) = (BTreeMap::new(), BTreeMap::new());
        for mut entry in entries {
            let former = previous.and_then(|previous| previous.by_name.get(&entry.name));
            let of_producer = std::mem::take(&mut entry.hooks);
            let producer = Arc::new(Producer::new(entry, former.map(Arc::as_ref), &self.metrics, now));
            hooks.extend(of_producer.into_iter().map(|hook| {
                (hook.name.clone(), Arc::new(ProducerHook::new(hook, Arc::clone(&producer), &self.metrics)))
            }));
            by_name.insert(producer.name.clone(), producer);
        }
        if let Some(previous) = previous {
            let gone = previous.by_name.iter().filter(|(name, _)| !by_name.contains_key(*name));
            gone.for_each(|(_, gone)| gone.forget(&self.metrics));
            let gone = previous.hooks.iter().filter(|(name, _)| !hooks.contains_key(*name));
            gone.for_each(|(_, gone)| gone.forget(&self.metrics));
        }
        let secrets = by_name.values().map(|producer| producer.secrets()).sum();
        if secrets > SECRETS_TRIED_MAX {
            tracing::info!(secrets, "signed requests must name their producer in x-telex-producer");
        }
        Ok(Producers { by_name, hooks, secrets })
    }
}

#[cfg(test)]
mod tests;
