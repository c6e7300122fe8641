//! The ingest API's settings. The doc comment of a field is its help.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use schemas::PartitionCount;
use service_kit::{
    Problems,
    kafka_settings::KafkaSettings,
    settings::{micros, millis},
    spans::SpanConfig,
    telemetry::LogConfig,
};

use crate::{access_log::Which, tls::TlsConfig};

/// The default limits on bodies: part of the contract with producers.
pub const BODY_BYTES_MAX: u32 = 64 * 1024;
pub const BATCH_BYTES_MAX: u32 = 1024 * 1024;

/// A balancer that keeps idle connections for longer than an hour keeps them forever.
const IDLE_MAX: Duration = Duration::from_secs(3_600);

/// A sender that waits longer for an answer is rare; one that gives up earlier sends again.
const ACK_DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Every request may wait for that long before anybody looks at it.
const COALESCE_MAX: Duration = Duration::from_millis(5);

/// Takes webhooks over HTTP and writes them to a Kafka topic.
#[derive(Debug, Clone, Parser)]
#[command(version, long_version = crate::kafka_client::VERSION.as_str())]
#[command(after_help = "ingest-api hooks --help shows the commands about providers' webhooks")]
pub struct Config {
    /// Address that producers send webhooks to.
    #[arg(long, env = "INGEST_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address that serves probes and metrics.
    #[arg(long, env = "INGEST_ADMIN_LISTEN", default_value = "127.0.0.1:9101")]
    pub admin_listen: SocketAddr,
    /// Ask the ingest API on this machine whether it is ready, then exit: with 0 if it is, with 1 if not.
    #[arg(long)]
    pub health: bool,
    /// TOML file that says who may send. It is read again when it changes.
    #[arg(long, env = "INGEST_PRODUCERS_FILE")]
    pub producers_file: Option<PathBuf>,
    /// The URL at which providers reach this service, without a path: `https://telex.example`. Some providers sign it.
    #[arg(long, env = "INGEST_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Accept messages from anyone, without credentials. For development machines only.
    #[arg(long, env = "INGEST_INSECURE_DEVELOPMENT_MODE")]
    pub insecure_development_mode: bool,
    #[command(flatten)]
    pub tls: TlsConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub limits: Limits,
    /// Number of threads that serve connections. Without it there is one for each core that the process may use.
    #[arg(long, env = "INGEST_SHARDS", value_parser = clap::value_parser!(u8).range(1..))]
    pub shards: Option<u8>,
    /// How long such a thread, once it has nothing to do, waits for more requests before it looks for them, in
    /// microseconds. It waits only while they come more often than that; 0 switches it off.
    #[arg(long = "coalesce-us", env = "INGEST_COALESCE_US", value_parser = micros, default_value = "300")]
    pub coalesce: Duration,
    #[command(flatten)]
    pub spans: SpanConfig,
    #[command(flatten)]
    pub log: LogConfig,
    /// Which requests get a line in the log: those that are not answered 2xx, one in a thousand of the others too, or
    /// all. Except for all, a second has 42 lines at most, 2 of them about strangers.
    #[arg(long, env = "INGEST_ACCESS_LOG", value_enum, default_value = "errors")]
    pub access_log: Which,
}

/// Where records go.
#[derive(Debug, Clone, clap::Args)]
pub struct KafkaConfig {
    /// Kafka's brokers, `host:port` separated by commas.
    #[arg(long = "kafka-brokers", env = "INGEST_KAFKA_BROKERS")]
    pub brokers: String,
    /// File that says how to reach and trust the brokers: librdkafka's settings, as `name=value` lines.
    #[arg(long = "kafka-config-file", env = "INGEST_KAFKA_CONFIG_FILE", value_parser = KafkaSettings::load)]
    pub connection: Option<KafkaSettings>,
    /// The topic.
    #[arg(long, env = "INGEST_TOPIC", default_value = "telex.messages")]
    pub topic: String,
    /// The topic of items that hooks could not make into messages.
    #[arg(long, env = "INGEST_QUARANTINE_TOPIC", default_value = "telex.quarantine")]
    pub quarantine_topic: String,
    /// Number of partitions over which keys are spread. If the processors say another one, the ingest API ends.
    #[arg(long, env = "INGEST_PARTITION_COUNT")]
    pub partition_count: PartitionCount,
    /// How long the Kafka client tries to deliver a record, in milliseconds.
    #[arg(long = "message-timeout-ms", env = "INGEST_MESSAGE_TIMEOUT_MS", value_parser = millis, default_value = "8000")]
    pub message_timeout: Duration,
    /// How long a request to a broker may take, in milliseconds.
    #[arg(long = "socket-timeout-ms", env = "INGEST_SOCKET_TIMEOUT_MS", value_parser = millis, default_value = "6000")]
    pub socket_timeout: Duration,
    /// How long a record waits for others to be sent with it, in milliseconds.
    #[arg(long = "linger-ms", env = "INGEST_LINGER_MS", value_parser = millis, default_value = "5")]
    pub linger: Duration,
}

