//! What happens when a lane is full: its partitions are paused, polling goes on, and the lane gets what waits for it
//! before anything that comes later (R24).

use std::time::{Duration, Instant};

use rdkafka::{consumer::Consumer as _, error::KafkaResult};
use schemas::Partition;
use service_kit::count::signed;
use tokio::sync::mpsc::error::TrySendError;

use super::Poller;

/// Before a full lane's partitions are paused, it gets this long to make room: a pause throws away
/// what the client has already fetched.
const PAUSE_AFTER: Duration = Duration::from_millis(200);

impl Poller {
    /// Hands the open chunk to its lane, or, when the lane stays full, pauses the lane's partitions.
    pub(super) fn flush(&mut self, lane: usize) -> KafkaResult<()> {
        let Some(outlet) = self.outlets.get_mut(lane).filter(|outlet| !outlet.open.is_empty()) else {
            return Ok(());
        };
        outlet.open_bytes = 0;
        let mut chunk = std::mem::take(&mut outlet.open);
        if outlet.backlog.is_empty() {
            let deadline = Instant::now() + PAUSE_AFTER;
            loop {
                match outlet.sender.try_send(chunk) {
                    Ok(()) => return Ok(()),
                    // The lane has ended: its supervisor sees that.
                    Err(TrySendError::Closed(_)) => return Ok(()),
                    Err(TrySendError::Full(refused)) => chunk = refused,
                }
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        outlet.backlog.push_back(chunk);
        self.pause(lane)
    }

    fn pause(&mut self, lane: usize) -> KafkaResult<()> {
        let readable = self.routes.iter().filter(|(partition, route)| {
            route.lane == lane && route.has_delivered && !self.paused.contains(*partition)
        });
        let partitions: Vec<Partition> = readable.map(|(partition, _)| *partition).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        self.consumer.pause(&self.list(partitions.iter().copied()))?;
        self.paused.extend(partitions);
        self.count_paused();
        Ok(())
    }

    /// Offers the lanes what they could not take, and resumes the partitions of those that took all.
    pub(super) fn empty_backlogs(&mut self) -> KafkaResult<()> {
        let mut emptied = Vec::new();
        for (lane, outlet) in
            self.outlets.iter_mut().enumerate().filter(|(_, outlet)| !outlet.backlog.is_empty())
        {
            while let Some(chunk) = outlet.backlog.pop_front() {
                if let Err(TrySendError::Full(chunk)) = outlet.sender.try_send(chunk) {
                    outlet.backlog.push_front(chunk);
                    break;
                }
            }
            if outlet.backlog.is_empty() {
                emptied.push(lane);
            }
        }
        if emptied.is_empty() {
            return Ok(());
        }
        // Only what was paused here and still has a route: a halted partition stays paused.
        let paused = self.paused.iter().copied().filter(|partition| {
            self.routes.get(partition).is_some_and(|route| emptied.contains(&route.lane))
        });
        let resumed: Vec<Partition> = paused.collect();
        self.consumer.resume(&self.list(resumed.iter().copied()))?;
        self.paused.retain(|partition| !resumed.contains(partition));
        self.count_paused();
        Ok(())
    }

    fn count_paused(&self) {
        self.metrics.processor_paused_partitions.set(signed(self.paused.len()));
    }
}
