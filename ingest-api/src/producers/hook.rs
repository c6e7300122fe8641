//! A hook of a producer: what its provider sends is read as a description says (crate `hooks`), and goes on
//! the producer's account.

use std::{collections::BTreeMap, sync::Arc};

use hooks::{Hook, Request, reading::NO_MESSAGE, signature::Refused};
use service_kit::{Problems, prometheus::IntCounter};

use super::{
    entry::{Entry, HookEntry},
    producer::{Principal, Producer},
};
use crate::metrics::Metrics;

/// A hook and the producer that it belongs to.
#[derive(Debug)]
pub struct ProducerHook {
    pub name: String,
    /// What its provider sends and wants.
    pub hook: Hook,
    pub producer: Arc<Producer>,
    items: [IntCounter; 4],
    /// By the name of what says that an item is no message.
    skipped: BTreeMap<String, IntCounter>,
    times_unreadable: IntCounter,
}

/// What became of an item of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemResult {
    /// It is a message, and kept.
    Kept,
    /// It can never be a message: it lies in the quarantine.
    Quarantined,
    /// It is no message.
    Skipped,
    /// Whether it is kept is not known.
    Unavailable,
}

impl ItemResult {
    const ALL: [Self; 4] = [Self::Kept, Self::Quarantined, Self::Skipped, Self::Unavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Quarantined => "quarantined",
            Self::Skipped => "skipped",
            Self::Unavailable => "unavailable",
        }
    }
}

impl ProducerHook {
    pub fn new(entry: HookEntry, producer: Arc<Producer>, metrics: &Metrics) -> Self {
        let HookEntry { name, hook, .. } = entry;
        let counter = |result: ItemResult| {
            metrics.ingest_hook_items_total.with_label_values(&[name.as_str(), result.as_str()])
        };
        let names = hook.skip_names().chain([NO_MESSAGE]);
        let skipped = names.map(|skip| {
            let counter = metrics.ingest_hook_skipped_total.with_label_values(&[name.as_str(), skip]);
            (skip.to_owned(), counter)
        });
        Self {
            skipped: skipped.collect(),
            items: ItemResult::ALL.map(counter),
            times_unreadable: metrics.ingest_hook_times_unreadable_total.with_label_values(&[&name]),
            name,
            hook,
            producer,
        }
    }

    pub fn count(&self, result: ItemResult, items: u64) {
        let counters = ItemResult::ALL.iter().zip(&self.items);
        for (_, counter) in counters.filter(|(each, _)| **each == result) {
            counter.inc_by(items);
        }
    }

    /// Counts items that are no messages, by what says so.
    pub fn count_skipped(&self, skipped: &BTreeMap<String, u64>) {
        self.count(ItemResult::Skipped, skipped.values().sum());
        for (name, items) in skipped {
            if let Some(counter) = self.skipped.get(name) {
                counter.inc_by(*items);
            }
        }
    }

    /// Counts a message that is kept without its time.
    pub fn count_unreadable_time(&self) {
        self.times_unreadable.inc();
    }

    /// Takes its series out of the metrics: the file does not name it any more.
    pub fn forget(&self, metrics: &Metrics) {
        for result in ItemResult::ALL {
            let labels = [self.name.as_str(), result.as_str()];
            let _absent = metrics.ingest_hook_items_total.remove_label_values(&labels).is_err();
        }
        for name in self.skipped.keys() {
            let labels = [self.name.as_str(), name.as_str()];
            let _absent = metrics.ingest_hook_skipped_total.remove_label_values(&labels).is_err();
        }
        let _absent = metrics.ingest_hook_times_unreadable_total.remove_label_values(&[&self.name]).is_err();
    }
}

/// A webhook of a provider, which its body has to prove.
#[derive(Debug)]
pub struct HookClaim<'a> {
    pub hook: Arc<ProducerHook>,
    pub request: Request<'a>,
}

impl HookClaim<'_> {
    /// On whose behalf the webhook is, whose body is as it was sent.
    pub fn prove(&self, body: &[u8]) -> Result<Principal, Refused> {
        self.hook.hook.signer().body(&self.request, body)?;
        Ok(Principal::Producer(Arc::clone(&self.hook.producer)))
    }
}

/// What is wrong with hooks beside each other, and with those that were in force before.
pub(super) fn problems<'a>(
    entries: &[Entry],
    has_public_url: bool,
    previous: impl Fn(&str) -> Option<&'a Arc<ProducerHook>>,
) -> Problems {
    let (mut problems, mut names) = (Problems::default(), std::collections::BTreeSet::new());
    for HookEntry { name, line, hook, identity_change } in entries.iter().flat_map(|entry| &entry.hooks) {
        if !names.insert(name) {
            problems.push(format!("line {line}: hook {name:?} appears twice"));
        }
        if hook.signer().signs_url() && !has_public_url {
            problems
                .push(format!("line {line}: hook {name:?}: its provider signs the URL: set --public-url"));
        }
        let (former, to) = (previous(name).map(|previous| previous.hook.identity()), hook.identity());
        let is_wanted =
            identity_change.as_ref().is_some_and(|wanted| wanted.hook == *name && wanted.to == to);
        if former.is_some_and(|former| former != to) && !is_wanted {
            problems.push(format!(
                "line {line}: hook {name:?}: identity has changed, which makes other clients of those who have \
                 several addresses: identity_change = {{ hook = {name:?}, to = {:?} }} says that this is wanted",
                to.as_str()
            ));
        }
    }
    problems
}
