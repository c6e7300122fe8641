//! What a shard holds back from the producer until the next tick of its [`Pace`]: in the order in which it came, and
//! never more than so many. Who puts something in and who hands it over hold one lock, so nothing overtakes.
//!
//! The producer may refuse what was held back when its request has put in more of the same client already. That is
//! refused as well, so that all of it, sent again together, still arrives in order (pitfalls 32).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::pace::Pace;
use crate::error::{ApiError, Unavailable};

/// More of them are handed over at once: a tick must not keep a shard busy for long.
const HELD_MAX: usize = 500;

/// What one shard holds back.
#[derive(Debug)]
pub struct Hold<T> {
    held: Mutex<Held<T>>,
    news: Notify,
}

/// The same, under its lock.
#[derive(Debug)]
pub struct Held<T> {
    pace: Pace,
    items: Vec<T>,
    /// The clients of whom something was refused since the last tick. A request puts in all it has at once, so by the
    /// next tick it has nothing more of them.
    refused: HashMap<String, Unavailable>,
}

impl<T> Hold<T> {
    pub fn new(pace: Pace) -> Self {
        Self { held: Mutex::new(Held::new(pace)), news: Notify::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is held back: it has to be handed over when it is due.
    pub fn announce(&self) {
        self.news.notify_one();
    }

    /// Completes when something is due.
    pub async fn due(&self) {
        loop {
            let due = self.lock().due(Instant::now());
            match due {
                Some(due) => return tokio::time::sleep_until(due.into()).await,
                None => self.news.notified().await,
            }
        }
    }
}

/// What becomes of an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Put<T> {
    /// It is handed over now.
    Now(T),
    /// It is held back, and is the first: see [`Hold::announce`].
    First,
    /// It is held back as others are.
    Behind,
    /// It is held back, and all of them are too many.
    Full,
}

impl<T> Held<T> {
    fn new(pace: Pace) -> Self {
        Self { pace, items: Vec::new(), refused: HashMap::new() }
    }

    /// Why nothing of this client may come behind what was refused of it.
    pub fn refused(&self, client: &str) -> Option<Unavailable> {
        self.refused.get(client).copied()
    }

    /// Holds an item back or not, by which the process has had `entered` of them. Whatever came before goes first.
    pub fn put(&mut self, item: T, entered: u64, now: Instant) -> Put<T> {
        let is_held_back = !self.pace.note(entered, now).is_zero();
        if !is_held_back && self.items.is_empty() {
            return Put::Now(item);
        }
        self.items.push(item);
        match self.items.len() {
            1 => Put::First,
            2..HELD_MAX => Put::Behind,
            _ => Put::Full,
        }
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.items.is_empty() && self.refused.is_empty();
        (!is_idle).then(|| self.pace.next_tick(now))
    }

    /// Hands over what is held back, in its order, but nothing behind what is refused of the same client; `refuse` gets
    /// both.
    pub fn hand_over(
        &mut self,
        client: impl Fn(&T) -> &str,
        mut send: impl FnMut(&T) -> Result<(), ApiError>,
        mut refuse: impl FnMut(T, ApiError),
    ) {
        for item in self.items.drain(..) {
            let sent = match self.refused.get(client(&item)) {
                Some(unavailable) => Err(ApiError::Unavailable(*unavailable)),
                None => send(&item),
            };
            let Err(error) = sent else { continue };
            // What can never be taken has no place in the order.
            if let ApiError::Unavailable(unavailable) = error {
                self.refused.insert(client(&item).to_owned(), unavailable);
            }
            refuse(item, error);
        }
    }

