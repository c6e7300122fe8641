//! An ingest API and a topic of a test's own. Dropping it kills the program.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use dev_env::{
    install::Installation,
    kafka::{self, Kafka, admin},
    ports::Port,
    programs::{
        self, PARTITIONS, PLACEMENT_PARTITIONS, PLACEMENT_SETTINGS, Programs, QUARANTINE_PARTITIONS,
        QUARANTINE_SETTINGS, Running, TOPIC_SETTINGS, get,
    },
    workspace::Workspace,
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use schemas::{PartitionCount, Placement, placement};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::block_on;

pub struct Api {
    pub running: Running,
    programs: Programs,
    kafka: String,
    topic: String,
    /// That of the program is the first.
    directories: Vec<PathBuf>,
}

/// A record as a reader of the topic finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: Value,
    pub headers: Vec<(String, String)>,
}

impl Api {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With more settings.
    pub fn with(more: &[&str]) -> Self {
        Self::on(variable("TELEX_TEST_KAFKA"), more)
    }

    /// On a Kafka of its own.
    pub fn with_own_kafka(more: &[&str]) -> (Self, Kafka) {
        let installation = Installation::ensure(&Workspace::find().unwrap(), &|_| {}).unwrap();
        let directory = Workspace::find().unwrap().dev().join("it").join(format!("kafka-{:x}", random()));
        std::fs::create_dir_all(&directory).unwrap();
        let kafka = Kafka::start(&installation, kafka::Options::on_free_ports(&directory)).unwrap();
        let mut api = Self::on(kafka.bootstrap(), more);
        api.directories.push(directory);
        (api, kafka)
    }

    fn on(kafka: String, more: &[&str]) -> Self {
        let topic = format!("telex_test_{}", uuid::Uuid::from_u128(random()).simple());
        admin::create_topic(kafka.parse().unwrap(), &topic, PARTITIONS, &TOPIC_SETTINGS).unwrap();
        let directory = Workspace::find().unwrap().dev().join("it").join(&topic);
        std::fs::create_dir_all(&directory).unwrap();
        let programs = Programs {
            binaries: PathBuf::from(variable("TELEX_BIN_DIR")),
            kafka: kafka.clone(),
            database_url: String::new(),
            topic: topic.clone(),
        };
        let mut running = programs.ingest_api(&directory, "ingest-api", Port::Free, more).unwrap();
        running.wait_until_ready().unwrap();
        Self { running, programs, kafka, topic, directories: vec![directory] }
    }

    /// Starts the program again, on another port. It answers, and need not be ready.
    pub fn start_again(&mut self) {
        self.running = self.programs.ingest_api(&self.directories[0], "again", Port::Free, &[]).unwrap();
        let is_live = || get(self.running.admin, "/livez").is_some_and(|(status, _)| status == 200);
        wait_for("an answer", Duration::from_secs(30), is_live);
    }

    /// Says what processors say: over how many partitions they spread keys.
    pub fn tell(&self, partition_count: i32) {
        let topic = placement::topic_of(&self.topic);
        let broker = self.kafka.parse().unwrap();
        admin::create_topic(broker, &topic, PLACEMENT_PARTITIONS, &PLACEMENT_SETTINGS).unwrap();
        let partition_count = PartitionCount::new(partition_count).unwrap();
        let said = Placement { topic_ref: 1, topic_id: uuid::Uuid::nil(), partition_count };
        let (key, value) = (said.key(), said.encode());
        let record = BaseRecord::to(&topic).partition(0).key(&key).payload(&value);
        let producer: BaseProducer = self.client().create().unwrap();
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    /// A topic for what can never be a message, and the setting that names it.
    pub fn quarantine_topic() -> (String, String) {
        let topic = format!("telex_test_{}", uuid::Uuid::from_u128(random()).simple());
        let kafka = variable("TELEX_TEST_KAFKA").parse().unwrap();
        admin::create_topic(kafka, &topic, QUARANTINE_PARTITIONS, &QUARANTINE_SETTINGS).unwrap();
        let setting = format!("--quarantine-topic={topic}");
        (topic, setting)
    }

    /// Where a program lies.
    pub fn binary(&self, name: &str) -> PathBuf {
        PathBuf::from(variable("TELEX_BIN_DIR")).join(name)
    }

    /// Which topic of which Kafka it is about.
    pub fn kafka_arguments(&self) -> [String; 3] {
        [
            format!("--kafka-brokers={}", self.kafka),
            format!("--topic={}", self.topic),
            format!("--partition-count={PARTITIONS}"),
        ]
    }

    /// Posts a body; the answer's status and JSON.
    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let (status, body) = self.post_any(path, headers, body);
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Posts a body; the answer's status and text.
    pub fn post_any(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        programs::post(self.running.address.unwrap(), path, headers, body).unwrap()
    }

    pub fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post(path, "content-type: application/json\r\n", body.to_string().as_bytes())
    }

