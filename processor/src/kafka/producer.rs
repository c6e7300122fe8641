//! The producer of `dead-letters replay`, and of [`super::placement`]: a running processor writes nothing to the topic of
//! messages. One record at a time, each waited for, so that letters keep their order whatever fails.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message as _,
    error::{KafkaError, KafkaResult},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode,
};
use schemas::Partition;

use super::client::{self, KafkaConfig};
use crate::domain::position::Offset;

/// How long the brokers may take to acknowledge a record.
pub const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

type Answer = KafkaResult<(Partition, Offset)>;

/// Gets the delivery reports, inside `poll`.
pub struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<SyncSender<Answer>>;

    fn delivery(&self, report: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        let delivered = match report {
            Ok(record) => Ok((Partition(record.partition()), Offset(record.offset()))),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited has given up: nobody is told.
        let _given_up = answer.send(delivered).is_err();
    }
}

/// A record to be written.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub partition: Partition,
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// Its headers, in their order.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// Writes records to a topic.
pub struct Producer {
    producer: BaseProducer<Reports>,
    topic: String,
}

impl Producer {
    /// A producer with settings of its own; connects by itself.
    pub fn new(kafka: &KafkaConfig, topic: &str) -> KafkaResult<Self> {
        let producer = client::producer(kafka, DELIVERY_DEADLINE, Reports)?;
        Ok(Self { producer, topic: topic.to_owned() })
    }

    /// Writes a record and waits for the brokers. Blocks.
    ///
    /// # Errors
    /// It is not known whether the record was written.
    pub fn write(&self, outgoing: &Outgoing<'_>) -> Answer {
        let (sender, answer) = sync_channel(1);
        let headers = outgoing.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref() })
        });
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(sender))
            .partition(outgoing.partition.0)
            .key(outgoing.key)
            .payload(outgoing.value)
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| error)?;
        let deadline = Instant::now() + DELIVERY_DEADLINE + Duration::from_secs(5);
        loop {
            self.producer.poll(Duration::from_millis(50));
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(_) if Instant::now() < deadline => {}
                Err(_) => return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)),
            }
        }
    }
}
