//! The part of Kafka's protocol that a checker and a saboteur need: <https://kafka.apache.org/protocol.html>.
//! Each request goes over a connection of its own to the broker that it is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    batch::{self, Form, Header, Record},
    broker::{Connection, DEADLINE, ask, check, check_partition, retried},
    bytes::{Reader, Writer},
    metadata::read_metadata,
};

/// Kafka, by the addresses of its brokers.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Asked one after the other.
    pub bootstrap: Vec<SocketAddr>,
}

/// What the brokers know of a topic.
#[derive(Debug, Clone)]
pub struct Topic {
    pub id: [u8; 16],
    /// The leader of each partition; none while there is none.
    pub leaders: BTreeMap<i32, Option<(i32, SocketAddr)>>,
    /// The replicas in sync of each partition.
    pub in_sync: BTreeMap<i32, Vec<i32>>,
}

/// A partition's records, and where its log starts and ends.
#[derive(Debug, Clone, Default)]
pub struct PartitionLog {
    pub start: i64,
    /// The next record to be appended.
    pub end: i64,
    /// The records between, also those of transactions that were aborted.
    pub records: Vec<Record>,
    /// Where the markers of transactions lie.
    pub control: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Start,
    /// The place of the next.
    Latest,
}

impl Cluster {
    pub fn of(address: SocketAddr) -> Self {
        Self { bootstrap: vec![address] }
    }

