//! The brokers of two clusters, each with a topic of the same name, and a chronicle of everything that was ever
//! appended. The first cluster's first topic is the registered one.

use std::collections::BTreeSet;

use processor::{
    domain::{
        position::{LogRange, Offset},
        record::RawRecord,
    },
    kafka::topic::TopicIdentity,
};
use schemas::{
    ClientId, Partition, PartitionCount, Timestamp,
    record::{DIALOG_CLOSE, header},
};
use uuid::Uuid;

/// A record's place in the chronicle.
pub type Serial = u64;

/// How many clients a partition has.
const CLIENTS: usize = 16;

/// A record that was appended once, and the one that stood before it in its log.
#[derive(Debug, Clone)]
pub struct Link {
    pub topic: Uuid,
    pub partition: Partition,
    pub offset: i64,
    pub after: Option<Serial>,
    client: ClientId,
    appended_at: Timestamp,
}

#[derive(Debug)]
pub struct Log {
    pub start: i64,
    /// What was appended at each offset; `None`: the end of a transaction.
    entries: Vec<Option<Serial>>,
    /// Where compaction has removed a record.
    holes: BTreeSet<i64>,
    pub has_leader: bool,
}

impl Log {
    pub fn end(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap()
    }

    pub fn range(&self) -> LogRange {
        LogRange { start: Offset(self.start), end: Offset(self.end()) }
    }

    /// The record at an offset, if it is in the log and no control record.
    pub fn record(&self, offset: i64) -> Option<Serial> {
        let is_here = offset >= self.start && !self.is_hole(offset);
        let index = usize::try_from(offset).ok().filter(|_| is_here)?;
        self.entries.get(index).copied().flatten()
    }

    pub fn is_hole(&self, offset: i64) -> bool {
        self.holes.contains(&offset)
    }

    /// The last record below an offset, whether retention and compaction have left it or not.
    pub fn before(&self, offset: i64) -> Option<Serial> {
        let end = usize::try_from(offset).unwrap().min(self.entries.len());
        self.entries[..end].iter().rev().copied().flatten().next()
    }
}

#[derive(Debug)]
pub struct Topic {
    pub identity: TopicIdentity,
    pub logs: Vec<Log>,
}

#[derive(Debug)]
pub struct Brokers {
    links: Vec<Link>,
    /// Of each partition; each has a few records, then the next one comes.
    clients: Vec<Vec<ClientId>>,
    controls: BTreeSet<(Uuid, Partition, i64)>,
    /// Where compaction has ever removed a record.
    holes: BTreeSet<(Uuid, Partition, i64)>,
    /// One for each cluster.
    pub topics: Vec<Topic>,
    pub registered: Uuid,
    created: u128,
    /// What has happened that may halt partitions.
    pub is_recreated: bool,
    pub is_foreign: bool,
    /// How far retention has moved the start of each log.
    starts: Vec<i64>,
    /// The lowest offset that an election has lost of each.
    lost_from: Vec<Option<i64>>,
}

impl Brokers {
    pub fn new(partitions: usize) -> Self {
        let ids = (0..).map(|number| ClientId::from_uuid(Uuid::from_u128(number)));
        let of = |at| ids.clone().filter(move |id| id.partition(count(partitions)) == partition(at));
        let mut brokers = Self {
            links: Vec::new(),
            clients: (0..partitions).map(|at| of(at).take(CLIENTS).collect()).collect(),
            controls: BTreeSet::new(),
            holes: BTreeSet::new(),
            topics: Vec::new(),
            registered: Uuid::from_u128(1),
            created: 0,
            is_recreated: false,
            is_foreign: false,
            starts: vec![0; partitions],
            lost_from: vec![None; partitions],
        };
        for cluster in ["here", "elsewhere"] {
            let topic = brokers.create(cluster, partitions);
            brokers.topics.push(topic);
        }
        brokers
    }

    fn create(&mut self, cluster: &str, partitions: usize) -> Topic {
        self.created += 1;
        let log = || Log { start: 0, entries: Vec::new(), holes: BTreeSet::new(), has_leader: true };
        Topic {
            identity: TopicIdentity {
                cluster_id: cluster.to_owned(),
                name: "telex.messages".to_owned(),
                topic_id: Uuid::from_u128(self.created),
                partition_count: count(partitions),
            },
            logs: (0..partitions).map(|_| log()).collect(),
        }
    }

    /// Deletes the first cluster's topic and creates one of the same name.
    pub fn recreate(&mut self) {
        let partitions = self.topics[0].logs.len();
        self.topics[0] = self.create("here", partitions);
        self.is_recreated = true;
    }

