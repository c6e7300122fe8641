//! What came back. The workers and the watch write into one [`Stats`]; progress line and report read from it.
//!
//! One mutex around plain values: the load tester runs on one thread, so nobody ever waits for it,
//! and no reader sees half of an update. Never holds a phone or a text.

mod settlement;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use self::settlement::{Outcome, Settlement, Unexpected};
use self::settlement::{kind_name, receipt};
use crate::{
    ledger::{Ledger, Place, Receipt},
    plan::{ClientIndex, Kind, Request},
    timeline::{LATENCY_MICROS_MAX, Timeline},
};

/// How many unexpected replies are kept to show.
pub const EXAMPLES_MAX: usize = 5;

/// What was counted, by the names of the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests of the plan that were sent at least once, each counted once however often it was repeated.
    pub sent: u64,
    /// Of these: new messages.
    pub valid: u64,
    /// Of these: repeats of earlier ones.
    pub duplicates: u64,
    /// Of these: such that must be refused.
    pub invalid: u64,
    /// Attempts beyond each request's first.
    pub retries: u64,
    /// Requests that ended in another reply than planned, or in none.
    pub unexpected: u64,
    /// Distinct valid messages that got a 202: as many new rows must exist.
    pub expected_messages: u64,
    /// Distinct clients among them.
    pub expected_clients: u64,
}

#[derive(Debug, Clone)]
pub struct Tally {
    pub figures: Figures,
    /// Every reply by its status, those included that asked to send again.
    pub replies: BTreeMap<u16, u64>,
    pub examples: Vec<Unexpected>,
    /// Microseconds from when a request was due until its last reply.
    pub latency: Histogram<u64>,
    /// Microseconds from when a message was due until its row was seen, of a sample.
    pub stored: Histogram<u64>,
    /// Samples that could not be looked for, because too many were waited for: the slowest are among them.
    pub probes_skipped: u64,
    /// Samples whose rows were not seen before the run ended.
    pub probes_unseen: u64,
    /// What was acknowledged and not yet applied, at worst; `None` if nobody looked.
    pub lag_most: Option<Lag>,
    pub timeline: Timeline,
}

/// What was acknowledged and is not yet applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Lag {
    pub records: u64,
    /// How long ago the oldest of them was acknowledged.
    pub age: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    pub figures: Figures,
    /// Replies so far: 202, 4xx, all others.
    pub replies: [u64; 3],
    /// Half of the requests since the last glance took at most this long.
    pub p50: Duration,
    /// 99 of 100 did.
    pub p99: Duration,
    /// What is acknowledged and not yet applied; `None` if nobody looks.
    pub lag: Option<u64>,
}

/// A handle to the counts; clones write to the same ones.
#[derive(Clone)]
pub struct Stats(Arc<Mutex<Counts>>);

struct Counts {
    tally: Tally,
    recent: Histogram<u64>,
    receipts: Receipts,
    /// Kept only for those who compare with the tables afterwards.
    ledger: Option<Ledger>,
    /// One more than the last acknowledged offset, by partition.
    acknowledged: BTreeMap<i32, i64>,
    lag: Option<Lag>,
}

/// Which messages were kept, so far as it cannot be counted right away.
#[derive(Default)]
struct Receipts {
    /// Originals without a 202: a later duplicate may still deliver them.
    missing: HashSet<u64>,
    clients: HashSet<ClientIndex>,
}

