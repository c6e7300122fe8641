//! The callbacks of the consumer, turned into values. rust-rdkafka's default would assign by itself,
//! with the group's offsets, and ignore the result (pitfalls 7); here
//!
//! 1. what the group gives is answered at once, with nothing: until the answer librdkafka pauses all that is read
//!    already, and one partition that cannot be taken up would stop the others,
//! 2. each partition joins by itself when its next offset has come from PostgreSQL (tests/it/assignment.rs: it may),
//! 3. what the group takes is answered by the poller when the lanes have let go; polling goes on meanwhile, and with
//!    it the group's heartbeats.
//!
//! librdkafka asks for an answer to an *error* of a rebalance as well, but 2.12 reports none in this way, and
//! rust-rdkafka passes none on.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    bindings::rd_kafka_resp_err_t as Code,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use schemas::Partition;
use uuid::Uuid;

use super::{reading::Reading, transactions::LogEnds};
use crate::domain::position::Offset;

#[derive(Debug)]
pub enum Callback {
    /// The group gives us partitions, and has its answer.
    Assign(Vec<Partition>),
    /// The group takes partitions. To be answered by one `incremental_unassign`.
    Revoke {
        partitions: Vec<Partition>,
        /// Whether they are gone already: others may own them.
        lost: bool,
    },
    /// The ends of the logs, as the last fetch told them.
    LogEnds(Vec<(Partition, Offset)>),
}

/// Collects what the callbacks report. They run inside `poll`, on its thread.
#[derive(Debug)]
pub struct Context {
    reported: Mutex<Vec<Callback>>,
    /// Both ends of each log, since the poller last asked for them.
    ends: Mutex<Option<Vec<LogEnds>>>,
    closing: AtomicBool,
    /// Whether the topic is compacted, by its last audit.
    is_compacted: Arc<AtomicBool>,
    reading: Reading,
}

impl Context {
    /// Collects for a consumer of the topic with this id, of which `is_compacted` speaks.
    pub fn new(topic_id: Uuid, is_compacted: Arc<AtomicBool>) -> Self {
        Self {
            reported: Mutex::default(),
            ends: Mutex::default(),
            closing: AtomicBool::default(),
            is_compacted,
            reading: Reading::new(topic_id),
        }
    }

    /// Whether what is read now may be of another topic of the same name.
    pub fn reads_another_topic(&self) -> bool {
        self.reading.is_other()
    }

    /// Whether offsets may be missing because their records were compacted away.
    pub fn is_compacted(&self) -> bool {
        self.is_compacted.load(Ordering::Acquire)
    }

    /// What was reported since the last call.
    pub fn take(&self) -> Vec<Callback> {
        std::mem::take(&mut *self.reported.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Both ends of each log as the last fetches told them, about once a second; `None` until then.
    pub fn take_ends(&self) -> Option<Vec<LogEnds>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on all rebalances are answered at once: the consumer is being dropped, which polls until
    /// the group is left.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn report(&self, callback: Callback) {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).push(callback);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let closing = self.closing.load(Ordering::Acquire);
        let partitions = || list.elements().iter().map(|element| Partition(element.partition())).collect();
        match code {
            Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                log_failure("assign nothing", consumer.incremental_assign(&TopicPartitionList::new()));
                if !closing {
                    self.report(Callback::Assign(partitions()));
                }
            }
            Code::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if closing => {
                log_failure("unassign", consumer.incremental_unassign(list));
            }
            Code::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.report(Callback::Revoke { partitions: partitions(), lost: consumer.assignment_lost() });
            }
            other => tracing::warn!(code = ?other, "rebalance failed, the group tries again"),
        }
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let partitions = || {
            let all = statistics.topics.values().flat_map(|topic| topic.partitions.values());
            // -1001: not known yet; partition -1 collects what has no partition.
            all.filter(|partition| partition.partition >= 0 && partition.hi_offset >= 0)
        };
        let ends = partitions()
            .map(|partition| (Partition(partition.partition), Offset(partition.hi_offset)))
            .collect();
        self.report(Callback::LogEnds(ends));
        let known = partitions().filter(|partition| partition.ls_offset >= 0);
        let stable = known.map(|partition| LogEnds {
            partition: Partition(partition.partition),
            stable: Offset(partition.ls_offset),
            high: Offset(partition.hi_offset),
        });
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(stable.collect());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The poller gets it, too, and weighs it; here is only the reason. An end of a log is no error.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::debug!(%error, reason, "kafka client");
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.reading.on_log(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, detail = message, "kafka client");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, detail = message, "kafka client"),
        }
    }
}

fn log_failure(what: &'static str, result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::warn!(what, %error, "could not answer a rebalance");
    }
}
