//! Partitions, pods, and who may do what with the topic.

use dev_env::programs::{
    PLACEMENT, PLACEMENT_PARTITIONS, PLACEMENT_SETTINGS, QUARANTINE, QUARANTINE_SETTINGS, TOPIC,
};
use serde_json::Value;

use super::objects::{Objects, place};
use crate::Findings;
use crate::yaml::Look as _;

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The value of a variable of a workload.
fn variable(objects: &Objects, workload: &str, name: &str) -> String {
    let workload = objects.workloads().into_iter().find(|it| it.name() == workload);
    workload.and_then(|it| it.variables().remove(name)).unwrap_or_default()
}

/// No more processors than partitions, no keys beyond them, and never none.
pub fn partitions(findings: &mut Findings, objects: &Objects) {
    let partitions = objects.get("KafkaTopic", TOPIC).number("/spec/partitions").unwrap_or(0);
    let spread = variable(objects, "ingest-api", "INGEST_PARTITION_COUNT");
    let holds = spread.parse::<i64>().is_ok_and(|spread| spread <= partitions);
    let problem = format!("keys go to {spread} of {partitions} partitions");
    findings.require(holds, "partitions", "ingest-api", problem);
    let replayed = variable(objects, "operator-hooks", "INGEST_PARTITION_COUNT");
    let problem = format!("replays to {replayed} partitions where the API writes to {spread}");
    findings.require(replayed == spread, "partitions", "operator-hooks", problem);
    for scaled in objects.of("ScaledObject") {
        let (least, most) = (scaled.number("/spec/minReplicaCount"), scaled.number("/spec/maxReplicaCount"));
        let at_most = most.is_some_and(|most| most <= partitions);
        let problem = format!("{most:?} pods for {partitions} partitions");
        findings.require(at_most, "partitions", &place(scaled), problem);
        let problem = "may go to none";
        findings.require(least.is_some_and(|least| least >= 1), "partitions", &place(scaled), problem);
        let target = objects.get("Deployment", &scaled.text("/spec/scaleTargetRef/name"));
        findings.require(!target.is_null(), "partitions", &place(scaled), "scales nothing");
    }
}

/// KEDA asks Prometheus for what the processors know to be behind, of this namespace, halted partitions aside; and no answer
/// is not taken for nothing to do: `ignoreNullValues` is true where it is left out (KEDA 2.17.0,
/// pkg/scalers/prometheus_scaler.go), and `fallback.behavior` is known since that version.
pub fn lag(findings: &mut Findings, objects: &Objects) {
    for scaled in objects.of("ScaledObject") {
        let mut require =
            |holds: bool, problem: &str| findings.require(holds, "lag", &place(scaled), problem);
        let trigger = scaled.at("/spec/triggers/0");
        require(scaled.list("/spec/triggers").len() == 1, "has not exactly one trigger");
        require(trigger.text("/type") == "prometheus", "does not ask Prometheus");
        let problem = "takes the absence of every series for no lag";
        require(trigger.text("/metadata/ignoreNullValues") == "false", problem);
        let query = trigger.text("/metadata/query");
        for part in [
            "processor_lag_records{namespace=\"telex\"}",
            "processor_partition_halted{namespace=\"telex\"}",
            "max by (partition)",
        ] {
            require(query.contains(part), &format!("its query lacks {part}"));
        }
        let behavior = scaled.text("/spec/fallback/behavior");
        require(behavior == "currentReplicasIfHigher", "takes pods away while nobody answers");
    }
}

/// The topics are those that the programs use: that of messages with the settings that `processor run` asks for, the
/// others with those that they are made with everywhere.
pub fn topics(findings: &mut Findings, objects: &Objects, is_production: bool) {
    for (name, workload, setting) in [
        (TOPIC, "ingest-api", "INGEST_TOPIC"),
        (TOPIC, "processor", "PROCESSOR_TOPIC"),
        (TOPIC, "operator-hooks", "INGEST_TOPIC"),
        (QUARANTINE, "ingest-api", "INGEST_QUARANTINE_TOPIC"),
        (QUARANTINE, "operator-hooks", "INGEST_QUARANTINE_TOPIC"),
        (QUARANTINE, "operator", "PROCESSOR_QUARANTINE_TOPIC"),
    ] {
        let used = variable(objects, workload, setting);
        findings.require(used == name, "topic", workload, format!("uses {used}, the topic is {name}"));
    }
    for name in [TOPIC, QUARANTINE, PLACEMENT] {
        let found = objects.get("KafkaTopic", name);
        if name != PLACEMENT {
            holds_messages(findings, found);
        }
        if is_production {
            is_kept(findings, found);
        }
    }
    for (topic, settings) in [(QUARANTINE, &QUARANTINE_SETTINGS[..]), (PLACEMENT, &PLACEMENT_SETTINGS[..])] {
        let found = objects.get("KafkaTopic", topic);
        for (name, value) in settings {
            let is_set = setting(found, name) == *value;
            findings.require(is_set, "topic", topic, format!("{name} must be {value}"));
        }
    }
    let partitions = objects.get("KafkaTopic", PLACEMENT).number("/spec/partitions");
    let is_one = partitions == Some(PLACEMENT_PARTITIONS.into());
    findings.require(is_one, "topic", PLACEMENT, "has not exactly one partition");
    let by_size = setting(objects.get("KafkaTopic", TOPIC), "retention.bytes");
    findings.require(by_size == "-1", "topic", TOPIC, "retention.bytes must be -1");
}

fn setting(topic: &Value, name: &str) -> String {
    let config = topic.at("/spec/config").as_object();
    config.and_then(|it| it.get(name)).map(|it| it.text("")).unwrap_or_default()
}

