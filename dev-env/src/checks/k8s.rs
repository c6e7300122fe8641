//! The manifests as kustomize builds them, held against the programs, against each other and against what the cluster
//! must be like (S26–S29).

mod network;
mod objects;
mod scaling;
mod wiring;
mod workloads;

use anyhow::Result;

use self::objects::Objects;
use super::Findings;
use super::files::Files;
use super::planted::Mistake;
use super::programs::Programs;
use super::yaml::{Look as _, document};

/// What is built, by kustomize, from these directories.
pub const BUILDS: [&str; 3] = ["k8s/overlays/prod", "k8s/overlays/dev", "k8s/loadtest"];
/// What is read besides.
pub const FILES: [&str; 2] = ["monitoring/prometheus/telex.rules.yml", "k8s/README.md"];

const PROD: &str = BUILDS[0];
const DEV: &str = BUILDS[1];
const LOAD: &str = BUILDS[2];

/// One for each rule, and more where a rule has arms.
pub const MISTAKES: &[Mistake] = &[
    (PROD, "enforce: restricted", "enforce: baseline", "restricted"),
    (PROD, "runAsNonRoot: true", "runAsNonRoot: false", "restricted"),
    (PROD, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "restricted"),
    (PROD, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "restricted"),
    (PROD, "            - ALL", "            - KILL", "restricted"),
    (PROD, "type: RuntimeDefault", "type: Unconfined", "restricted"),
    (
        PROD,
        "      automountServiceAccountToken: false",
        "      automountServiceAccountToken: true",
        "restricted",
    ),
    (LOAD, "            cpu: \"2\"", "            gpu: \"2\"", "resources"),
    (PROD, "telex/processor:0.1.0", "telex/processor:latest", "image-pinned"),
    (PROD, "telex/ingest-api:0.1.0", "telex/ingest:0.1.0", "image-program"),
    (PROD, "        - run\n", "        - runs\n", "command"),
    (PROD, "name: INGEST_DRAIN_DEADLINE_MS", "name: INGEST_DRAIN_MS", "command"),
    (PROD, "value: \"10000\"", "value: ten", "command"),
    (PROD, "sasl.mechanism=SCRAM", "acks=1", "command"),
    (PROD, "name: INGEST_PARTITION_COUNT", "name: INGEST_LINGER_MS", "command"),
    (LOAD, "--rate=2500", "--speed=2500", "command"),
    (LOAD, "$(SEED)", "$(NUMBER)", "command"),
    (PROD, "value: /etc/telex/database/dsn", "value: /etc/telex/database/url", "mounts"),
    (PROD, "/etc/telex/kafka-user/password", "/etc/telex/kafka-user/secret", "mounts"),
    (PROD, "mountPath: /etc/telex/producers", "mountPath: /etc/telex/who", "mounts"),
    (PROD, "secretName: telex-producers", "secretName: producers", "secrets"),
    (PROD, "secretName: telex-processor\n", "secretName: telex-worker\n", "secrets"),
    (PROD, "kind: ServiceMonitor", "kind: Secret", "secrets"),
    (PROD, "path: /readyz", "path: /ready", "probes"),
    (PROD, "startupProbe:", "startProbe:", "probes"),
    (PROD, "containerPort: 9102", "containerPort: 9101", "ports"),
    (PROD, "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 17", "grace"),
    (PROD, "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 8", "grace"),
    (PROD, "  minReadySeconds: 10", "  replicas: 2", "autoscaled"),
    (PROD, "topologySpreadConstraints:", "spread:", "spread"),
    (PROD, "kind: PodDisruptionBudget", "kind: Budget", "budget"),
    (PROD, "targetPort: http", "targetPort: https", "services"),
    (PROD, "path: /metrics\n    port: admin", "path: /metrics\n    port: metrics", "monitored"),
    (PROD, "telex/metrics: \"true\"", "telex/metrics: \"false\"", "monitored"),
    (PROD, "expr: max by (partition, reason)", "expr: min by (partition, reason)", "prometheus-rule"),
    (PROD, "strimzi.io/name: telex-entity-operator", "strimzi.io/name: entity-operator", "selectors"),
    (PROD, "maxReplicaCount: 12", "maxReplicaCount: 13", "partitions"),
    (PROD, "minReplicaCount: 2", "minReplicaCount: 0", "partitions"),
    (PROD, "consumerGroup: telex.processor", "consumerGroup: processor", "lag"),
    (PROD, "tls: enable", "tls: disable", "lag"),
    (PROD, "  partitions: 12", "  partitions: 6", "partitions"),
    (PROD, "min.insync.replicas: 2\n    retention", "min.insync.replicas: 1\n    retention", "topic"),
    (PROD, "retention.ms: 1209600000", "retention.ms: 3600000", "topic"),
    (DEV, "cleanup.policy: delete", "cleanup.policy: compact", "topic"),
    (PROD, "      - Write\n", "      - All\n", "acl"),
    (PROD, "      - Read\n", "      - Write\n", "acl"),
    (PROD, "value: verify-full", "value: require", "tls"),
    (PROD, "security.protocol=sasl_ssl", "security.protocol=sasl_plaintext", "tls"),
    (PROD, "  instances: 3", "  instances: 1", "production"),
    (PROD, "value: production", "value: development", "production"),
    (PROD, "  name: default-deny", "  name: allow", "network"),
    (PROD, "port: 5432", "port: 5433", "network"),
    (PROD, "kubernetes.io/metadata.name: traefik", "kubernetes.io/metadata.name: nginx", "network"),
    (
        PROD,
        "    - podSelector:\n        matchLabels:\n          app.kubernetes.io/name: loadtest\n",
        "    - podSelector: {}\n",
        "network",
    ),
    (PROD, "namespace: telex\n", "namespace: default\n", "namespace"),
];

