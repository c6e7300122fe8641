//! Transactions, as another team's job writes them.

use std::net::SocketAddr;

use anyhow::Result;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
};

use super::{
    batch::{self, Form, Header, Writer},
    broker::{address, ask, check, only, retried, text},
    kafka::Cluster,
};

impl Cluster {
    /// Writes a record to a partition in a transaction of its own, and commits or aborts it: its marker comes
    /// right behind. Says where the record lies.
    ///
    /// # Errors
    /// A broker's error; the transaction may be open, until the brokers end it.
    pub fn transact(
        &self,
        topic: &str,
        partition: i32,
        record: (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
        commits: bool,
    ) -> Result<i64> {
        let id = format!("{topic}-{partition}");
        let coordinator = self.coordinator(&id)?;
        let request = InitProducerIdRequest::default().with_transactional_id(Some(text(&id)));
        let request = request.with_transaction_timeout_ms(10_000);
        let producer = retried(|| {
            let answer = ask(coordinator, 1, &request)?;
            check(answer.error_code).map(|()| answer)
        })?;
        let (producer, epoch) = (producer.producer_id, producer.producer_epoch);
        let part = AddPartitionsToTxnTopic::default().with_name(text(topic)).with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(text(&id));
        let request = request.with_v3_and_below_producer_id(producer).with_v3_and_below_producer_epoch(epoch);
        let request = request.with_v3_and_below_topics(vec![part]);
        // Answers for each partition alone; the coordinator may still be busy with the transaction before.
        retried(|| {
            let answer = only(ask(coordinator, 1, &request)?.results_by_topic_v3_and_below)?;
            check(only(answer.results_by_partition)?.partition_error_code)
        })?;
        let writer = Writer { id: producer.0, epoch, sequence: 0 };
        let batch = batch::encode(record, headers, Form::Transaction(writer))?;
        let offset = self.produce_batch(topic, partition, batch, Some(&id))?;
        let request = EndTxnRequest::default().with_transactional_id(text(&id)).with_producer_id(producer);
        let request = request.with_producer_epoch(epoch).with_committed(commits);
        retried(|| check(ask(coordinator, 1, &request)?.error_code))?;
        Ok(offset)
    }

    /// Who coordinates a transactional id; the first question makes the topic for it.
    fn coordinator(&self, id: &str) -> Result<SocketAddr> {
        const TRANSACTION: i8 = 1;
        let request = FindCoordinatorRequest::default().with_key(text(id)).with_key_type(TRANSACTION);
        retried(|| {
            let answer = self.ask_any(1, &request)?;
            check(answer.error_code)?;
            address(&answer.host, answer.port)
        })
    }
}
