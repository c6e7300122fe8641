//! What the handlers share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use schemas::PartitionCount;
use service_kit::{prometheus::IntCounter, spans::Spans};

use crate::{
    access_log::AccessLog, admission::Admission, config::Limits, files::Reloaded, metrics::Metrics,
    producers::ProducersFile,
};

pub struct Shared<P> {
    pub publisher: P,
    /// The topic's name, for the answer.
    pub topic: String,
    /// The URL under which providers reach this service, without a path.
    pub public_url: Option<String>,
    /// Over how many partitions keys are spread.
    pub partition_count: PartitionCount,
    /// Who may send; anybody without.
    pub producers: Option<Arc<Reloaded<ProducersFile>>>,
    /// Counts what is in flight.
    pub admission: Admission,
    /// How much at once, and how long.
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// One of them, looked up once: see [`messages_accepted`](crate::router::messages_accepted).
    pub messages_accepted: IntCounter,
    pub access_log: AccessLog,
    /// Where sampled traces go on.
    pub spans: Spans,
    pub draining: AtomicBool,
}

impl<P> Shared<P> {
    /// Whether new requests are refused because the process stops.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