/// Checks one overlay, together with the load test that may run beside it.
///
/// # Errors
/// A text is no YAML, or a program could not be run.
pub fn check(files: &Files, programs: &Programs) -> Result<Findings> {
    let mut findings = Findings::default();
    for build in [PROD, DEV] {
        let objects = Objects::parse(&[files.get(build), files.get(LOAD)])?;
        for object in objects.all() {
            let place = objects::place(object);
            let is_ours =
                object.text("/metadata/namespace") == "telex" || object.text("/kind") == "Namespace";
            findings.require(is_ours, "namespace", &place, "is in another namespace");
            findings.require(object.text("/kind") != "Secret", "secrets", &place, "holds a secret");
        }
        for workload in objects.workloads() {
            workloads::hardened(&mut findings, &workload);
            workloads::long_lived(&mut findings, &workload, &objects);
            workloads::program(&mut findings, &workload, &objects, programs)?;
            wiring::mounts(&mut findings, &workload, &objects, files.get(FILES[1]));
        }
        wiring::namespace(&mut findings, &objects);
        wiring::services(&mut findings, &objects);
        wiring::monitored(&mut findings, &objects, &document(files.get(FILES[0]))?);
        wiring::selectors(&mut findings, &objects);
        scaling::partitions(&mut findings, &objects);
        scaling::lag(&mut findings, &objects);
        scaling::topic(&mut findings, &objects, build == PROD);
        scaling::rights(&mut findings, &objects);
        network::flows(&mut findings, &objects);
    }
    let prod = Objects::parse(&[files.get(PROD)])?;
    scaling::production(&mut findings, &prod);
    Ok(findings)
}

/// The rules of Prometheus as an object for its operator.
#[must_use]
pub fn prometheus_rule(rules: &str) -> String {
    let mut object = "# Made from monitoring/prometheus/telex.rules.yml by `make k8s-rules`: change that file.\n\
                      apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: telex\nspec:\n"
        .to_owned();
    for line in rules.lines().filter(|line| !line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        object.extend([indent, line, "\n"]);
    }
    object
}
