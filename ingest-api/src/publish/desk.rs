//! Where requests wait for their delivery reports. Each shard has a desk of its own: the producer's thread posts
//! reports there and wakes the shard only when the mailbox was empty, so that a batch of records costs a shard one
//! wake-up, however many of its requests wait for it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::Notify;

use super::tickets::{Answer, Delivered, Queued, Reported, Ticket, Tickets};
use crate::{
    error::{ApiError, Unavailable},
    metrics::Metrics,
    shards,
};

/// All desks.
pub struct Desks {
    of_shards: Vec<Arc<Desk>>,
    /// For threads that are not shards.
    elsewhere: Arc<Desk>,
}

impl Desks {
    /// A desk for each of so many shards, and one for everybody else.
    pub fn new(shards: u8, metrics: &Arc<Metrics>) -> Self {
        let of_shards = (1..=shards).map(|number| Arc::new(Desk::new(number, true, metrics)));
        Self { of_shards: of_shards.collect(), elsewhere: Arc::new(Desk::elsewhere(metrics)) }
    }

    /// The desk of this thread.
    pub fn here(&self) -> &Arc<Desk> {
        shards::current().and_then(|shard| self.of_shard(shard)).unwrap_or(&self.elsewhere)
    }

    pub fn of_shard(&self, shard: usize) -> Option<&Arc<Desk>> {
        self.of_shards.get(shard)
    }

    /// The desk that issued a ticket.
    pub fn of(&self, ticket: Ticket) -> &Desk {
        let shard = usize::from(ticket.desk()).checked_sub(1);
        shard.and_then(|shard| self.of_shard(shard)).unwrap_or(&self.elsewhere)
    }
}

/// One of them.
pub struct Desk {
    tickets: Mutex<Tickets>,
    /// Reports that the shard has not seen yet; no more than there are tickets.
    mailbox: Mutex<Vec<(Ticket, Answer)>>,
    news: Notify,
    /// Whether somebody looks into the mailbox; if not, who posts a report hands it out.
    is_attended: bool,
    metrics: Arc<Metrics>,
}

impl Desk {
    fn new(number: u8, is_attended: bool, metrics: &Arc<Metrics>) -> Self {
        Self {
            tickets: Mutex::new(Tickets::new(number)),
            mailbox: Mutex::default(),
            news: Notify::new(),
            is_attended,
            metrics: Arc::clone(metrics),
        }
    }

    /// One that nobody attends.
    pub fn elsewhere(metrics: &Arc<Metrics>) -> Self {
        Self::new(0, false, metrics)
    }

    /// A place for a record that is about to be on its way, unless there are too many of them.
    pub fn issue(self: &Arc<Self>, queued: Queued) -> Option<Acknowledgement> {
        let ticket = self.tickets().issue(queued)?;
        Some(Acknowledgement { desk: Arc::clone(self), ticket, is_over: false })
    }

    /// Takes a report, from any thread.
    pub fn post(&self, ticket: Ticket, answer: Answer) {
        if !self.is_attended {
            return self.hand_out([(ticket, answer)]);
        }
        let mut mailbox = self.mailbox();
        let was_empty = mailbox.is_empty();
        mailbox.push((ticket, answer));
        drop(mailbox);
        if was_empty {
            self.news.notify_one();
        }
    }

    /// Hands reports out as they are posted, on the shard, for as long as it lives.
    pub async fn attend(&self) {
        let mut posted = Vec::new();
        loop {
            self.news.notified().await;
            std::mem::swap(&mut *self.mailbox(), &mut posted);
            self.hand_out(posted.drain(..));
        }
    }

    /// The bytes of a batch with this record alone, at most.
    pub fn batch_bytes(&self, ticket: Ticket) -> Option<usize> {
        self.tickets().batch_bytes(ticket)
    }

