//! Kafka over TLS with a password, and what happens with a wrong one (S18).

use std::{path::PathBuf, time::Duration};

use dev_env::{
    kafka::{
        Secure,
        admin::{self, Operation, Resource},
    },
    ports::Port,
    programs::get,
};
use processor::kafka::{client::KafkaConfig, placement::Announcer};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use schemas::{PartitionCount, Placement, placement::topic_of};

use crate::harness::{OwnServers, Telex, keep, message, metric, post, wait_for};

const USER: &str = "telex";
pub const PASSWORD: &str = "correct-horse-battery-staple";

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What the broker shows: a key and a certificate for this name.
pub fn identity(authority: &Authority, name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    key.serialize_pem() + &params.signed_by(&key, authority).unwrap().pem() + &authority.pem()
}

/// On brokers that are reached over TLS and show a certificate for this name.
fn behind_tls(authority: &Authority, name: &str) -> (Telex, OwnServers) {
    let secure = Secure {
        identity_pem: identity(authority, name),
        users: vec![(USER.to_owned(), PASSWORD.to_owned())],
        is_open: true,
    };
    let (mut telex, servers) = Telex::with_own_kafka(Some(secure));
    telex.programs.kafka = servers.kafka.secure_bootstrap().unwrap();
    (telex, servers)
}

/// A settings file with this authority and password; the option that names it.
fn settings(telex: &Telex, name: &str, authority: &Authority, password: &str) -> String {
    settings_of(telex, name, authority, (USER, password))
}

/// The same of any user.
pub fn settings_of(
    telex: &Telex,
    name: &str,
    authority: &Authority,
    (user, password): (&str, &str),
) -> String {
    let path = |suffix: &str| -> PathBuf { telex.directory.join(format!("{name}.{suffix}")) };
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    std::fs::write(path("password"), format!("{password}\n")).unwrap();
    let text = format!(
        "security.protocol=sasl_ssl\nssl.ca.location={}\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.username={user}\nsasl.password.file={}\n",
        path("ca.pem").display(),
        path("password").display()
    );
    std::fs::write(path("properties"), text).unwrap();
    format!("--kafka-config-file={}", path("properties").display())
}

