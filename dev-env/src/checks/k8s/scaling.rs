//! Partitions, pods, and who may do what with the topic.

use super::objects::{Objects, place};
use crate::checks::Findings;
use crate::checks::yaml::Look as _;

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The value of a variable of a workload.
fn variable(objects: &Objects, workload: &str, name: &str) -> String {
    let workload = objects.workloads().into_iter().find(|it| it.name() == workload);
    let variables = workload.map(|it| it.variables()).unwrap_or_default();
    variables.into_iter().find(|(each, _)| each == name).map(|(_, value)| value).unwrap_or_default()
}

/// No more processors than partitions, no keys beyond them, and never none.
pub fn partitions(findings: &mut Findings, objects: &Objects) {
    let partitions =
        objects.of("KafkaTopic").next().and_then(|it| it.number("/spec/partitions")).unwrap_or(0);
    let spread = variable(objects, "ingest-api", "INGEST_PARTITION_COUNT");
    let holds = spread.parse::<i64>().is_ok_and(|spread| spread <= partitions);
    findings.require(
        holds,
        "partitions",
        "ingest-api",
        format!("keys go to {spread} of {partitions} partitions"),
    );
    for scaled in objects.of("ScaledObject") {
        let (least, most) = (scaled.number("/spec/minReplicaCount"), scaled.number("/spec/maxReplicaCount"));
        let at_most = most.is_some_and(|most| most <= partitions);
        findings.require(
            at_most,
            "partitions",
            &place(scaled),
            format!("{most:?} pods for {partitions} partitions"),
        );
        findings.require(
            least.is_some_and(|least| least >= 1),
            "partitions",
            &place(scaled),
            "may go to none",
        );
        let target = objects.get("Deployment", &scaled.text("/spec/scaleTargetRef/name"));
        findings.require(!target.is_null(), "partitions", &place(scaled), "scales nothing");
    }
}

/// KEDA looks at the group and topic that the processors use, over TLS.
pub fn lag(findings: &mut Findings, objects: &Objects) {
    let kafka = objects.of("Kafka").next().map(|it| it.text("/metadata/name")).unwrap_or_default();
    for scaled in objects.of("ScaledObject") {
        let trigger = scaled.at("/spec/triggers/0");
        let expected = [
            ("consumerGroup", variable(objects, "processor", "PROCESSOR_GROUP")),
            ("topic", variable(objects, "processor", "PROCESSOR_TOPIC")),
            ("bootstrapServers", format!("{kafka}-kafka-bootstrap.telex.svc:9093")),
            ("tls", "enable".to_owned()),
            ("sasl", "scram_sha512".to_owned()),
            ("scaleToZeroOnInvalidOffset", "false".to_owned()),
            ("allowIdleConsumers", "false".to_owned()),
        ];
        for (name, value) in expected {
            let found = trigger.text(&format!("/metadata/{name}"));
            findings.require(
                found == value,
                "lag",
                &place(scaled),
                format!("{name} is {found}, must be {value}"),
            );
        }
        let authentication = objects.get("TriggerAuthentication", &trigger.text("/authenticationRef/name"));
        for reference in authentication.list("/spec/secretTargetRef") {
            let secret = reference.text("/name");
            let is_made = objects.of("KafkaUser").any(|it| it.text("/metadata/name") == secret)
                || secret == format!("{kafka}-cluster-ca-cert");
            findings.require(
                is_made,
                "lag",
                &place(authentication),
                format!("nobody makes the Secret {secret}"),
            );
        }
        findings.require(!authentication.is_null(), "lag", &place(scaled), "shows no credential");
    }
}

