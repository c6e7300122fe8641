//! When what was sent is in the tables, as a reader of the database sees it.
//!
//! *Stored latency* is taken from a sample: every n-th request's message is looked for by its key, again and
//! again until a committed row is seen; all that are waited for in one statement. What counts is the time from
//! when the request was due to when the answer with the row has come back: so it is too long by up to the time
//! between two looks ([`look_every`]) and one round trip, and never too short. No clock but the sender's own is
//! read, and nothing of what the product says about itself is believed.
//!
//! What looking costs PostgreSQL is part of what a run measures, so it has a bound: the more samples are waited
//! for, the longer they wait, and the seldomer one look for all of them is enough.
//!
//! *Lag* is what was acknowledged and is not yet applied: the offsets that the 202s named, less the
//! `partition_progress` of the same partitions; and the age of the oldest acknowledgement among it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use schemas::ClientId;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    database::{Database, Lookout, Probe},
    stats::{Lag, Stats},
};

/// Time between two looks for the samples, at this rate; `None`: as fast as it goes. Where the load is high, each
/// look is one that it waits for, and latencies are no longer so short that 10 ms matter.
pub fn look_every(per_second: Option<f64>) -> Duration {
    const OFTEN_UP_TO: f64 = 5_000.0;
    Duration::from_millis(if per_second.is_some_and(|rate| rate <= OFTEN_UP_TO) { 4 } else { 10 })
}

/// Samples that a look is for. For more of them, looks are as much seldomer: with 200 samples a second, these
/// have waited for half a second, and a look more or less is 2 % of that.
const PER_LOOK: usize = 100;

/// Samples a second, about: enough for a p99 of every few seconds, and little work for the database.
const PROBES_PER_SECOND: f64 = 200.0;

/// Samples that are looked for at once, in one statement; as many more wait in the queue.
const PENDING_MAX: usize = 2_000;

/// Time between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Acknowledgements are remembered this many looks at the progress: minutes.
const HISTORY_MAX: usize = 6_000;

/// How long the last samples are waited for once everything is sent.
const GRACE: Duration = Duration::from_secs(30);

/// How long a database that cannot be read is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Probes {
    every: u64,
    probes_tx: mpsc::Sender<Probe>,
    stats: Stats,
}

/// Looks until everybody who sends samples is gone and all of them were seen.
pub struct Watch {
    probes_rx: mpsc::Receiver<Probe>,
    lookout: Option<Lookout>,
    database: Database,
    stats: Stats,
    start: Instant,
    look_every: Duration,
}

/// A handle for the workers, and the one who looks. `per_second` is the rate of the plan, if it has one.
pub fn watch(database: Database, stats: Stats, per_second: Option<f64>) -> (Probes, Watch) {
    let (probes_tx, probes_rx) = mpsc::channel(PENDING_MAX);
    let probes = Probes { every: every(per_second), probes_tx, stats: stats.clone() };
    let (start, look_every) = (Instant::now(), look_every(per_second));
    (probes, Watch { probes_rx, lookout: None, database, stats, start, look_every })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is neither negative nor large"
)]
fn every(per_second: Option<f64>) -> u64 {
    /// Of a plan that goes as fast as it can.
    const UNPACED: f64 = 10_000.0;
    ((per_second.unwrap_or(UNPACED) / PROBES_PER_SECOND) as u64).max(1)
}

impl Probes {
    /// Takes request number `index` as a sample, if it is its turn and its message has a key.
    pub fn offer(&self, index: u64, due: Instant, key: impl FnOnce() -> Option<(ClientId, String)>) {
        if !index.is_multiple_of(self.every) {
            return;
        }
        let Some((client_id, external_message_id)) = key() else { return };
        if self.probes_tx.try_send(Probe { client_id, external_message_id, due }).is_err() {
            self.stats.probe_skipped();
        }
    }
}

