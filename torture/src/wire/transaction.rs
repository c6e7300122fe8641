//! Transactions, as another team's job writes them.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{
    batch::{self, Form, Header, Writer as Producer},
    broker::{ask, check, check_partition, retried},
    bytes::{Reader, Writer},
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
        let mut body = Writer::default();
        body.text(&id).i32(10_000);
        let response = retried(|| ask_checked(coordinator, 22, 1, &body.0))?;
        let mut reader = Reader(response.get(6..).unwrap_or_default());
        let producer = Producer { id: reader.i64()?, epoch: reader.i16()?, sequence: 0 };
        let mut body = Writer::default();
        body.text(&id).i64(producer.id).i16(producer.epoch);
        body.length(1).text(topic).length(1).i32(partition);
        // Answers for each partition alone; the coordinator may still be busy with the transaction before.
        retried(|| {
            let response = ask(coordinator, 24, 1, &body.0)?;
            let mut reader = Reader(&response);
            reader.i32()?;
            check_partition(&mut reader)
        })?;
        let batch = batch::encode(record, headers, Form::Transaction(producer))?;
        let offset = self.produce_batch(topic, partition, &batch, Some(&id))?;
        let mut body = Writer::default();
        body.text(&id).i64(producer.id).i16(producer.epoch).i8(i8::from(commits));
        retried(|| ask_checked(coordinator, 26, 1, &body.0))?;
        Ok(offset)
    }

    /// Who coordinates a transactional id; the first question makes the topic for it.
    fn coordinator(&self, id: &str) -> Result<SocketAddr> {
        const TRANSACTION: i8 = 1;
        let mut body = Writer::default();
        body.text(id).i8(TRANSACTION);
        let response = retried(|| {
            let response = self.ask_any(10, 1, &body.0)?;
            let mut reader = Reader(&response);
            reader.i32()?;
            check(reader.i16()?)?;
            Ok(response)
        })?;
        let mut reader = Reader(&response);
        reader.i32()?;
        reader.i16()?;
        reader.short_text()?;
        reader.i32()?;
        let host = reader.short_text()?.unwrap_or_default();
        let port = reader.i32()?;
        format!("{host}:{port}").parse().context("a coordinator's address")
    }
}

/// An answer that begins with a time and an error.
fn ask_checked(broker: SocketAddr, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let response = ask(broker, key, version, body)?;
    let mut reader = Reader(&response);
    reader.i32()?;
    check(reader.i16()?)?;
    Ok(response)
}