impl KafkaConfig {
    /// What is wrong where the brokers take no message of this user, for people.
    pub fn lacks_write(&self) -> String {
        format!("{} lacks Write on topic {}", KafkaSettings::user(self.connection.as_ref()), self.topic)
    }
}

/// How much at once, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// Maximum bytes of a message, as a body of its own and as an item of a batch.
    #[arg(long, env = "INGEST_BODY_BYTES_MAX", default_value_t = BODY_BYTES_MAX)]
    pub body_bytes_max: u32,
    /// Maximum bytes of a batch.
    #[arg(long, env = "INGEST_BATCH_BYTES_MAX", default_value_t = BATCH_BYTES_MAX)]
    pub batch_bytes_max: u32,
    /// Maximum number of open connections.
    #[arg(long, env = "INGEST_CONNECTIONS_MAX", default_value_t = 10_000)]
    pub connections_max: u32,
    /// Maximum number of requests in flight, counted from when their producer is known until Kafka's answer.
    #[arg(long, env = "INGEST_REQUESTS_IN_FLIGHT_MAX", default_value_t = 10_000)]
    pub requests_in_flight_max: u32,
    /// Maximum bytes of bodies in flight.
    #[arg(long, env = "INGEST_BYTES_IN_FLIGHT_MAX", default_value_t = 64 * 1024 * 1024)]
    pub bytes_in_flight_max: u32,
    /// Maximum number of signed requests whose body has not arrived yet, so that nobody knows who sends them.
    /// One more, and the oldest is refused.
    #[arg(long, env = "INGEST_UNPROVEN_REQUESTS_MAX", default_value_t = 1_000)]
    pub unproven_requests_max: u32,
    /// Maximum bytes of the bodies of these requests.
    #[arg(long, env = "INGEST_UNPROVEN_BYTES_MAX", default_value_t = 16 * 1024 * 1024)]
    pub unproven_bytes_max: u32,
    /// How long a request waits for Kafka's acknowledgement, in milliseconds. Keep it below the shortest time
    /// after which a producer gives up.
    #[arg(long = "ack-deadline-ms", env = "INGEST_ACK_DEADLINE_MS", value_parser = millis, default_value = "9000")]
    pub ack_deadline: Duration,
    /// How long a request's head may take, in milliseconds.
    #[arg(long = "header-deadline-ms", env = "INGEST_HEADER_DEADLINE_MS", value_parser = millis, default_value = "5000")]
    pub header_deadline: Duration,
    /// How long a request's body may take, in milliseconds.
    #[arg(long = "body-deadline-ms", env = "INGEST_BODY_DEADLINE_MS", value_parser = millis, default_value = "10000")]
    pub body_deadline: Duration,
    /// How long a connection may be idle between requests, in milliseconds. Set it longer than a balancer in
    /// front keeps its connections: 60 s for AWS and nginx, 600 s for Google.
    #[arg(long = "idle-deadline-ms", env = "INGEST_IDLE_DEADLINE_MS", value_parser = millis, default_value = "620000")]
    pub idle_deadline: Duration,
    /// How long requests in flight may take once the process is asked to stop, in milliseconds.
    #[arg(long = "drain-deadline-ms", env = "INGEST_DRAIN_DEADLINE_MS", value_parser = millis, default_value = "10000")]
    pub drain_deadline: Duration,
}

impl Config {
    /// How many threads serve connections. A container that may use two of a machine's cores gets two.
    pub fn shards(&self) -> u8 {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.shards.unwrap_or_else(|| u8::try_from(cores()).unwrap_or(u8::MAX))
    }