    /// How many requests are in flight.
    pub fn in_flight(&self) -> usize {
        let metrics = self.running.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix("ingest_requests_in_flight "));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Everything that the topic of messages holds, partition by partition.
    pub fn topic(&self) -> Vec<Found> {
        self.read(&self.topic)
    }

    /// Everything that a topic holds.
    pub fn read(&self, topic: &str) -> Vec<Found> {
        let consumer = self.consumer();
        let mut wanted = 0;
        let mut assignment = TopicPartitionList::new();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = watermarks(&consumer, topic, partition.id());
            assert_eq!(low, 0);
            wanted += usize::try_from(high).unwrap();
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut found = Vec::new();
        let started = Instant::now();
        while found.len() < wanted {
            assert!(started.elapsed() < Duration::from_secs(30), "{} of {wanted} records", found.len());
            if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                found.push(Found::read(&record.unwrap()));
            }
        }
        found.sort_by_key(|record| (record.partition, record.offset));
        found
    }

    /// Gives the topic these settings, and the defaults for all others.
    pub fn alter_topic(&self, settings: &[(&str, &str)]) {
        let resource = AlterConfig {
            specifier: ResourceSpecifier::Topic(&self.topic),
            entries: settings.iter().copied().collect(),
        };
        let admin = self.client().create::<AdminClient<DefaultClientContext>>().unwrap();
        let altered = block_on(admin.alter_configs([&resource], &AdminOptions::new())).unwrap();
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    }

    #[expect(clippy::disallowed_methods, reason = "a client that is not ours")]
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka);
        client
    }

    fn consumer(&self) -> BaseConsumer {
        self.client().set("group.id", "reader").set("enable.auto.commit", "false").create().unwrap()
    }
}

/// A new partition has no leader for a moment.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)) {
            Ok(watermarks) => return watermarks,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Found {
    fn read(record: &rdkafka::message::BorrowedMessage<'_>) -> Self {
        let headers = record.headers().unwrap().iter();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            partition: record.partition(),
            offset: record.offset(),
            key: text(record.key().unwrap()),
            value: serde_json::from_slice(record.payload().unwrap()).unwrap(),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // A failed test leaves its log to be read.
        if !std::thread::panicking() {
            for directory in &self.directories {
                std::fs::remove_dir_all(directory).ok();
            }
        }
    }
}

#[track_caller]
pub fn wait_for(what: &str, within: Duration, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What each task has made, in their order.
pub async fn join_all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let mut made = Vec::new();
    for task in tasks {
        made.push(task.await.unwrap());
    }
    made
}

pub fn message(client: &str, id: &str) -> Value {
    json!({
        "external_client_id": client,
        "client_phone": "+7 (000) 000-00-00",
        "external_message_id": id,
        "text": "Hello",
    })
}

/// Of the program.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[expect(clippy::disallowed_methods, reason = "the test's configuration")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by `make test`"))
}

fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(Instant::now()));
    (half() << 64) | half()
}