impl Watch {
    /// Looks; ends when all senders of samples are gone and nothing is waited for any more.
    pub async fn run(mut self) {
        let mut pending: Vec<Probe> = Vec::new();
        let mut history = History::default();
        let (mut look_at, mut progress_at, mut sent) = (self.start, self.start, None);
        loop {
            sleep_until(look_at).await;
            let now = Instant::now();
            let over = self.gather(&mut pending);
            let end = over.then(|| *sent.get_or_insert_with(|| now + GRACE));
            if end.is_some_and(|end| now >= end) {
                break;
            }
            look_at = now + pause(self.look_every, pending.len());
            let mut is_idle = false;
            if now >= progress_at {
                progress_at = now + PROGRESS_EVERY;
                is_idle = self.progress().await.is_some_and(|progress| self.lag(&mut history, &progress));
            }
            if self.seen(&mut pending).await.is_err() {
                self.lookout = None;
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            if end.is_some() && pending.is_empty() && is_idle {
                break;
            }
        }
        self.stats.probes_unseen(pending.len() as u64);
    }

    /// Takes what waits in the queue; whether no more will come.
    fn gather(&mut self, pending: &mut Vec<Probe>) -> bool {
        while pending.len() < PENDING_MAX {
            match self.probes_rx.try_recv() {
                Ok(probe) => pending.push(probe),
                Err(mpsc::error::TryRecvError::Empty) => return false,
                Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
        false
    }

    async fn progress(&mut self) -> Option<BTreeMap<i32, i64>> {
        let lookout = self.lookout().await.ok()?;
        lookout.next_offsets().await.ok()
    }

    /// Whether nothing lags behind.
    fn lag(&self, history: &mut History, next_offsets: &BTreeMap<i32, i64>) -> bool {
        let now = Instant::now();
        let lag = history.lag(now, self.stats.acknowledged(), next_offsets);
        self.stats.lagging(lag, now.duration_since(self.start));
        lag.records == 0
    }

    async fn seen(&mut self, pending: &mut Vec<Probe>) -> anyhow::Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        let mut seen = self.lookout().await?.visible(pending).await?;
        let now = Instant::now();
        seen.sort_unstable();
        for place in seen.into_iter().rev().filter(|place| *place < pending.len()).collect::<Vec<_>>() {
            let probe = pending.swap_remove(place);
            self.stats.stored(now.duration_since(probe.due), now.duration_since(self.start));
        }
        Ok(())
    }

    async fn lookout(&mut self) -> anyhow::Result<&mut Lookout> {
        match &mut self.lookout {
            Some(_) => {}
            none => *none = Some(self.database.lookout().await?),
        }
        self.lookout.as_mut().ok_or_else(|| anyhow::Error::msg("there is no connection"))
    }
}

/// Until the next look, if so many samples are waited for.
fn pause(every: Duration, pending: usize) -> Duration {
    every * u32::try_from(pending.div_ceil(PER_LOOK).max(1)).unwrap_or(u32::MAX)
}

/// What was acknowledged when, as far as it is not applied.
#[derive(Debug, Default)]
struct History(VecDeque<(Instant, BTreeMap<i32, i64>)>);

impl History {
    /// Adds what is acknowledged by now, forgets what is applied, and says what is left.
    fn lag(
        &mut self,
        now: Instant,
        acknowledged: BTreeMap<i32, i64>,
        next_offsets: &BTreeMap<i32, i64>,
    ) -> Lag {
        let missing = |acknowledged: &BTreeMap<i32, i64>| -> i64 {
            let behind = acknowledged.iter().map(|(partition, &acknowledged)| {
                // A partition without a row has not been taken up yet.
                (acknowledged - next_offsets.get(partition).copied().unwrap_or(0)).max(0)
            });
            behind.sum()
        };
        let records = u64::try_from(missing(&acknowledged)).unwrap_or(0);
        if self.0.len() < HISTORY_MAX {
            self.0.push_back((now, acknowledged));
        }
        while self.0.front().is_some_and(|(_, acknowledged)| missing(acknowledged) == 0) {
            self.0.pop_front();
        }
        let age = self.0.front().map_or(Duration::ZERO, |(at, _)| now.duration_since(*at));
        Lag { records, age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_as_old_as_the_oldest_acknowledgement_that_is_not_applied() {
        let (start, mut history) = (Instant::now(), History::default());
        let second = |second| start + Duration::from_secs(second);
        let lag = |records, seconds| Lag { records, age: Duration::from_secs(seconds) };
        let offsets = |of: &[(i32, i64)]| of.iter().copied().collect::<BTreeMap<_, _>>();
        let mut at = |now, acknowledged: &[_], next: &[_]| {
            history.lag(second(now), offsets(acknowledged), &offsets(next))
        };
        assert_eq!(at(0, &[(0, 5)], &[(0, 5)]), lag(0, 0));
        assert_eq!(at(1, &[(0, 8), (1, 2)], &[(0, 5)]), lag(5, 0));
        assert_eq!(at(2, &[(0, 9), (1, 2)], &[(0, 8)]), lag(3, 1));
        assert_eq!(at(3, &[(0, 9), (1, 2)], &[(0, 8), (1, 2)]), lag(1, 1));
        assert_eq!(at(4, &[(0, 9), (1, 2)], &[(0, 90), (1, 20)]), lag(0, 0));
    }

    #[test]
    fn about_200_samples_a_second_are_taken() {
        assert_eq!([every(Some(1.0)), every(Some(10_000.0)), every(None)], [1, 50, 50]);
    }

    #[test]
    fn looks_are_seldomer_at_high_rates_and_for_many_samples() {
        let millis = |rate, pending| pause(look_every(rate), pending).as_millis();
        assert_eq!([millis(Some(1_000.0), 0), millis(Some(5_000.0), 100)], [4, 4]);
        assert_eq!([millis(Some(5_001.0), 7), millis(None, 100)], [10, 10]);
        assert_eq!([millis(Some(10_000.0), 101), millis(Some(10_000.0), PENDING_MAX)], [20, 200]);
    }
}
