//! What the client's errors ask for: the end of the thread, a report to the supervisor, or nothing but a line in the
//! log.

use std::time::{Duration, Instant};

use rdkafka::{
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};

use super::{Poller, Report, Trouble};
use crate::kafka::continuity::{is_unreadable, leaves_out};

/// How often it is reported that another topic is read.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The same error of the client is logged once in this time.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(10);

impl Poller {
    /// Ends the thread for an error that does not pass; logs the others, each kind once in a while.
    pub(super) fn on_error(&mut self, error: KafkaError) -> KafkaResult<()> {
        if matches!(error, KafkaError::MessageConsumptionFatal(_))
            || self.consumer.client().fatal_error().is_some()
        {
            return Err(error);
        }
        match error.rdkafka_error_code() {
            // The partition is dead to this consumer: taken up again, it halts with the numbers.
            Some(code @ (RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => {
                self.log(code, &error);
                self.report(Report::Trouble(Trouble::OutOfRange))
            }
            Some(
                code @ (RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicId),
            ) => {
                self.log(code, &error);
                self.report(Report::Trouble(Trouble::UnknownTopic))
            }
            Some(code) => {
                if leaves_out(code) {
                    self.routes.values_mut().for_each(|route| route.continuity.doubt());
                }
                self.log(code, &error);
                if is_unreadable(&code) { self.report(Report::Trouble(Trouble::Batch)) } else { Ok(()) }
            }
            None => Err(error),
        }
    }

    /// Until the supervisor has found out, which may take a while: not every broker knows the new topic at once.
    pub(super) fn report_another_topic(&mut self) -> KafkaResult<()> {
        let now = Instant::now();
        if self.other_reported_at.is_some_and(|at| now - at < REPORT_INTERVAL) {
            return Ok(());
        }
        self.other_reported_at = Some(now);
        tracing::warn!("the topic was created again, nothing more is read of it");
        self.report(Report::Trouble(Trouble::UnknownTopic))
    }

    /// If nobody listens, the supervisor has ended, and the next turn with it.
    fn report(&self, report: Report) -> KafkaResult<()> {
        let _ended = self.reports.blocking_send(report).is_err();
        Ok(())
    }

    fn log(&mut self, code: RDKafkaErrorCode, error: &KafkaError) {
        let now = Instant::now();
        let is_recent =
            |(last, at): (RDKafkaErrorCode, Instant)| last == code && now - at < ERROR_LOG_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return;
        }
        self.logged = Some((code, now));
        match self.lacks(code) {
            Some(lacks) => tracing::error!(lacks, %error, "kafka may not be read, trying again"),
            None => tracing::warn!(%error, "kafka cannot be read, trying again"),
        }
    }

    /// The right that is missing, and whose it would be.
    fn lacks(&self, code: RDKafkaErrorCode) -> Option<String> {
        let Self { user, topic, group, .. } = self;
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => Some(format!("{user} lacks Read on topic {topic}")),
            RDKafkaErrorCode::GroupAuthorizationFailed => Some(format!("{user} lacks Read on group {group}")),
            _ => None,
        }
    }
}