/// The topic is the one that both programs use, with the settings that `processor run` asks for.
pub fn topic(findings: &mut Findings, objects: &Objects, is_production: bool) {
    let Some(topic) = objects.of("KafkaTopic").next() else {
        findings.note("topic", "k8s", "there is no topic");
        return;
    };
    let name = topic.text("/metadata/name");
    for (workload, setting) in [("ingest-api", "INGEST_TOPIC"), ("processor", "PROCESSOR_TOPIC")] {
        let used = variable(objects, workload, setting);
        findings.require(used == name, "topic", workload, format!("uses {used}, the topic is {name}"));
    }
    let config = topic.at("/spec/config").as_object();
    let value = |name: &str| config.and_then(|it| it.get(name)).map(|it| it.text("")).unwrap_or_default();
    let number = |name: &str| value(name).parse::<i64>().unwrap_or(0);
    let mut require = |holds: bool, problem: &str| findings.require(holds, "topic", &place(topic), problem);
    require(value("cleanup.policy") == "delete", "cleanup.policy must be delete");
    require(
        value("message.timestamp.type") == "LogAppendTime",
        "message.timestamp.type must be LogAppendTime",
    );
    require(number("retention.ms") >= WEEK_MS, "retention.ms must be a week at least");
    require(value("retention.bytes") == "-1", "retention.bytes must be -1");
    if is_production {
        require(number("min.insync.replicas") >= 2, "min.insync.replicas must be 2 at least");
        require(value("unclean.leader.election.enable") == "false", "unclean elections must be off");
        require(topic.number("/spec/replicas").is_some_and(|it| it >= 3), "replicas must be 3 at least");
    }
}

/// What a user of Kafka may do with a kind of resource, and has to be able to.
fn allowed(user: &str, kind: &str) -> &'static [&'static str] {
    match (user, kind) {
        ("telex-ingest-api", "topic") => &["Describe", "DescribeConfigs", "Write"],
        ("telex-processor", "topic") => &["Describe", "DescribeConfigs", "Read"],
        ("telex-processor", "group") => &["Read"],
        ("telex-lag", "topic" | "group") => &["Describe"],
        _ => &[],
    }
}

/// Least rights at the brokers (S19).
pub fn rights(findings: &mut Findings, objects: &Objects) {
    let topic = ["Describe", "DescribeConfigs", "Read", "Write"];
    for user in objects.of("KafkaUser") {
        let name = user.text("/metadata/name");
        let is_scram = user.text("/spec/authentication/type") == "scram-sha-512";
        findings.require(is_scram, "acl", &place(user), "shows no password");
        let mut held = Vec::new();
        for acl in user.list("/spec/authorization/acls") {
            let kind = acl.text("/resource/type");
            for operation in acl.texts("/operations") {
                let may = allowed(&name, &kind).contains(&operation.as_str());
                findings.require(may, "acl", &place(user), format!("may {operation} the {kind}"));
                held.push((kind.clone(), operation));
            }
        }
        for operation in topic.iter().filter(|it| allowed(&name, "topic").contains(it)) {
            let has = held.contains(&("topic".to_owned(), (*operation).to_owned()));
            findings.require(has, "acl", &place(user), format!("may not {operation} the topic"));
        }
    }
}

/// What only production has to have: more than one of everything that holds data, and nobody let in unasked.
pub fn production(findings: &mut Findings, objects: &Objects) {
    let mut require =
        |holds: bool, place: &str, problem: &str| findings.require(holds, "production", place, problem);
    let at_least = |kind: &str, pointer: &str, least: i64| {
        objects.of(kind).next().and_then(|it| it.number(pointer)).is_some_and(|it| it >= least)
    };
    require(at_least("Cluster", "/spec/instances", 2), "Cluster", "has no replica");
    require(at_least("KafkaNodePool", "/spec/replicas", 3), "KafkaNodePool", "needs three brokers");
    require(at_least("HorizontalPodAutoscaler", "/spec/minReplicas", 2), "ingest-api", "may be one pod");
    let profile = variable(objects, "processor", "PROCESSOR_TOPIC_PROFILE");
    require(profile == "production", "processor", "takes an unsafe topic");
    let open = variable(objects, "ingest-api", "INGEST_INSECURE_DEVELOPMENT_MODE");
    require(open.is_empty(), "ingest-api", "takes messages from anybody");
}