    /// Everything that is wrong with the settings, for a person to put right at once.
    pub fn problems(&self) -> Problems {
        let Self { kafka, limits, .. } = self;
        let mut problems = Problems::default();
        let mut require = |holds: bool, rule: &str| problems.require(holds, rule);
        require(
            self.insecure_development_mode != self.producers_file.is_some(),
            "set either --producers-file or, to accept messages from anyone, --insecure-development-mode",
        );
        require(!kafka.brokers.trim().is_empty(), "--kafka-brokers must name a broker");
        require(!kafka.topic.is_empty(), "--topic must not be empty");
        require(
            !kafka.quarantine_topic.is_empty() && kafka.quarantine_topic != kafka.topic,
            "--quarantine-topic must name a topic of its own",
        );
        require(
            self.public_url.as_deref().is_none_or(is_origin),
            "--public-url must be https:// and a host, without a path",
        );
        require(
            kafka.socket_timeout <= kafka.message_timeout && kafka.message_timeout < limits.ack_deadline,
            "--socket-timeout-ms <= --message-timeout-ms < --ack-deadline-ms must hold: the answer follows the delivery report",
        );
        require(self.coalesce <= COALESCE_MAX, "--coalesce-us must be 5000 at most");
        require(limits.ack_deadline <= ACK_DEADLINE_MAX, "--ack-deadline-ms must be 60000 at most");
        require(
            (1..=512 * 1024).contains(&limits.body_bytes_max),
            "--body-bytes-max must be from 1 to 524288: a record has to fit into the topic",
        );
        require(
            (limits.body_bytes_max..=16 * 1024 * 1024).contains(&limits.batch_bytes_max),
            "--batch-bytes-max must be from --body-bytes-max to 16777216",
        );
        require(
            limits.bytes_in_flight_max / 2 >= limits.batch_bytes_max,
            "--bytes-in-flight-max must hold a batch at least twice: as it is sent, and decoded",
        );
        require(
            limits.unproven_bytes_max >= limits.batch_bytes_max && limits.unproven_requests_max > 0,
            "--unproven-bytes-max must hold a batch, and --unproven-requests-max must be 1 at least",
        );
        require(limits.connections_max > 0, "--connections-max must be 1 at least");
        require(limits.requests_in_flight_max > 0, "--requests-in-flight-max must be 1 at least");
        require(
            [limits.header_deadline, limits.body_deadline, limits.idle_deadline]
                .iter()
                .all(|time| !time.is_zero()),
            "deadlines must be 1 ms at least",
        );
        require(limits.idle_deadline <= IDLE_MAX, "--idle-deadline-ms must be 3600000 at most");
        problems
    }
}

/// A scheme and a host, perhaps with a port.
fn is_origin(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: [&str; 5] = ["ingest-api", "--kafka-brokers", "k:9092", "--partition-count", "12"];

    fn parse(more: &[&str]) -> Config {
        Config::parse_from(REQUIRED.iter().chain(more))
    }

    #[test]
    fn the_defaults_hold_but_credentials_have_to_be_given_up_by_name() {
        assert_eq!(parse(&["--insecure-development-mode"]).problems(), Problems::default());
        let problems = parse(&[]).problems().0;
        assert_eq!(problems.len(), 1);
        assert!(
            problems.iter().all(|problem| problem.contains("--insecure-development-mode")),
            "{problems:?}"
        );
    }

    #[test]
    fn the_page_of_settings_lists_them() {
        use clap::CommandFactory as _;
        let document = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md"));
        let table = service_kit::reference::settings(&Config::command());
        service_kit::reference::check(document, "settings of ingest-api", &table).unwrap();
    }

    #[test]
    fn there_is_a_shard_for_each_core_unless_a_number_is_said() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(usize::from(parse(&[]).shards()), cores.min(255));
        assert_eq!(parse(&["--shards", "3"]).shards(), 3);
        let required = REQUIRED.iter().copied();
        assert!(Config::try_parse_from(required.chain(["--shards", "0"])).is_err());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = parse(&["--ack-deadline-ms", "100", "--body-bytes-max", "0", "--topic", ""]);
        assert_eq!(config.problems().0.len(), 4);
    }

    #[test]
    fn the_kafka_client_has_given_up_before_a_request_does() {
        let count = |message_timeout: &str| {
            let config = parse(&["--ack-deadline-ms=9000", "--message-timeout-ms", message_timeout]);
            config.problems().0.iter().filter(|problem| problem.contains("--message-timeout-ms")).count()
        };
        assert_eq!((count("8999"), count("9000")), (0, 1));
    }

    #[test]
    fn a_public_url_is_where_the_service_is_and_no_page_of_it() {
        for (url, fits) in [
            ("https://telex.example", true),
            ("http://10.0.0.7:8080", true),
            ("https://telex.example/", false),
            ("https://telex.example/v1/hooks/whatsapp", false),
            ("telex.example", false),
            ("https://", false),
        ] {
            let config = parse(&["--insecure-development-mode", "--public-url", url]);
            assert_eq!(config.problems().0.is_empty(), fits, "{url}");
        }
    }

    #[test]
    fn a_connection_may_be_idle_for_an_hour_and_is_by_default_for_longer_than_balancers_keep_it() {
        let problems =
            |value: &str| parse(&["--insecure-development-mode", "--idle-deadline-ms", value]).problems().0;
        assert_eq!(problems("3600000"), Vec::<String>::new());
        assert_eq!(problems("3600001"), ["--idle-deadline-ms must be 3600000 at most"]);
        assert_eq!(problems("0"), ["deadlines must be 1 ms at least"]);
        assert!(parse(&[]).limits.idle_deadline > Duration::from_secs(600));
    }
}
