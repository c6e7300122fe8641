//! The part of Kafka's protocol that a checker and a saboteur need: <https://kafka.apache.org/protocol.html>.
//! Each request goes over a connection of its own to the broker that it is for.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    batch::{self, Header, Record},
    bytes::{Reader, Writer},
};

const DEADLINE: Duration = Duration::from_secs(20);
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Kafka, by the addresses of its brokers.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Asked one after the other.
    pub bootstrap: Vec<SocketAddr>,
}

/// What the brokers know of a topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its id.
    pub id: [u8; 16],
    /// The leader of each partition; none while there is none.
    pub leaders: BTreeMap<i32, Option<(i32, SocketAddr)>>,
    /// The replicas in sync of each partition.
    pub in_sync: BTreeMap<i32, Vec<i32>>,
}

/// A partition's records, and where its log starts and ends.
#[derive(Debug, Clone, Default)]
pub struct PartitionLog {
    /// The oldest record.
    pub start: i64,
    /// The next record to be appended.
    pub end: i64,
    /// The records between.
    pub records: Vec<Record>,
}

/// The two ends of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The oldest record.
    Start,
    /// The place of the next.
    Latest,
}

impl Cluster {
    /// One broker.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        Self { bootstrap: vec![address] }
    }

    /// What the brokers know of a topic.
    ///
    /// # Errors
    /// Nobody answers, or there is no such topic.
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
    ///
    /// # Errors
    /// A broker's error.
    pub fn ends(&self, name: &str, end: End) -> Result<BTreeMap<i32, i64>> {
        let mut ends = BTreeMap::new();
        for (partition, leader) in self.topic(name)?.leaders {
            let (_, leader) = leader.with_context(|| format!("partition {partition} has no leader"))?;
            let time = if end == End::Start { -2 } else { -1 };
            let mut body = Writer::default();
            body.i32(-1).length(1).text(name).length(1).i32(partition).i64(time);
            let response = ask(leader, 2, 1, &body.0)?;
            let mut reader = Reader(&response);
            reader.array()?;
            reader.short_text()?;
            reader.array()?;
            reader.i32()?;
            check(reader.i16()?)?;
            let _time = reader.i64()?;
            ends.insert(partition, reader.i64()?);
        }
        Ok(ends)
    }

    /// The whole log of each partition, up to where it ends now.
    ///
    /// # Errors
    /// A broker's error.
    pub fn read(&self, name: &str) -> Result<BTreeMap<i32, PartitionLog>> {
        let topic = self.topic(name)?;
        let (starts, ends) = (self.ends(name, End::Start)?, self.ends(name, End::Latest)?);
        let mut logs = BTreeMap::new();
        for (partition, leader) in topic.leaders {
            let (_, leader) = leader.context("no leader")?;
            let at = |ends: &BTreeMap<i32, i64>| ends.get(&partition).copied().context("no offset");
            let (start, end) = (at(&starts)?, at(&ends)?);
            let records = read_partition(leader, name, partition, start..end)?;
            logs.insert(partition, PartitionLog { start, end, records });
        }
        Ok(logs)
    }

    /// Appends a record and says where it lies.
    ///
    /// # Errors
    /// A broker's error; the record may be in the log.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
    ) -> Result<i64> {
        let leader = self.topic(topic)?.leaders.get(&partition).copied().flatten().context("no leader")?.1;
        let batch = batch::encode(key, value, headers);
        let mut body = Writer::default();
        body.i16(-1).i16(-1).i32(10_000).length(1).text(topic).length(1).i32(partition);
        body.length(batch.len()).raw(&batch);
        let response = ask(leader, 0, 3, &body.0)?;
        let mut reader = Reader(&response);
        reader.array()?;
        reader.short_text()?;
        reader.array()?;
        reader.i32()?;
        check(reader.i16()?)?;
        reader.i64()
    }

    /// Makes a topic whose partitions lie where `replicas` says, and waits until the brokers know it.
    ///
    /// # Errors
    /// A broker's error.
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
    ///
    /// # Errors
    /// A broker's error.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let mut body = Writer::default();
        body.length(1).text(name).i32(15_000);
        let response = self.ask_any(20, 1, &body.0)?;
        read_topic_errors(&response)?;
        wait_for(&format!("topic {name} does not go"), || self.topic(name).is_err())
    }

    /// Removes the records below some offsets, as retention does.
    ///
    /// # Errors
    /// A broker's error.
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

    /// Raises the number of a topic's partitions.
    ///
    /// # Errors
    /// A broker's error.
    pub fn create_partitions(&self, name: &str, count: i32) -> Result<()> {
        let mut body = Writer::default();
        body.length(1).text(name).i32(count).i32(-1).i32(15_000).i8(0);
        let response = self.ask_any(37, 0, &body.0)?;
        read_topic_errors(&response)
    }

    fn ask_any(&self, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
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

fn read_metadata(reader: &mut Reader<'_>) -> Result<Topic> {
    reader.i32()?;
    let mut brokers = BTreeMap::new();
    for _ in 0..reader.compact_array()? {
        let (id, host, port) = (reader.i32()?, reader.compact_text()?.unwrap_or_default(), reader.i32()?);
        reader.compact_text()?;
        reader.tags()?;
        brokers.insert(id, format!("{host}:{port}").parse::<SocketAddr>().context("a broker's address")?);
    }
    reader.compact_text()?;
    reader.i32()?;
    if reader.compact_array()? != 1 {
        bail!("an answer for another topic");
    }
    check(reader.i16()?)?;
    reader.compact_text()?;
    let id = reader.take(16)?.try_into()?;
    reader.i8()?;
    let mut topic = Topic { id, leaders: BTreeMap::new(), in_sync: BTreeMap::new() };
    for _ in 0..reader.compact_array()? {
        reader.i16()?;
        let (partition, leader) = (reader.i32()?, reader.i32()?);
        reader.i32()?;
        let _replicas = read_ids(reader)?;
        topic.in_sync.insert(partition, read_ids(reader)?);
        let _offline = read_ids(reader)?;
        reader.tags()?;
        topic.leaders.insert(partition, brokers.get(&leader).map(|address| (leader, *address)));
    }
    Ok(topic)
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<i32>> {
    let length = reader.compact_array()?;
    (0..length).map(|_| reader.i32()).collect()
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
) -> Result<Vec<Record>> {
    const BYTES_MAX: i32 = 8 << 20;
    let mut records: Vec<Record> = Vec::new();
    let mut connection = Connection::open(leader)?;
    loop {
        let next = records.last().map_or(range.start, |record| record.offset + 1);
        if next >= range.end {
            return Ok(records);
        }
        let mut body = Writer::default();
        body.i32(-1).i32(500).i32(1).i32(BYTES_MAX).i8(0);
        body.length(1).text(topic).length(1).i32(partition).i64(next).i32(BYTES_MAX);
        let response = connection.ask(1, 4, &body.0)?;
        let mut reader = Reader(&response);
        reader.i32()?;
        reader.array()?;
        reader.short_text()?;
        reader.array()?;
        reader.i32()?;
        check(reader.i16()?)?;
        reader.take(8 + 8)?;
        for _ in 0..reader.array()? {
            reader.take(8 + 8)?;
        }
        let length = reader.array()?;
        let fetched = batch::decode(reader.take(length)?)?;
        let fresh: Vec<Record> =
            fetched.into_iter().filter(|record| (next..range.end).contains(&record.offset)).collect();
        if fresh.is_empty() {
            bail!("partition {partition}: nothing at {next} although the log ends at {}", range.end);
        }
        records.extend(fresh);
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

fn check(code: i16) -> Result<()> {
    if code == 0 { Ok(()) } else { bail!("kafka answers with error {code}") }
}

fn ask(broker: SocketAddr, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    Connection::open(broker)?.ask(key, version, body)
}

struct Connection(TcpStream);

impl Connection {
    fn open(broker: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&broker, Duration::from_secs(3))
            .with_context(|| format!("broker {broker}"))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// The answer without its correlation id.
    fn ask(&mut self, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
        const METADATA_IS_FLEXIBLE: (i16, i16) = (3, 12);
        let mut request = Writer::default();
        request.i16(key).i16(version).i32(1).text("torture");
        if (key, version) == METADATA_IS_FLEXIBLE {
            request.unsigned_varint(0);
        }
        request.raw(body);
        let mut framed = Writer::default();
        framed.length(request.0.len()).raw(&request.0);
        self.0.write_all(&framed.0)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        if !(4..=RESPONSE_BYTES_MAX).contains(&length) {
            bail!("an answer of {length} bytes");
        }
        let mut response = vec![0; length];
        self.0.read_exact(&mut response)?;
        Ok(response.split_off(4))
    }
}