impl Stats {
    /// All zero; without receipts.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Self::keeping(None)
    }

    /// All zero; every request leaves a receipt in `ledger`, if there is one.
    pub fn keeping(ledger: Option<Ledger>) -> Result<Self, hdrhistogram::CreationError> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)?;
        let recent = latency.clone();
        let tally = Tally {
            figures: Figures::default(),
            replies: BTreeMap::new(),
            examples: Vec::new(),
            stored: latency.clone(),
            latency,
            probes_skipped: 0,
            probes_unseen: 0,
            lag_most: None,
            timeline: Timeline::new()?,
        };
        let (receipts, acknowledged) = (Receipts::default(), BTreeMap::new());
        Ok(Self(Arc::new(Mutex::new(Counts { tally, recent, receipts, ledger, acknowledged, lag: None }))))
    }

    /// A request goes out for the first time.
    pub fn sent(&self, request: &Request) {
        let mut counts = self.counts();
        if let Some(ledger) = &mut counts.ledger {
            ledger.set(request.index, Receipt::Open);
        }
        let figures = &mut counts.tally.figures;
        figures.sent += 1;
        match request.kind {
            Kind::Valid => figures.valid += 1,
            Kind::Duplicate { .. } => figures.duplicates += 1,
            Kind::Invalid(_) => figures.invalid += 1,
        }
    }

    /// A reply came, whatever it says.
    pub fn replied(&self, status: u16) {
        *self.counts().tally.replies.entry(status).or_default() += 1;
    }

    /// A request goes out once more, at this time of the run.
    pub fn retried(&self, elapsed: Duration) {
        let tally = &mut self.counts().tally;
        tally.figures.retries += 1;
        tally.timeline.at(elapsed, |slot| slot.retries += 1);
    }

    /// A request has come to its end, at this time of the run.
    pub fn settled(&self, request: &Request, settlement: Settlement<'_>, elapsed: Duration) {
        let mut counts = self.counts();
        let Counts { tally, recent, receipts, ledger, acknowledged, .. } = &mut *counts;
        let Settlement { request_id, outcome, latency, attempt, place } = settlement;
        let expected = request.expected_status();
        let as_expected = matches!(outcome, Outcome::Reply { status, .. } if status == expected);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let answered = matches!(outcome, Outcome::Reply { .. });
        if answered {
            tally.latency.saturating_record(micros);
            recent.saturating_record(micros);
        }
        tally.timeline.at(elapsed, |slot| {
            slot.settled += 1;
            slot.unexpected += u64::from(!as_expected);
            if answered {
                slot.ack.saturating_record(micros);
            }
        });
        if let Some(Place { partition, offset }) = place {
            let next = acknowledged.entry(partition).or_default();
            *next = (*next).max(offset + 1);
        }
        if let Some(ledger) = ledger {
            ledger.set(request.index, receipt(&outcome, attempt, place));
        }
        tally.figures.expected_messages += u64::from(receipts.take(request, as_expected));
        tally.figures.expected_clients = receipts.clients.len() as u64;
        if !as_expected {
            tally.figures.unexpected += 1;
            if tally.examples.len() < EXAMPLES_MAX {
                let (index, request_id) = (request.index, request_id.to_owned());
                let kind = kind_name(&request.kind);
                tally.examples.push(Unexpected { index, request_id, kind, expected, outcome });
            }
        }
    }

    /// The row of a sample was seen this long after its message was due.
    pub fn stored(&self, latency: Duration, elapsed: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let tally = &mut self.counts().tally;
        tally.stored.saturating_record(micros);
        tally.timeline.at(elapsed, |slot| slot.stored.saturating_record(micros));
    }

    /// A sample could not be looked for.
    pub fn probe_skipped(&self) {
        self.counts().tally.probes_skipped += 1;
    }

    /// The rows of so many samples were never seen.
    pub fn probes_unseen(&self, count: u64) {
        self.counts().tally.probes_unseen += count;
    }

    /// How far the tables are behind.
    pub fn lagging(&self, lag: Lag, elapsed: Duration) {
        let mut counts = self.counts();
        counts.lag = Some(lag);
        let tally = &mut counts.tally;
        let most = tally.lag_most.get_or_insert_default();
        *most = Lag { records: most.records.max(lag.records), age: most.age.max(lag.age) };
        tally.timeline.at(elapsed, |slot| slot.lag_records = slot.lag_records.max(Some(lag.records)));
    }

    /// One more than the last acknowledged offset, by partition.
    pub fn acknowledged(&self) -> BTreeMap<i32, i64> {
        self.counts().acknowledged.clone()
    }

    /// The receipts, if they were kept; they are gone then.
    pub fn take_ledger(&self) -> Option<Ledger> {
        self.counts().ledger.take()
    }

    pub fn tally(&self) -> Tally {
        self.counts().tally.clone()
    }

    /// The short form, with the latencies since the last call.
    pub fn glance(&self) -> Glance {
        let mut counts = self.counts();
        let Counts { tally, recent, lag, .. } = &mut *counts;
        let mut glance = Glance {
            figures: tally.figures,
            p50: quantile(recent, 0.5),
            p99: quantile(recent, 0.99),
            lag: lag.map(|lag| lag.records),
            ..Glance::default()
        };
        recent.reset();
        let [kept, refused, others] = &mut glance.replies;
        for (status, count) in &tally.replies {
            match status {
                202 => *kept += count,
                400..=499 => *refused += count,
                _ => *others += count,
            }
        }
        glance
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts stay meaningful when a worker panicked in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receipts {
    /// Whether this reply is the first to confirm a message.
    ///
    /// A duplicate is always settled after its original: both go over the same connection.
    fn take(&mut self, request: &Request, as_expected: bool) -> bool {
        let confirmed = match request.kind {
            Kind::Invalid(_) => false,
            Kind::Valid if as_expected => true,
            Kind::Valid => {
                self.missing.insert(request.index);
                false
            }
            Kind::Duplicate { of } => as_expected && self.missing.remove(&of),
        };
        if confirmed {
            self.clients.insert(request.client);
        }
        confirmed
    }
}

/// The latency that this share of the requests did not exceed.
pub fn quantile(latency: &Histogram<u64>, share: f64) -> Duration {
    Duration::from_micros(latency.value_at_quantile(share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FLAWS;

    fn request(index: u64, client: u32, kind: Kind) -> Request {
        Request { index, client: ClientIndex(client), kind }
    }

    fn settlement(status: u16, latency: Duration) -> Settlement<'static> {
        let outcome = Outcome::Reply { status, code: None };
        Settlement { request_id: "r", outcome, latency, attempt: 0, place: None }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_message_counts_as_kept_once_whichever_of_its_requests_got_the_202() {
        let stats = Stats::new().unwrap();
        let settle = |request: Request, status| {
            stats.sent(&request);
            stats.replied(status);
            stats.settled(&request, settlement(status, Duration::from_millis(3)), NOW);
        };
        settle(request(0, 7, Kind::Valid), 202);
        settle(request(1, 7, Kind::Duplicate { of: 0 }), 202);
        settle(request(2, 8, Kind::Valid), 500);
        settle(request(3, 8, Kind::Duplicate { of: 2 }), 202);
        settle(request(4, 8, Kind::Duplicate { of: 2 }), 202);
        settle(request(5, 9, Kind::Invalid(&FLAWS[0])), 400);
        let tally = stats.tally();
        let figures = tally.figures;
        assert_eq!((figures.expected_messages, figures.expected_clients), (2, 2));
        assert_eq!((figures.sent, figures.valid, figures.duplicates, figures.invalid), (6, 2, 3, 1));
        assert_eq!(tally.replies, BTreeMap::from([(202, 4), (400, 1), (500, 1)]));
        assert_eq!((figures.unexpected, tally.examples.len()), (1, 1));
        assert_eq!(tally.examples[0].to_string(), "a valid message: expected 202, got 500 (x-request-id r)");
    }

    #[test]
    fn a_glance_shows_the_latencies_since_the_last_one() {
        let stats = Stats::new().unwrap();
        let valid = request(0, 1, Kind::Valid);
        stats.settled(&valid, settlement(202, Duration::from_millis(100)), NOW);
        assert!(stats.glance().p50 >= Duration::from_millis(99));
        stats.settled(&valid, settlement(202, Duration::from_millis(1)), NOW);
        assert!(stats.glance().p99 <= Duration::from_millis(2));
        assert!(quantile(&stats.tally().latency, 1.0) >= Duration::from_millis(99));
    }

    #[test]
    fn only_the_first_few_unexpected_replies_are_kept() {
        let stats = Stats::new().unwrap();
        for index in 0..100 {
            stats.settled(&request(index, 1, Kind::Valid), settlement(404, Duration::ZERO), NOW);
        }
        assert_eq!((stats.tally().figures.unexpected, stats.tally().examples.len()), (100, EXAMPLES_MAX));
    }
    #[test]
    fn what_is_noted_follows_from_the_reply_and_from_the_attempts_before() {
        let stats = Stats::keeping(Some(Ledger::default())).unwrap();
        let place = Some(Place { partition: 2, offset: 9 });
        let cases = [
            (Kind::Valid, 202, 0, Receipt::Kept { at_once: true, place }),
            (Kind::Valid, 202, 3, Receipt::Kept { at_once: false, place }),
            (Kind::Valid, 422, 0, Receipt::Refused),
            // The attempt before may have been kept.
            (Kind::Valid, 422, 1, Receipt::Open),
            (Kind::Valid, 500, 0, Receipt::Open),
        ];
        for (index, (kind, status, attempt, _)) in (0..).zip(cases) {
            let request = request(index, 1, kind);
            stats.sent(&request);
            let place = place.filter(|_| status == 202);
            stats.settled(&request, Settlement { attempt, place, ..settlement(status, NOW) }, NOW);
        }
        stats.sent(&request(9, 1, Kind::Valid));
        assert_eq!(stats.acknowledged(), BTreeMap::from([(2, 10)]));
        let ledger = stats.take_ledger().unwrap();
        for (index, (.., receipt)) in (0..).zip(cases) {
            assert_eq!(ledger.get(index), receipt);
        }
        assert_eq!((ledger.get(9), ledger.get(10)), (Receipt::Open, Receipt::NotSent));
    }
}