fn number(topic: &Value, name: &str) -> i64 {
    setting(topic, name).parse().unwrap_or(0)
}

/// What is sent is kept for a while, in the order in which it came.
fn holds_messages(findings: &mut Findings, topic: &Value) {
    let value = |name: &str| setting(topic, name);
    let mut require = |holds: bool, problem: &str| findings.require(holds, "topic", &place(topic), problem);
    require(value("cleanup.policy") == "delete", "cleanup.policy must be delete");
    let problem = "message.timestamp.type must be LogAppendTime";
    require(value("message.timestamp.type") == "LogAppendTime", problem);
    require(number(topic, "retention.ms") >= WEEK_MS, "retention.ms must be a week at least");
}

/// No machine alone can lose it.
fn is_kept(findings: &mut Findings, topic: &Value) {
    let mut require = |holds: bool, problem: &str| findings.require(holds, "topic", &place(topic), problem);
    require(number(topic, "min.insync.replicas") >= 2, "min.insync.replicas must be 2 at least");
    let problem = "unclean elections must be off";
    require(setting(topic, "unclean.leader.election.enable") == "false", problem);
    require(topic.number("/spec/replicas").is_some_and(|it| it >= 3), "replicas must be 3 at least");
}

/// Who may do this to a topic at the most: the API cannot read messages, the processor cannot write them and has no part in
/// the quarantine. Whether each can do its work with what it has is tried (processor/tests/it/kafka_users.rs).
fn at_most(operation: &str, topic: &str) -> &'static [&'static str] {
    match (operation, topic) {
        ("Read", TOPIC) => &["telex-data", "telex-operator", "telex-processor"],
        ("Write", TOPIC) => &["telex-ingest-api", "telex-operator"],
        ("Alter", TOPIC) => &["telex-operator"],
        ("Read", QUARANTINE) => &["telex-operator"],
        ("Write", QUARANTINE) => &["telex-ingest-api"],
        ("Read", PLACEMENT) => &["telex-ingest-api", "telex-operator"],
        ("Write", PLACEMENT) => &["telex-operator", "telex-processor"],
        _ => &[],
    }
}

/// Least rights at the brokers (S19).
pub fn rights(findings: &mut Findings, objects: &Objects) {
    for user in objects.of("KafkaUser") {
        let name = user.text("/metadata/name");
        let is_scram = user.text("/spec/authentication/type") == "scram-sha-512";
        findings.require(is_scram, "acl", &place(user), "shows no password");
        for acl in user.list("/spec/authorization/acls") {
            let (kind, resource) = (acl.text("/resource/type"), acl.text("/resource/name"));
            // A member of that group takes partitions away from the processors.
            let is_theirs =
                kind != "group" || name == "telex-processor" || !"telex.processor".starts_with(&resource);
            findings.require(is_theirs, "acl", &place(user), "may join the processors' group");
            for operation in acl.texts("/operations") {
                let may = match (kind.as_str(), operation.as_str()) {
                    ("group", "Read") | ("topic", "Describe" | "DescribeConfigs") => true,
                    ("topic", _) => at_most(&operation, &resource).contains(&name.as_str()),
                    _ => false,
                };
                findings.require(may, "acl", &place(user), format!("may {operation} the {kind} {resource}"));
            }
        }
    }
}

/// What only production has to have: more than one of everything that holds data.
pub fn production(findings: &mut Findings, objects: &Objects) {
    let mut require =
        |holds: bool, place: &str, problem: &str| findings.require(holds, "production", place, problem);
    let at_least = |kind: &str, pointer: &str, least: i64| {
        objects.of(kind).next().and_then(|it| it.number(pointer)).is_some_and(|it| it >= least)
    };
    require(at_least("Cluster", "/spec/instances", 2), "Cluster", "has no replica");
    require(at_least("KafkaNodePool", "/spec/replicas", 3), "KafkaNodePool", "needs three brokers");
    let pool = objects.of("KafkaNodePool").next().map(|it| it.at("/spec/template/pod").clone());
    let pool = pool.unwrap_or_default();
    // Strimzi spreads its pods only where it is asked to (1.2.0, KafkaPool.java `templatePod`).
    let is_apart = pool.list("/topologySpreadConstraints").iter().any(|it| {
        it.text("/topologyKey") == "kubernetes.io/hostname"
            && it.text("/whenUnsatisfiable") == "DoNotSchedule"
    });
    require(is_apart, "KafkaNodePool", "may put two brokers on one node");
    let affinity = objects.of("Cluster").next().map(|it| it.at("/spec/affinity").clone()).unwrap_or_default();
    let is_apart = affinity.text("/topologyKey") == "kubernetes.io/hostname"
        && affinity.text("/podAntiAffinityType") == "required";
    require(is_apart, "Cluster", "may put two instances on one node");
}

/// What production asks of the programs, whoever runs the servers: more than one API, and nobody let in unasked.
pub fn guarded(findings: &mut Findings, objects: &Objects) {
    let mut require =
        |holds: bool, place: &str, problem: &str| findings.require(holds, "production", place, problem);
    let least = objects.of("HorizontalPodAutoscaler").next().and_then(|it| it.number("/spec/minReplicas"));
    require(least.is_some_and(|least| least >= 2), "ingest-api", "may be one pod");
    let profile = variable(objects, "processor", "PROCESSOR_TOPIC_PROFILE");
    require(profile == "production", "processor", "takes an unsafe topic");
    let open = variable(objects, "ingest-api", "INGEST_INSECURE_DEVELOPMENT_MODE");
    require(open.is_empty(), "ingest-api", "takes messages from anybody");
}