    /// A tick has come.
    pub fn forget_refused(&mut self) {
        self.refused.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn held<T>() -> (Held<T>, Instant) {
        let epoch = Instant::now();
        (Held::new(Pace::new(Duration::from_millis(15), 12, epoch)), epoch)
    }

    /// What is handed over where nothing is refused.
    fn take<T: Copy>(held: &mut Held<T>) -> Vec<T> {
        let mut taken = Vec::new();
        let send = |item: &T| {
            taken.push(*item);
            Ok(())
        };
        held.hand_over(|_| "", send, |_, _| panic!("nothing is refused"));
        taken
    }

    #[test]
    fn few_go_at_once_and_many_wait_for_the_tick_or_until_they_are_too_many() {
        let (mut held, epoch) = held();
        assert_eq!(held.put(1, 1, epoch), Put::Now(1));
        assert_eq!(held.due(epoch), None);
        let busy = epoch + Duration::from_millis(101);
        assert_eq!(held.put(2, 2_000, busy), Put::First);
        assert_eq!(held.due(busy), Some(epoch + Duration::from_millis(105)));
        for number in 3..=500 {
            assert_eq!(held.put(number, 2_000 + number, busy), Put::Behind);
        }
        assert_eq!(held.put(501, 2_501, busy), Put::Full);
        assert_eq!(take(&mut held), (2..=501).collect::<Vec<_>>());
        assert_eq!(held.due(busy), None);
    }

    #[tokio::test]
    async fn what_is_held_back_is_due_soon_after_it_was_announced() {
        let hold =
            Hold::new(Pace::new(Duration::from_millis(15), 12, Instant::now() - Duration::from_millis(200)));
        assert_eq!(hold.lock().put("a", 100_000, Instant::now()), Put::First);
        hold.announce();
        tokio::time::timeout(Duration::from_secs(10), hold.due()).await.unwrap();
        assert_eq!(take(&mut hold.lock()), ["a"]);
    }

    #[test]
    fn behind_what_is_refused_of_a_client_nothing_of_it_goes_until_the_next_tick() {
        const AWAY: ApiError = ApiError::Unavailable(Unavailable::Kafka);
        let (mut held, epoch) = held();
        let busy = epoch + Duration::from_millis(101);
        for (number, client) in (2_000..).zip(["anna", "bert", "anna", "carl", "carl"]) {
            held.put((client, number), number, busy);
        }
        let (mut sent, mut refused) = (Vec::new(), Vec::new());
        held.hand_over(
            |item| item.0,
            |item| {
                sent.push(*item);
                match item {
                    ("anna", _) => Err(AWAY),
                    ("carl", 2_003) => Err(ApiError::RecordTooLarge),
                    _ => Ok(()),
                }
            },
            |item, error| refused.push((item, error)),
        );
        assert_eq!(sent, [("anna", 2_000), ("bert", 2_001), ("carl", 2_003), ("carl", 2_004)]);
        let too_large = (("carl", 2_003), ApiError::RecordTooLarge);
        assert_eq!(refused, [(("anna", 2_000), AWAY), (("anna", 2_002), AWAY), too_large]);
        assert_eq!((held.refused("anna"), held.refused("carl")), (Some(Unavailable::Kafka), None));
        assert!(held.due(busy).is_some(), "somebody has to look again, though nothing is held back");
        held.forget_refused();
        assert_eq!((held.refused("anna"), held.due(busy)), (None, None));
    }

    proptest! {
        /// At whatever pace records come and are handed over, none overtakes another and none is lost.
        #[test]
        fn nothing_overtakes(steps in proptest::collection::vec((0u64..30_000, 0u64..400, any::<bool>()), 0..300)) {
            let (mut held, mut now) = held();
            let (mut handed_over, mut entered) = (Vec::new(), 0);
            let count = steps.len() as u64;
            for (number, (micros, others, is_tick)) in (0..).zip(steps) {
                now += Duration::from_micros(micros);
                entered += 1 + others;
                match held.put(number, entered, now) {
                    Put::Now(number) => handed_over.push(number),
                    Put::First | Put::Behind => {}
                    Put::Full => handed_over.extend(take(&mut held)),
                }
                if is_tick {
                    handed_over.extend(take(&mut held));
                }
                prop_assert!(held.items.len() < HELD_MAX);
            }
            handed_over.extend(take(&mut held));
            prop_assert_eq!(handed_over, (0..count).collect::<Vec<u64>>());
        }
    }
}