#[test]
fn both_services_reach_kafka_over_tls_with_a_password_and_not_with_a_wrong_one_or_another_authority() {
    let authority = authority();
    let (telex, _servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let mut api = telex.programs.ingest_api(&telex.directory, "api", Port::Free, &[&right]).unwrap();
    api.wait_until_ready().unwrap();
    let group = format!("--group={}", telex.programs.topic);
    let processor = telex.programs.processor(&telex.directory, "processor", &[&group, &right]).unwrap();
    keep(&api, &message("client", "over-tls", "Hello"));
    telex.programs.require_processor(&["progress", "wait", "--timeout-seconds=60", &right]).unwrap();
    telex.programs.require_processor(&["prove", "--json", &right]).unwrap();
    assert_eq!(telex.messages(), 1);
    assert!(processor.server.is_running());
    let ends = metric(&processor, "processor_authority_expiration_timestamp_seconds{server=\"kafka\"}");
    assert!(ends.is_some_and(|at| at > 4_000_000_000), "rcgen's certificates end in the year 4096: {ends:?}");

    let stranger = self::authority();
    for (name, options, said) in [
        ("password", settings(&telex, "password", &authority, "wrong-password"), "SASL authentication error"),
        ("authority", settings(&telex, "authority", &stranger, PASSWORD), "certificate verify failed"),
    ] {
        let api = telex.programs.ingest_api(&telex.directory, name, Port::Free, &[&options]).unwrap();
        wait_for("a word about the reason", Duration::from_secs(30), || api.server.log_text().contains(said));
        assert_eq!(get(api.admin, "/readyz").map(|(status, _)| status), Some(503), "{name}");
        let log = api.server.log_text();
        assert!(!log.contains("wrong-password") && !log.contains(PASSWORD), "{log}");
    }
}

#[test]
fn a_broker_whose_certificate_names_another_host_is_not_trusted() {
    let authority = authority();
    let (telex, _servers) = behind_tls(&authority, "kafka.example");
    let options = settings(&telex, "right", &authority, PASSWORD);
    let api = telex.programs.ingest_api(&telex.directory, "api", Port::Free, &[&options]).unwrap();
    wait_for("a word about the reason", Duration::from_secs(30), || {
        api.server.log_text().contains("certificate verify failed")
    });
    assert_eq!(get(api.admin, "/readyz").map(|(status, _)| status), Some(503));
}

#[test]
fn a_right_on_the_topic_that_is_missing_is_named_by_the_dry_run_as_by_the_command() {
    let authority = authority();
    let (telex, servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let run = |command: &[&str], mode: &str| {
        telex.programs.run_processor(&[command, &[mode, right.as_str()]].concat()).unwrap()
    };
    let allow = |operations: &[Operation]| {
        let topic = Resource::Topic(&telex.programs.topic);
        admin::allow(servers.kafka.address(), USER, topic, operations).unwrap();
    };
    // As the processor's own user.
    allow(&[Operation::Read, Operation::Describe, Operation::DescribeConfigs]);
    assert!(run(&["partitions", "register", "--count=12"], "--yes").status.success());

    let grow = ["partitions", "grow", "--to=24"];
    let replay = ["dead-letters", "replay", "--reason=wrong_partition"];
    for (command, lacks) in [(&grow[..], "Alter"), (&replay[..], "Write")] {
        let expected =
            format!("the user {USER} of Kafka lacks {lacks} on topic {}; nothing was", telex.programs.topic);
        for mode in ["--dry-run", "--yes"] {
            let output = run(command, mode);
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success() && said.matches(&expected).count() == 1, "{mode}: {said}");
        }
    }
    allow(&[Operation::Alter, Operation::Write]);
    wait_for("the rights", Duration::from_secs(30), || {
        [&grow[..], &replay[..]].into_iter().all(|command| run(command, "--dry-run").status.success())
    });
    assert_eq!(telex.number("select coalesce(known_partitions, 0)::bigint from topics"), 0);
}

#[test]
fn an_api_that_may_not_read_what_processors_say_believes_its_setting_and_says_so() {
    let authority = authority();
    let (telex, servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let topic = telex.programs.topic.clone();
    let allow = |user: &str, operation: Operation| {
        let placement = topic_of(&topic);
        admin::allow(servers.kafka.address(), user, Resource::Topic(&placement), &[operation]).unwrap();
    };
    // From now on it is nobody else's.
    allow("somebody", Operation::Read);
    let by_the_other_way =
        KafkaConfig { brokers: servers.kafka.bootstrap(), connection: None, topic: topic.clone() };
    let partition_count = PartitionCount::new(24).unwrap();
    let said = Placement { topic_ref: 1, topic_id: uuid::Uuid::nil(), partition_count };
    Announcer::new(&by_the_other_way).announce(said).unwrap();

    let believes = |name: &str| {
        let mut api = telex.programs.ingest_api(&telex.directory, name, Port::Free, &[&right]).unwrap();
        api.wait_until_ready().unwrap();
        keep(&api, &message("client", name, "Hello"));
        let log = api.server.log_text();
        assert!(log.contains("the brokers do not let this user read"), "{log}");
    };
    believes("unseen");
    // As a right to write to all topics that begin with a name: the topic can be seen, its records cannot.
    allow(USER, Operation::Write);
    believes("unread");
}

/// As where an operator has made the user, and has not given it its rights yet.
#[test]
fn an_api_that_may_write_no_topic_names_the_right_and_ends_and_started_again_with_it_takes_messages() {
    let authority = authority();
    let (telex, servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let topic = telex.programs.topic.clone();
    let allow = |user: &str, resource: Resource<'_>, operations: &[Operation]| {
        admin::allow(servers.kafka.address(), user, resource, operations).unwrap();
    };
    // Of every topic and of the cluster somebody else has one: from now on a right is needed.
    allow("somebody", Resource::Topic("*"), &[Operation::Write]);
    allow("somebody", Resource::Cluster, &[Operation::IdempotentWrite]);
    allow(USER, Resource::Topic(&topic), &[Operation::Describe, Operation::DescribeConfigs]);
    let start =
        |name: &str| telex.programs.ingest_api(&telex.directory, name, Port::Free, &[&right]).unwrap();

    let mut without = start("without");
    wait_for("its end", Duration::from_secs(60), || !without.server.is_running());
    let status = without.server.wait().unwrap();
    let log = without.server.log_text();
    assert_eq!(status.code(), Some(1), "{log}");
    let named = format!("the user {USER} of Kafka lacks Write on topic {topic} (ClusterAuthorizationFailed)");
    assert_eq!(log.matches(&named).count(), 1, "{log}");
    assert!(log.contains("started again with this right") && !log.contains(PASSWORD), "{log}");

    allow(USER, Resource::Topic(&topic), &[Operation::Write]);
    let mut with = start("with");
    with.wait_until_ready().unwrap();
    keep(&with, &message("client", "allowed", "Hello"));
}

/// As where it may write another topic, or somebody has taken the right away while it serves.
#[test]
fn an_api_that_may_not_write_its_topic_answers_503_and_names_the_right_until_it_has_it() {
    let authority = authority();
    let (telex, servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let topic = telex.programs.topic.clone();
    let allow = |user: &str, operations: &[Operation]| {
        admin::allow(servers.kafka.address(), user, Resource::Topic(&topic), operations).unwrap();
    };
    allow("somebody", &[Operation::Write]);
    allow(USER, &[Operation::Describe, Operation::DescribeConfigs]);
    let mut api = telex.programs.ingest_api(&telex.directory, "api", Port::Free, &[&right]).unwrap();
    api.wait_until_ready().unwrap();
    let address = api.address.unwrap();
    let send = || post(address, &message("client", "forbidden", "Hello")).0;
    assert_eq!(send(), 503);
    let named = format!("the user {USER} of Kafka lacks Write on topic {topic}");
    wait_for("the missing right", Duration::from_secs(30), || api.server.log_text().contains(&named));
    wait_for("the alert's metric", Duration::from_secs(30), || {
        metric(&api, "ingest_kafka_reachable") == Some(0)
    });
    assert_eq!(api.server.log_text().matches(&named).count(), 1, "once, not at every look");

    allow(USER, &[Operation::Write]);
    wait_for("the message", Duration::from_secs(60), || send() == 202);
    wait_for("the alert's end", Duration::from_secs(30), || {
        metric(&api, "ingest_kafka_reachable") == Some(1)
    });
}

#[test]
fn a_processor_that_may_not_read_names_each_right_and_goes_on_as_it_gets_them() {
    let authority = authority();
    let (telex, servers) = behind_tls(&authority, "127.0.0.1");
    let right = settings(&telex, "right", &authority, PASSWORD);
    let topic = telex.programs.topic.clone();
    let allow = |user: &str, operations: &[Operation]| {
        admin::allow(servers.kafka.address(), user, Resource::Topic(&topic), operations).unwrap();
    };
    allow("somebody", &[Operation::Read]);
    // Without it the settings of the topic count as unsafe, which ends a processor that starts.
    allow(USER, &[Operation::DescribeConfigs]);
    let group = format!("--group={topic}");
    let processor = telex.programs.processor(&telex.directory, "processor", &[&group, &right]).unwrap();
    let names = |right: &str| {
        let named = format!("the user {USER} of Kafka lacks {right} on topic {topic}");
        wait_for("the missing right", Duration::from_secs(60), || {
            processor.server.log_text().contains(&named)
        });
    };
    names("Describe");
    allow(USER, &[Operation::Describe]);
    names("Read");
    allow(USER, &[Operation::Read, Operation::Write]);
    let mut api = telex.programs.ingest_api(&telex.directory, "api", Port::Free, &[&right]).unwrap();
    api.wait_until_ready().unwrap();
    keep(&api, &message("client", "allowed", "Hello"));
    telex.programs.require_processor(&["progress", "wait", "--timeout-seconds=60", &right]).unwrap();
    assert_eq!(telex.messages(), 1);
    assert!(processor.server.is_running());
}