    pub fn append(&mut self, cluster: usize, index: usize, is_control: bool, at: i64) {
        let topic = &mut self.topics[cluster];
        let (id, log) = (topic.identity.topic_id, &mut topic.logs[index]);
        let (partition, offset) = (partition(index), log.end());
        if is_control {
            log.entries.push(None);
            self.controls.insert((id, partition, offset));
            return;
        }
        let (after, appended_at) = (log.before(offset), Timestamp::from_millis(at).unwrap());
        let client = self.clients[index][log.entries.len() / 4 % CLIENTS];
        log.entries.push(Some(u64::try_from(self.links.len()).unwrap()));
        self.links.push(Link { topic: id, partition, offset, after, client, appended_at });
    }

    /// Retention moves the start of a log.
    pub fn trim(&mut self, index: usize, start: i64) {
        let log = &mut self.topics[0].logs[index];
        // Of a log that has lost its end, retention could remove the only trace.
        if start > log.start && start <= log.end() && self.lost_from[index].is_none() {
            log.start = start;
            self.starts[index] = self.starts[index].max(start);
        }
    }

    /// Compaction removes a record that others follow: the last of a log stays.
    pub fn compact(&mut self, index: usize, offset: i64) {
        let topic = &mut self.topics[0];
        let log = &mut topic.logs[index];
        let is_followed = (offset + 1..log.end()).any(|later| log.record(later).is_some());
        if is_followed && log.record(offset).is_some() && self.lost_from[index].is_none() {
            log.holes.insert(offset);
            self.holes.insert((topic.identity.topic_id, partition(index), offset));
        }
    }

    /// An election that loses the end of a log, beginning with a record. Answers with its new end.
    ///
    /// Were it control records alone that are lost, and records that come in their place, no digest would tell. And
    /// without the record behind it nothing tells of a hole.
    pub fn truncate(&mut self, index: usize, lost: i64) -> Option<i64> {
        let log = &mut self.topics[0].logs[index];
        if !log.holes.is_empty() {
            return None;
        }
        let end = (log.end() - lost).max(log.start);
        log.record(end)?;
        log.entries.truncate(usize::try_from(end).unwrap());
        self.lost_from[index] = Some(self.lost_from[index].map_or(end, |from| from.min(end)));
        Some(end)
    }

    /// Whether retention has moved the start of a log that far.
    pub fn began_at(&self, index: usize, offset: i64) -> bool {
        self.starts[index] >= offset
    }

    /// Whether an election has lost what a log had at an offset.
    pub fn was_lost(&self, index: usize, offset: i64) -> bool {
        self.lost_from[index].is_some_and(|from| from <= offset)
    }

    pub fn link(&self, serial: Serial) -> &Link {
        &self.links[usize::try_from(serial).unwrap()]
    }

    pub fn is_control(&self, topic: Uuid, partition: Partition, offset: i64) -> bool {
        self.controls.contains(&(topic, partition, offset))
    }

    /// Whether compaction has removed a record of the registered topic between two offsets.
    pub fn is_holed(&self, partition: Partition, from: i64, to: i64) -> bool {
        let at = |offset: i64| (self.registered, partition, offset);
        from < to && self.holes.range(at(from)..at(to)).next().is_some()
    }

    /// A record as a consumer reads it.
    pub fn raw(&self, serial: Serial) -> RawRecord {
        let Link { partition, offset, client, appended_at, .. } = *self.link(serial);
        let key = client.key();
        let value = format!(r#"{{"client_id":"{client}","serial":{serial}}}"#);
        let headers = [(header::TYPE, DIALOG_CLOSE), (header::TIME, "2026-01-01T00:00:00Z")];
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        RawRecord::new(partition, Offset(offset), appended_at, key, value, headers)
    }
}

/// Which record it is.
pub fn serial(raw: &RawRecord) -> Serial {
    let value = std::str::from_utf8(raw.value().unwrap()).unwrap();
    let (_, serial) = value.trim_end_matches('}').rsplit_once(':').unwrap();
    serial.parse().unwrap()
}

/// That many partitions.
pub fn count(partitions: usize) -> PartitionCount {
    PartitionCount::new(i32::try_from(partitions).unwrap()).unwrap()
}

/// The partition at a place in a list of all.
pub fn partition(index: usize) -> Partition {
    Partition(i32::try_from(index).unwrap())
}

/// A partition's place in a list of all.
pub fn index(partition: Partition) -> usize {
    usize::try_from(partition.0).unwrap()
}
