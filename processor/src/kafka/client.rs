//! The only place where clients of Kafka are made, so that the settings that correctness rests on
//! cannot be forgotten: offsets come from PostgreSQL (no automatic commit, no automatic reset),
//! damaged records are noticed, topics are not made by accident.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, DefaultConsumerContext},
    error::KafkaResult,
    producer::{BaseProducer, ProducerContext},
};
use service_kit::kafka_settings::KafkaSettings;

use super::{context::Context, reading::DEBUG_CONTEXT};

/// How long a request to Kafka may take. Lower than librdkafka's 60 s, for which a frozen broker
/// would hold its partitions (R2).
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Where the topic is.
#[derive(Debug, Clone, clap::Args)]
pub struct KafkaConfig {
    /// Kafka's brokers, `host:port` separated by commas.
    #[arg(
        long = "kafka-brokers",
        env = "PROCESSOR_KAFKA_BROKERS",
        default_value = "127.0.0.1:9092",
        global = true
    )]
    pub brokers: String,
    /// File that says how to reach and trust the brokers: librdkafka's settings, as `name=value` lines.
    #[arg(long = "kafka-config-file", env = "PROCESSOR_KAFKA_CONFIG_FILE", value_parser = KafkaSettings::load, global = true)]
    pub connection: Option<KafkaSettings>,
    /// The topic with the messages.
    #[arg(long, env = "PROCESSOR_TOPIC", default_value = "telex.messages", global = true)]
    pub topic: String,
}

impl KafkaConfig {
    /// Whom the brokers take us for, for people.
    pub fn user(&self) -> String {
        KafkaSettings::user(self.connection.as_ref())
    }

    /// The file with the authorities that the brokers' certificates are checked by, if it is named.
    pub fn authority_file(&self) -> Option<PathBuf> {
        let mut settings = self.connection.iter().flat_map(KafkaSettings::iter);
        let (_, path) = settings.find(|(name, _)| *name == "ssl.ca.location")?;
        Some(PathBuf::from(path))
    }
}

/// How the members of the consumer group agree on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupProtocol {
    /// One of the members decides (cooperative-sticky).
    Classic,
    /// The brokers decide (KIP-848, Kafka 4.0 and later), and set the session timeout.
    Consumer,
}

/// What the consumer holds in memory, and whose group it joins.
#[derive(Debug, Clone, clap::Args)]
pub struct ConsumerConfig {
    /// The consumer group.
    #[arg(long, env = "PROCESSOR_GROUP", default_value = "telex.processor")]
    pub group: String,
    /// Records that the Kafka client holds in memory ahead of the lanes, in KiB.
    #[arg(long, env = "PROCESSOR_PREFETCH_KIB_MAX", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1_024..=1_048_576))]
    pub prefetch_kib_max: u32,
    /// How the members of the consumer group agree on who reads what. A group can change its protocol only
    /// while it is empty.
    #[arg(long, env = "PROCESSOR_GROUP_PROTOCOL", value_enum, default_value = "classic")]
    pub group_protocol: GroupProtocol,
    /// How long the consumer group waits for a silent processor before its partitions go to others, in
    /// milliseconds. With the protocol `consumer`, the brokers set it (group.consumer.session.timeout.ms).
    #[arg(long, env = "PROCESSOR_SESSION_TIMEOUT_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(6_000..=300_000))]
    pub session_timeout_ms: u32,
}

/// The consumer that is a member of the group.
pub fn group_consumer(
    kafka: &KafkaConfig,
    consumer: &ConsumerConfig,
    context: Context,
) -> KafkaResult<BaseConsumer<Context>> {
    let mut config = base(kafka);
    match consumer.group_protocol {
        GroupProtocol::Classic => config
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", consumer.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (consumer.session_timeout_ms / 5).to_string()),
        // librdkafka refuses these settings here: they are the brokers' (pitfalls 16).
        GroupProtocol::Consumer => config.set("group.protocol", "consumer"),
    };
    config
        .set("group.id", &consumer.group)
        // A topic that got more partitions is noticed this soon.
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("queued.max.messages.kbytes", consumer.prefetch_kib_max.to_string())
        .set("queued.min.messages", "20000")
        .set("fetch.queue.backoff.ms", "50")
        // The broker answers a fetch at once as long as anything is there, however little: under a load of
        // single messages that was a fetch for each of them (docs/performance.md).
        .set("fetch.min.bytes", "32768")
        .set("fetch.wait.max.ms", "10")
        .set("statistics.interval.ms", "1000")
        // Says when the topic gets another id (`reading`).
        .set("debug", DEBUG_CONTEXT)
        .set_log_level(RDKafkaLogLevel::Debug)
        // Tells the end of what may be read, which may lie behind the last record (`continuity`).
        .set("enable.partition.eof", "true")
        .create_with_context(context)
}

/// A consumer outside of any group, for reading given places of the topic.
pub fn reader(kafka: &KafkaConfig) -> KafkaResult<BaseConsumer<DefaultConsumerContext>> {
    // librdkafka assigns only with a group id; nobody joins this group, nothing is committed to it.
    base(kafka).set("group.id", "telex.reader").set("fetch.wait.max.ms", "50").create()
}

/// A consumer outside of any group to which a log ends at its high watermark, open transactions or not.
pub fn observer(kafka: &KafkaConfig) -> KafkaResult<BaseConsumer<DefaultConsumerContext>> {
    base(kafka).set("isolation.level", "read_uncommitted").create()
}

/// A consumer outside of any group, for reading much of the topic: large fetches, at most 16 MiB ahead.
pub fn scanner(kafka: &KafkaConfig) -> KafkaResult<BaseConsumer<DefaultConsumerContext>> {
    base(kafka)
        // As above.
        .set("group.id", "telex.reader")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.message.max.bytes", "4194304")
        // When the reader has caught up with what was fetched ahead, a second is a long time.
        .set("fetch.queue.backoff.ms", "5")
        // The last offsets of a log may have no record.
        .set("enable.partition.eof", "true")
        .create()
}

/// A client that asks about topics and settings.
pub fn admin(kafka: &KafkaConfig) -> KafkaResult<AdminClient<DefaultClientContext>> {
    config(kafka).create()
}

/// The producer of what a person replays, and of placements.
pub fn producer<C: ProducerContext>(
    kafka: &KafkaConfig,
    delivery_deadline: Duration,
    context: C,
) -> KafkaResult<BaseProducer<C>> {
    let mut config = config(kafka);
    config
        .set("client.id", "telex-replay")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", delivery_deadline.as_millis().to_string())
        .set("linger.ms", "0")
        .set("allow.auto.create.topics", "false")
        .create_with_context(context)
}

/// The version of this program and of the Kafka client in it, with what that was built with: codecs, TLS, SASL.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let built_with = plain().create_native_config().and_then(|config| config.get("builtin.features"));
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let (version, built_with) = (env!("CARGO_PKG_VERSION"), built_with.unwrap_or_default());
    format!("{version}\nlibrdkafka {librdkafka}, built with {built_with}")
});

fn base(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = config(kafka);
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    config
}

#[expect(clippy::disallowed_methods, reason = "the one constructor of this crate")]
fn plain() -> ClientConfig {
    ClientConfig::new()
}

fn config(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = plain();
    // First, so that what is set below and by the callers stands in any case.
    let connection = kafka.connection.iter().flat_map(KafkaSettings::iter);
    config.extend(connection.map(|(name, value)| (name.to_owned(), value.to_owned())));
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", "telex-processor")
        .set("socket.timeout.ms", REQUEST_DEADLINE.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true");
    config
}
