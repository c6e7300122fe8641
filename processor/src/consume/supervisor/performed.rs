//! Each act, performed.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use schemas::Partition;
use service_kit::retry::Backoff;
use tokio::sync::oneshot;

use super::{Internal, RunError, Supervisor, wait_for};
use crate::{
    consume::{
        lane::Control,
        ownership::{Act, Cause, Event},
        takeover::{Taker, all_wait},
        tickets::{Live, Ticket},
    },
    domain::obstacle::Obstacle,
    store::{
        StoreError,
        halts::{self, Halt, Recorded},
    },
};

/// How long one try of a takeover may last: longer than all its deadlines one after the other.
const TRY_DEADLINE: Duration = Duration::from_secs(60);

impl Supervisor<'_> {
    /// Does what is to be done.
    pub(super) fn perform(&mut self, act: Act) -> Result<ControlFlow<Cause>, RunError> {
        match act {
            Act::Take { asked, after, .. } => self.take(asked, after),
            Act::Forget(ticket) => self.tickets.close(ticket),
            Act::Adopt { start, owner_epoch, rules } => {
                self.control(start.lane, Control::Adopt(start, owner_epoch, rules))?;
            }
            // Nobody waits: what is under way is fenced or counts.
            Act::Release(lane, partition) => drop(self.release(lane, vec![partition])?),
            Act::Drain { lanes, partitions, lost } => {
                let released = lanes.into_iter().map(|(lane, partitions)| self.release(lane, partitions));
                let released = released.collect::<Result<Vec<_>, RunError>>()?;
                self.drain(released, partitions, lost);
            }
            Act::Order(order) => self.order(order)?,
            Act::Record(ticket, halt) => self.record(ticket, halt),
            Act::Show(shown) => self.screens.show(shown),
            Act::Rebuild(cause) => return Ok(ControlFlow::Break(cause)),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The same while the process ends: what the lanes still have under way is waited for by the caller.
    pub(super) fn perform_last(&mut self, act: Act) -> Result<Vec<oneshot::Receiver<()>>, RunError> {
        if let Act::Drain { lanes, .. } = act {
            return lanes.into_iter().map(|(lane, partitions)| self.release(lane, partitions)).collect();
        }
        let _ends_anyway = self.perform(act)?.is_break();
        Ok(Vec::new())
    }

    fn take(&mut self, asked: Vec<(Partition, Ticket)>, after: Duration) {
        let tickets: Vec<Ticket> = asked.iter().map(|(_, ticket)| *ticket).collect();
        self.tickets.open(&tickets);
        let (taker, live) = (self.taker.clone(), self.tickets.live());
        let task = self.spawn("takeover", async move {
            tokio::time::sleep(after).await;
            Internal::Happened(Event::Answered(take(&taker, &asked, &live).await))
        });
        self.tickets.carried_by(&tickets, task.abort_handle());
    }

    fn drain(&self, released: Vec<oneshot::Receiver<()>>, partitions: Vec<Partition>, lost: bool) {
        let (since, metrics) = (Instant::now(), Arc::clone(self.screens.metrics()));
        drop(self.spawn("drain", async move {
            if !lost {
                wait_for(released).await;
                metrics.processor_drain_seconds.observe(since.elapsed().as_secs_f64());
            }
            Internal::Happened(Event::Drained(partitions))
        }));
    }

    fn record(&mut self, ticket: Ticket, halt: Halt) {
        self.tickets.open(&[ticket]);
        let taker = self.taker.clone();
        let task = self.spawn("halt", async move {
            let recorded = record(&taker, &halt).await;
            Internal::Happened(Event::HaltRecorded(halt.partition, ticket, recorded))
        });
        self.tickets.carried_by(&[ticket], task.abort_handle());
    }
}

/// One try, with an answer for each partition.
async fn take(
    taker: &Taker,
    asked: &[(Partition, Ticket)],
    live: &Live,
) -> Vec<(Partition, Ticket, crate::consume::takeover::Answer)> {
    // Its connection is its own: dropped in the middle of an answer, it harms nobody.
    let answers = match tokio::time::timeout(TRY_DEADLINE, taker.take(asked, live)).await {
        Ok(answers) => answers,
        Err(_elapsed) => {
            let partitions: Vec<Partition> = asked.iter().map(|(partition, _)| *partition).collect();
            all_wait(&partitions, &Obstacle::Deadline)
        }
    };
    let with_ticket = answers.into_iter().filter_map(|(partition, answer)| {
        let (_, ticket) = asked.iter().find(|(asked, _)| *asked == partition)?;
        Some((partition, *ticket, answer))
    });
    with_ticket.collect()
}

/// Writes a halt, however long it takes. Until then the partition stands still in this process only.
async fn record(taker: &Taker, halt: &Halt) -> Recorded {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match try_record(taker, halt).await {
            Ok(recorded) => return recorded,
            Err(error) => {
                tracing::warn!(partition = halt.partition.0, %error, "halt not recorded, trying again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn try_record(taker: &Taker, halt: &Halt) -> Result<Recorded, StoreError> {
    let mut connection = taker.database.writer().await?;
    halts::record(&mut connection, taker.topic_ref(), halt, &taker.owner).await
}