    fn hand_out(&self, reports: impl IntoIterator<Item = (Ticket, Answer)>) {
        let now = Instant::now();
        let mut woken: Vec<Waker> = Vec::new();
        let mut tickets = self.tickets();
        for (ticket, answer) in reports {
            let is_kept = answer.is_ok();
            let Some(Reported { queued, waker, is_wanted }) = tickets.answer(ticket, answer) else {
                continue;
            };
            woken.extend(waker);
            if is_kept {
                let took = now.saturating_duration_since(queued.since);
                self.metrics.ingest_ack_seconds.observe(took.as_secs_f64());
            }
            if is_kept && !is_wanted {
                self.metrics.ingest_acked_unanswered_total.inc();
            }
        }
        drop(tickets);
        woken.into_iter().for_each(Waker::wake);
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mailbox(&self) -> MutexGuard<'_, Vec<(Ticket, Answer)>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gets the brokers' answer. It may be dropped: the record is on its way all the same.
pub struct Acknowledgement {
    desk: Arc<Desk>,
    ticket: Ticket,
    is_over: bool,
}

impl Acknowledgement {
    pub const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The record never got on its way.
    pub fn cancel(mut self) {
        self.is_over = true;
        self.desk.tickets().cancel(self.ticket);
    }
}

impl Future for Acknowledgement {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let polled = self.desk.tickets().poll(self.ticket, context.waker());
        self.is_over = polled.is_ready();
        polled
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        if !self.is_over {
            self.desk.tickets().leave(self.ticket);
        }
    }
}

/// Waits for the brokers' answer, until `deadline`.
///
/// # Errors
/// It is not known whether the record is kept.
pub async fn acknowledged(
    acknowledgement: Acknowledgement,
    deadline: tokio::time::Instant,
) -> Result<Delivered, ApiError> {
    let answer = tokio::time::timeout_at(deadline, acknowledgement).await;
    answer.unwrap_or(Err(ApiError::Unavailable(Unavailable::AckTimeout)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    const KEPT: Answer = Ok(Delivered { partition: 1, offset: 2 });

    fn queued() -> Queued {
        Queued { since: Instant::now(), batch_bytes: 0, admitted: None, room: None }
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new().unwrap())
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn reports_that_come_together_wake_the_shard_once() {
        let desks = Desks::new(1, &metrics());
        let desk = desks.of_shard(0).unwrap();
        let (woken, mut attendant) = (Arc::new(Woken::default()), Box::pin(desk.attend()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut waiting: Vec<Acknowledgement> = (0..3).map(|_| desk.issue(queued()).unwrap()).collect();
        for round in 1..=2 {
            assert!(attendant.as_mut().poll(&mut context).is_pending());
            for acknowledgement in waiting.drain(..) {
                desks.of(acknowledgement.ticket()).post(acknowledgement.ticket(), KEPT);
            }
            assert_eq!(woken.0.load(Ordering::Relaxed), round);
            waiting.push(desk.issue(queued()).unwrap());
        }
    }

    #[tokio::test]
    async fn who_waits_at_an_attended_desk_gets_the_report_and_who_has_gone_is_counted() {
        let (metrics, soon) = (metrics(), tokio::time::Instant::now() + std::time::Duration::from_secs(10));
        let desks = Arc::new(Desks::new(1, &metrics));
        let attended = Arc::clone(&desks);
        drop(service_kit::spawn("desk", async move { attended.of_shard(0).unwrap().attend().await }));
        let desk = desks.of_shard(0).unwrap();
        let (stays, leaves) = (desk.issue(queued()).unwrap(), desk.issue(queued()).unwrap());
        let tickets = [leaves.ticket(), stays.ticket()];
        drop(leaves);
        std::thread::scope(|scope| {
            scope.spawn(|| tickets.map(|ticket| desks.of(ticket).post(ticket, KEPT)));
        });
        assert_eq!(acknowledged(stays, soon).await, KEPT);
        assert_eq!(metrics.ingest_acked_unanswered_total.get(), 1);
        assert_eq!(metrics.ingest_ack_seconds.get_sample_count(), 2);
    }

    #[tokio::test]
    async fn without_a_report_the_deadline_answers() {
        let desk = Arc::new(Desk::elsewhere(&metrics()));
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(10);
        let answer = acknowledged(desk.issue(queued()).unwrap(), deadline).await;
        assert_eq!(answer, Err(ApiError::Unavailable(Unavailable::AckTimeout)));
    }
}