    /// What the brokers know of a topic.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let mut body = Writer::default();
        body.unsigned_varint(2).raw(&[0; 16]).compact_text(name).unsigned_varint(0);
        body.i8(0).i8(0).unsigned_varint(0);
        let response = self.ask_any(3, 12, &body.0)?;
        let mut reader = Reader(&response);
        reader.tags()?;
        read_metadata(&mut reader).with_context(|| format!("topic {name}"))
    }

    /// One end of each partition's log.
    pub fn ends(&self, name: &str, end: End) -> Result<BTreeMap<i32, i64>> {
        let mut ends = BTreeMap::new();
        for (partition, leader) in self.topic(name)?.leaders {
            let (_, leader) = leader.with_context(|| format!("partition {partition} has no leader"))?;
            let time = if end == End::Start { -2 } else { -1 };
            let mut body = Writer::default();
            body.i32(-1).length(1).text(name).length(1).i32(partition).i64(time);
            let response = ask(leader, 2, 1, &body.0)?;
            let mut reader = Reader(&response);
            check_partition(&mut reader)?;
            let _time = reader.i64()?;
            ends.insert(partition, reader.i64()?);
        }
        Ok(ends)
    }

    /// The whole log of each partition, up to where it ends now.
    pub fn read(&self, name: &str) -> Result<BTreeMap<i32, PartitionLog>> {
        let topic = self.topic(name)?;
        let (starts, ends) = (self.ends(name, End::Start)?, self.ends(name, End::Latest)?);
        let mut logs = BTreeMap::new();
        for (partition, leader) in topic.leaders {
            let (_, leader) = leader.context("no leader")?;
            let at = |ends: &BTreeMap<i32, i64>| ends.get(&partition).copied().context("no offset");
            let (start, end) = (at(&starts)?, at(&ends)?);
            logs.insert(partition, read_partition(leader, name, partition, start..end)?);
        }
        Ok(logs)
    }

    /// A stretch of a partition's log.
    pub fn read_range(
        &self,
        name: &str,
        partition: i32,
        range: std::ops::Range<i64>,
    ) -> Result<PartitionLog> {
        read_partition(self.leader(name, partition)?, name, partition, range)
    }

    pub fn leader(&self, name: &str, partition: i32) -> Result<SocketAddr> {
        Ok(self.topic(name)?.leaders.get(&partition).copied().flatten().context("no leader")?.1)
    }

    /// Appends a record and says where it lies.
    ///
    /// # Errors
    /// A broker's error; the record may be in the log.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        record: (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
        form: Form,
    ) -> Result<i64> {
        let batch = batch::encode(record, headers, form)?;
        self.produce_batch(topic, partition, &batch, None)
    }

    /// Appends records without key and value.
    pub fn fill(&self, topic: &str, partition: i32, count: i32) -> Result<()> {
        let batch = batch::filler(count);
        retried(|| self.produce_batch(topic, partition, &batch, None)).map(drop)
    }

    pub(super) fn produce_batch(
        &self,
        topic: &str,
        partition: i32,
        batch: &[u8],
        transaction: Option<&str>,
    ) -> Result<i64> {
        const VERSION: i16 = 7;
        let leader = self.leader(topic, partition)?;
        let mut body = Writer::default();
        match transaction {
            Some(id) => body.text(id),
            None => body.i16(-1),
        };
        body.i16(-1).i32(10_000).length(1).text(topic).length(1).i32(partition);
        body.length(batch.len()).raw(batch);
        let response = ask(leader, 0, VERSION, &body.0)?;
        let mut reader = Reader(&response);
        check_partition(&mut reader)?;
        reader.i64()
    }

    /// The node that is the active controller.
    pub fn controller(&self) -> Result<i32> {
        let mut body = Writer::default();
        body.unsigned_varint(2).compact_text("__cluster_metadata");
        body.unsigned_varint(2).i32(0).unsigned_varint(0).unsigned_varint(0).unsigned_varint(0);
        let response = self.ask_any(55, 0, &body.0)?;
        let mut reader = Reader(&response);
        reader.tags()?;
        check(reader.i16()?)?;
        reader.compact_array()?;
        reader.compact_text()?;
        reader.compact_array()?;
        reader.i32()?;
        check(reader.i16()?)?;
        reader.i32()
    }

    /// Makes a topic whose partitions lie where `replicas` says, and waits until the brokers know it.
    pub fn create_topic(&self, name: &str, replicas: &[Vec<i32>], settings: &[(&str, &str)]) -> Result<()> {
        let mut body = Writer::default();
        body.length(1).text(name).i32(-1).i16(-1).length(replicas.len());
        for (partition, brokers) in (0..).zip(replicas) {
            body.i32(partition).length(brokers.len());
            for broker in brokers {
                body.i32(*broker);
            }
        }
        body.length(settings.len());
        for (key, value) in settings {
            body.text(key).text(value);
        }
        body.i32(15_000).i8(0);
        let response = self.ask_any(19, 4, &body.0)?;
        read_topic_errors(&response)?;
        // The answer comes from the controller; the brokers follow.
        wait_for(&format!("topic {name} does not come"), || {
            self.topic(name).is_ok_and(|topic| topic.leaders.values().all(Option::is_some))
        })
    }

    /// Deletes a topic, and waits until the brokers know it no more.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let mut body = Writer::default();
        body.length(1).text(name).i32(15_000);
        let response = self.ask_any(20, 1, &body.0)?;
        read_topic_errors(&response)?;
        wait_for(&format!("topic {name} does not go"), || self.topic(name).is_err())
    }

    /// Removes the records below some offsets, as retention does.
    pub fn delete_records(&self, name: &str, below: &BTreeMap<i32, i64>) -> Result<()> {
        let topic = self.topic(name)?;
        for (partition, offset) in below {
            let leader = topic.leaders.get(partition).copied().flatten().context("no leader")?.1;
            let mut body = Writer::default();
            body.length(1).text(name).length(1).i32(*partition).i64(*offset).i32(15_000);
            let response = ask(leader, 21, 0, &body.0)?;
            let mut reader = Reader(&response);
            reader.i32()?;
            reader.array()?;
            reader.short_text()?;
            reader.array()?;
            reader.i32()?;
            reader.i64()?;
            check(reader.i16()?)?;
        }
        Ok(())
    }

    pub fn set_topic_setting(&self, topic: &str, name: &str, value: &str) -> Result<()> {
        const TOPIC: i8 = 2;
        const SET: i8 = 0;
        let mut body = Writer::default();
        body.length(1).i8(TOPIC).text(topic).length(1).text(name).i8(SET).text(value).i8(0);
        let response = self.ask_any(44, 0, &body.0)?;
        let mut reader = Reader(&response);
        reader.i32()?;
        reader.array()?;
        check(reader.i16()?)
    }

    /// Raises the number of a topic's partitions.
    pub fn create_partitions(&self, name: &str, count: i32) -> Result<()> {
        let mut body = Writer::default();
        body.length(1).text(name).i32(count).i32(-1).i32(15_000).i8(0);
        let response = self.ask_any(37, 0, &body.0)?;
        read_topic_errors(&response)
    }

    pub(super) fn ask_any(&self, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        let mut last = None;
        for broker in &self.bootstrap {
            match ask(*broker, key, version, body) {
                Ok(response) => return Ok(response),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no brokers")?)
    }
}

fn read_topic_errors(response: &[u8]) -> Result<()> {
    let mut reader = Reader(response);
    reader.i32()?;
    if reader.array()? != 1 {
        bail!("an answer for another topic");
    }
    reader.short_text()?;
    check(reader.i16()?)
}

fn read_partition(
    leader: SocketAddr,
    topic: &str,
    partition: i32,
    range: std::ops::Range<i64>,
) -> Result<PartitionLog> {
    const BYTES_MAX: i32 = 8 << 20;
    let mut log = PartitionLog { start: range.start, end: range.end, ..PartitionLog::default() };
    let mut connection = Connection::open(leader)?;
    let mut next = range.start;
    loop {
        if next >= range.end {
            return Ok(log);
        }
        let mut body = Writer::default();
        body.i32(-1).i32(500).i32(1).i32(BYTES_MAX).i8(0);
        body.length(1).text(topic).length(1).i32(partition).i64(next).i32(BYTES_MAX);
        let response = connection.ask(1, 4, &body.0)?;
        let mut reader = Reader(&response);
        reader.i32()?;
        check_partition(&mut reader)?;
        reader.take(8 + 8)?;
        for _ in 0..reader.array()? {
            reader.take(8 + 8)?;
        }
        let length = reader.array()?;
        let fetched = batch::decode(reader.take(length)?)?;
        let wanted = next..range.end;
        next = match fetched.next_offset() {
            Some(after) if after > next => after,
            _ => bail!("partition {partition}: nothing at {next} although the log ends at {}", range.end),
        };
        log.records.extend(fetched.records.into_iter().filter(|record| wanted.contains(&record.offset)));
        log.control.extend(fetched.control.into_iter().filter(|offset| wanted.contains(offset)));
    }
}

fn wait_for(complaint: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        if Instant::now() > deadline {
            bail!("{complaint}");
        }
        dev_env::interrupt::pause(Duration::from_millis(50))?;
    }
    Ok(())
}
