//! The part of Kafka's protocol that a checker and a saboteur need: <https://kafka.apache.org/protocol.html>.
//! Each request goes over a connection of its own to the broker that it is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    batch::{self, Form, Header, Record, Writer as Producer},
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
    /// The records between, also those of transactions that were aborted.
    pub records: Vec<Record>,
    /// Where the markers of transactions lie.
    pub control: BTreeSet<i64>,
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
            logs.insert(partition, read_partition(leader, name, partition, start..end)?);
        }
        Ok(logs)
    }

    /// A stretch of a partition's log.
    ///
    /// # Errors
    /// A broker's error.
    pub fn read_range(
        &self,
        name: &str,
        partition: i32,
        range: std::ops::Range<i64>,
    ) -> Result<PartitionLog> {
        read_partition(self.leader(name, partition)?, name, partition, range)
    }

    /// Who leads a partition.
    ///
    /// # Errors
    /// Nobody does, or nobody answers.
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
    ///
    /// # Errors
    /// A broker's error.
    pub fn fill(&self, topic: &str, partition: i32, count: i32) -> Result<()> {
        self.produce_batch(topic, partition, &batch::filler(count), None).map(drop)
    }

    fn produce_batch(&self, topic: &str, partition: i32, batch: &[u8], transaction: Option<&str>) -> Result<i64> {
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
        reader.array()?;
        reader.short_text()?;
        reader.array()?;
        reader.i32()?;
        check(reader.i16()?)?;
        reader.i64()
    }

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
            reader.array()?;
            reader.short_text()?;
            reader.array()?;
            reader.i32()?;
            check(reader.i16()?)?;
            Ok(response)
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

    /// The node that is the active controller.
    ///
    /// # Errors
    /// Nobody answers, or there is none.
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

    /// Changes a setting of a topic.
    ///
    /// # Errors
    /// A broker's error.
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

fn check(code: i16) -> Result<()> {
    if code == 0 { Ok(()) } else { bail!("kafka answers with error {code}") }
}

/// Asks again for a while: coordinators are made, move and are busy.
fn retried(mut question: impl FnMut() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match question() {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => dev_env::interrupt::pause(Duration::from_millis(100))?,
            Ok(response) => return Ok(response),
        }
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
        const FLEXIBLE: [(i16, i16); 2] = [(3, 12), (55, 0)];
        let mut request = Writer::default();
        request.i16(key).i16(version).i32(1).text("torture");
        if FLEXIBLE.contains(&(key, version)) {
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
