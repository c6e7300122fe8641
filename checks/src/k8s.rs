//! The manifests as kustomize builds them, held against the programs, against each other and against what the cluster
//! must be like (S26–S29), where no API server would notice: what one does, `cluster` asks it.

mod beside;
mod commands;
mod network;
mod objects;
mod scaling;
mod wiring;
mod workloads;

use anyhow::Result;

use self::objects::Objects;
use crate::Findings;
use crate::files::Files;
use crate::planted::Mistake;
use crate::yaml::{Look as _, document};

pub const PROD: &str = "k8s/overlays/prod";
const OPERATORS: &str = "k8s/overlays/operators";
pub const DEV: &str = "k8s/overlays/dev";
const OWN: &str = "k8s/overlays/own-servers";
const OUTSIDE: &str = "k8s/overlays/prod-readers-outside";
pub const LOAD: &str = "k8s/loadtest/prod";
const LOAD_OPERATORS: &str = "k8s/loadtest/operators";
pub const LOAD_DEV: &str = "k8s/loadtest/dev";
const PROGRAMS: &str = "k8s/overlays/prod/programs";
/// What is built, by kustomize, from these directories.
pub const BUILDS: [&str; 9] = [PROD, OPERATORS, DEV, OWN, OUTSIDE, LOAD, LOAD_OPERATORS, LOAD_DEV, PROGRAMS];

/// The files that are read, beside what is built and the documents.
pub const FILES: [&str; 5] = [
    "monitoring/prometheus/telex.rules.yml",
    "monitoring/prometheus/platform.rules.yml",
    "migrations/roles/create.sql",
    "k8s/components/strimzi/topic.yaml",
    "docker-compose.yml",
];

/// Where the rules of Prometheus are written for its operator, by the name of the object.
pub const RULES: [(&str, &str, &str); 2] = [
    ("telex", FILES[0], "k8s/components/prometheus-operator/prometheus-rule.yaml"),
    ("telex-platform", FILES[1], "k8s/components/prometheus-operator/platform-rule.yaml"),
];
/// The roles as they are, and where CloudNativePG reads them.
pub const ROLES: (&str, &str) = (FILES[2], "k8s/components/postgres-roles/roles.sql");

/// Names every Secret that a person makes.
const GUIDE: &str = "docs/kubernetes.md";

/// The topics, for whoever makes them in a Kafka of their own.
const TOPICS: &str = FILES[3];
/// Its servers are those of the overlay that has no operators.
const COMPOSE: &str = FILES[4];

/// One for each rule, and more where a rule has arms.
pub const MISTAKES: &[Mistake] = &[
    (PROD, "enforce: restricted", "enforce: baseline", "restricted"),
    (PROD, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "restricted"),
    (PROD, "  automountServiceAccountToken: false", "  automountServiceAccountToken: true", "restricted"),
    (LOAD, "            cpu: \"2\"", "            gpu: \"2\"", "resources"),
    (PROD, "telex/processor:0.1.0", "telex/processor:latest", "image-pinned"),
    (PROD, "telex/ingest-api:0.1.0", "telex/ingest:0.1.0", "image-program"),
    (PROD, "registry.example/telex/processor", "telex/processor", "image-registry"),
    (PROD, "        - run\n", "        - runs\n", "command"),
    (PROD, "name: INGEST_DRAIN_DEADLINE_MS", "name: INGEST_DRAIN_MS", "command"),
    (PROD, "value: \"10000\"", "value: ten", "command"),
    (PROD, "sasl.mechanism=SCRAM", "acks=1", "command"),
    (PROD, "name: INGEST_PARTITION_COUNT", "name: INGEST_LINGER_MS", "command"),
    (PROD, "name: INGEST_QUARANTINE_TOPIC", "name: INGEST_TOPIC", "command"),
    (LOAD, "--rate=2500", "--speed=2500", "command"),
    (LOAD, "$(SEED)", "$(NUMBER)", "command"),
    (LOAD, "value: /etc/telex/producer/loadtest.secret", "value: /etc/telex/producer/secret", "mounts"),
    (LOAD, "secretName: telex-postgres-reader", "secretName: telex-reader", "secrets"),
    (LOAD, "telex/to-postgres: \"true\"", "telex/to-postgres: \"false\"", "network"),
    (LOAD_OPERATORS, "value: verify-full", "value: require", "tls"),
    (LOAD_OPERATORS, "        - name: PGSSLMODE\n          value: verify-full\n", "", "tls"),
    (LOAD_DEV, "value: disable", "value: prefer", "tls"),
    (PROD, "value: /etc/telex/database/dsn", "value: /etc/telex/database/url", "mounts"),
    (PROD, "/etc/telex/kafka-user/password", "/etc/telex/kafka-user/secret", "mounts"),
    (PROD, "mountPath: /etc/telex/producers", "mountPath: /etc/telex/who", "mounts"),
    (PROD, "secretName: telex-producers", "secretName: producers", "secrets"),
    (PROD, "secretName: telex-processor\n", "secretName: telex-worker\n", "secrets"),
    (PROD, "mountPath: /scratch", "mountPath: /tmp", "scratch"),
    (PROD, "sizeLimit: 20Gi", "medium: Memory", "scratch"),
    (PROD, "name: PROCESSOR_PROVE_DIRECTORY", "name: PROCESSOR_PROVE_JOBS", "scratch"),
    (PROD, "set statement_timeout = '5s'", "set statement_timeout = '50s'", "roles"),
    (PROD, "kind: ServiceMonitor", "kind: Secret", "secrets"),
    (PROD, "path: /readyz", "path: /ready", "probes"),
    (PROD, "startupProbe:", "startProbe:", "probes"),
    (PROD, "containerPort: 9102", "containerPort: 9101", "ports"),
    (PROD, "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 17", "grace"),
    (PROD, "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 8", "grace"),
    (PROD, "  minReadySeconds: 10", "  replicas: 2", "autoscaled"),
    (PROD, "      topologySpreadConstraints:", "      spread:", "spread"),
    (PROD, "        maxSkew: 1\n        nodeTaintsPolicy: Honor\n", "        maxSkew: 1\n", "spread"),
    (PROD, "kind: PodDisruptionBudget", "kind: Budget", "budget"),
    (PROD, "targetPort: http", "targetPort: https", "services"),
    (PROD, "path: /metrics\n    port: admin", "path: /metrics\n    port: metrics", "monitored"),
    (PROD, "telex/metrics: \"true\"", "telex/metrics: \"false\"", "monitored"),
    (PROD, "alert: TelexPartitionHalted\n", "alert: TelexHalted\n", "prometheus-rule"),
    (PROD, "strimzi.io/name: telex-entity-operator", "strimzi.io/name: entity-operator", "selectors"),
    (PROD, "maxReplicaCount: 12", "maxReplicaCount: 13", "partitions"),
    (PROD, "minReplicaCount: 2", "minReplicaCount: 0", "partitions"),
    (PROD, "ignoreNullValues: \"false\"", "ignoreNullValues: \"true\"", "lag"),
    (PROD, "processor_partition_halted{namespace", "processor_partition_halted{name", "lag"),
    (PROD, "behavior: currentReplicasIfHigher", "behavior: static", "lag"),
    (PROD, "  partitions: 12", "  partitions: 6", "partitions"),
    (PROD, "COUNT\n              value: \"12\"", "COUNT\n              value: \"6\"", "partitions"),
    (PROD, "min.insync.replicas: 2\n    retention", "min.insync.replicas: 1\n    retention", "topic"),
    (PROD, "retention.ms: 1209600000", "retention.ms: 3600000", "topic"),
    (OPERATORS, "cleanup.policy: delete", "cleanup.policy: compact", "topic"),
    (DEV, "cleanup.policy=delete", "cleanup.policy=compact", "topic"),
    (DEV, "--partitions=12", "--partitions=6", "partitions"),
    (DEV, "docker.io/apache/kafka:4.2.1", "docker.io/apache/kafka:4.1.0", "image-compose"),
    (DEV, "security.protocol=plaintext", "security.protocol=sasl_ssl", "tls"),
    (DEV, "  replicas: 1\n", "", "autoscaled"),
    (OWN, "minReplicas: 3", "minReplicas: 1", "production"),
    (OWN, "cidr: 192.0.2.0/25", "cidr: 0.0.0.0/0", "network"),
    (OUTSIDE, "cidr: 198.51.100.0/24", "cidr: 0.0.0.0/0", "network"),
    (PROD, "name: telex.quarantine\n  namespace", "name: quarantine\n  namespace", "topic"),
    (PROD, "QUARANTINE_TOPIC\n          value: telex.", "QUARANTINE_TOPIC\n          value: ", "topic"),
    (PROD, "name: telex.messages.placement\n  namespace", "name: telex.placement\n  namespace", "topic"),
    (PROD, "cleanup.policy: compact", "cleanup.policy: delete", "topic"),
    (PROD, "min.insync.replicas: 2\n    segment", "min.insync.replicas: 1\n    segment", "topic"),
    (DEV, "cleanup.policy=compact", "cleanup.policy=delete", "topic"),
    (DEV, "--partitions=1\n", "--partitions=3\n", "topic"),
    (PROD, "retention.ms: 2592000000", "retention.ms: 604800000", "topic"),
    (PROD, "max.message.bytes: 2097152", "max.message.bytes: 1048588", "topic"),
    (PROD, "      - Write\n", "      - All\n", "acl"),
    (PROD, "      - Read\n", "      - Write\n", "acl"),
    (PROD, "name: data-team.", "name: telex", "acl"),
    (PROD, "        name: telex.messages.placement\n", "        name: telex.messages\n", "acl"),
    (PROD, "value: verify-full", "value: require", "tls"),
    (PROD, "security.protocol=sasl_ssl", "security.protocol=sasl_plaintext", "tls"),
    (PROD, "  instances: 3", "  instances: 1", "production"),
    (PROD, "podAntiAffinityType: required", "podAntiAffinityType: preferred", "production"),
    (PROD, "value: production", "value: development", "production"),
    (PROD, "  name: default-deny", "  name: allow", "network"),
    (PROD, "port: 5432", "port: 5433", "network"),
    (PROD, "        telex/to-kafka: \"true\"\n", "", "network"),
    (PROD, BROKERS_LEAVE, BROKERS_STAY, "network"),
    (PROD, "          telex/reader: \"true\"", "          telex/writer: \"true\"", "network"),
    (PROD, "cidr: 169.254.20.10/32", "cidr: 0.0.0.0/0", "network"),
    (PROD, "kubernetes.io/metadata.name: traefik", "kubernetes.io/metadata.name: nginx", "network"),
    (PROD, "kubernetes.io/metadata.name: traefik", "kubernetes.io/metadata.name: nginx", "namespaces"),
    (PROD, "kubernetes.io/metadata.name: monitoring", "kubernetes.io/metadata.name: metrics", "namespaces"),
    (PROD, "prometheus-operated.monitoring.svc", "prometheus-operated.metrics.svc", "namespaces"),
    (
        PROD,
        "    - podSelector:\n        matchLabels:\n          app.kubernetes.io/name: loadtest\n",
        "    - podSelector: {}\n",
        "network",
    ),
    (PROD, "namespace: telex\n", "namespace: default\n", "namespace"),
    (PROGRAMS, "kind: HorizontalPodAutoscaler", "kind: KafkaTopic", "halves"),
    (PROD, "port: tcp-prometheus", "port: metrics", "monitored"),
    ("docs/scaling.md", "partitions grow --to 24 --yes", "partitions grow --by 24 --yes", "documented"),
    ("docs/scaling.md", "partitions grow --to 24 --yes", "partitions grow --to 24", "documented"),
    ("docs/scaling.md", "k8s/operate partitions switch", IN_THE_POD, "documented"),
    ("docs/runbooks.md", "k8s/operate halts resume", "k8s/operate halts go", "documented"),
    ("docs/upgrades.md", "progress wait --timeout-seconds", "progress wait --seconds", "documented"),
    (
        "docs/runbooks.md",
        "ingest-api hooks replay --hook NAME --yes",
        "ingest-api hooks play --yes",
        "documented",
    ),
    (
        "docs/runbooks.md",
        "compose run --rm operator halts list",
        "compose run -T operator halts list",
        "documented",
    ),
    (
        "README.md",
        "target/release/ingest-api hooks check",
        "target/release/ingest-api hooks try",
        "documented",
    ),
];

/// What a broker reads its certificates over: without it none ever starts.
const BROKERS_LEAVE: &str = "    - port: 9090\n    - port: 9091\n    to:\n    - podSelector:\n        matchLabels:\n          strimzi.io/name: telex-kafka\n  - ports:\n    - port: 443\n    - port: 6443\n";
const BROKERS_STAY: &str = "    - port: 9090\n    - port: 9091\n    to:\n    - podSelector:\n        matchLabels:\n          strimzi.io/name: telex-kafka\n  - ports:\n    - port: 444\n    - port: 6444\n";
const IN_THE_POD: &str = "kubectl exec deploy/processor -- /usr/local/bin/processor partitions switch";

/// Checks each overlay, together with the load test that may run beside it. Where one text is broken, only what is checked
/// of that text.
pub fn check(files: &Files, broken: Option<&str>) -> Result<Findings> {
    let mut findings = Findings::default();
    let is_read = |text: &str| broken.is_none_or(|broken| broken == text);
    for build in [PROD, OPERATORS, DEV, OWN, OUTSIDE] {
        if is_read(build) || is_read(beside(build)) {
            overlay(&mut findings, build, files)?;
        }
    }
    if is_read(PROD) {
        scaling::production(&mut findings, &Objects::parse(&[files.get(PROD)])?);
    }
    if is_read(PROGRAMS) {
        wiring::stores_nothing(&mut findings, &Objects::parse(&[files.get(PROGRAMS)])?);
    }
    if broken.is_none_or(|broken| broken.ends_with(".md")) {
        commands::documented(&mut findings, &Objects::parse(&[files.get(PROD)])?, files)?;
    }
    Ok(findings)
}

/// The load test for an overlay.
fn beside(build: &str) -> &'static str {
    match build {
        DEV => LOAD_DEV,
        OPERATORS => LOAD_OPERATORS,
        _ => LOAD,
    }
}

fn overlay(findings: &mut Findings, build: &str, files: &Files) -> Result<()> {
    let objects = Objects::parse(&[files.get(build), files.get(beside(build))])?;
    for object in objects.all() {
        let place = objects::place(object);
        let is_ours = object.text("/metadata/namespace") == "telex" || object.text("/kind") == "Namespace";
        findings.require(is_ours, "namespace", &place, "is in another namespace");
        findings.require(object.text("/kind") != "Secret", "secrets", &place, "holds a secret");
    }
    for workload in objects.workloads() {
        workloads::hardened(findings, &workload);
        if workload.is_server() {
            workloads::server(findings, &workload, files.get(COMPOSE));
        } else {
            workloads::long_lived(findings, &workload, &objects);
            workloads::program(findings, &workload, &objects, build == DEV)?;
            wiring::mounts(findings, &workload, &objects, files.get(GUIDE));
            wiring::scratch(findings, &workload);
        }
    }
    wiring::namespace(findings, &objects);
    wiring::services(findings, &objects);
    if build != DEV {
        let rules = RULES.iter().map(|(name, file, _)| Ok((*name, document(files.get(file))?)));
        wiring::monitored(findings, &objects, &rules.collect::<Result<Vec<_>>>()?);
    }
    wiring::roles(findings, &objects, files.get(ROLES.0));
    wiring::selectors(findings, &objects);
    let described =
        (build == OWN).then(|| Objects::parse(&[files.get(build), files.get(TOPICS)])).transpose()?;
    let with_topics = described.as_ref().unwrap_or(&objects);
    let is_production = ![OPERATORS, DEV].contains(&build);
    scaling::partitions(findings, with_topics);
    scaling::lag(findings, &objects);
    scaling::topics(findings, with_topics, is_production);
    scaling::rights(findings, &objects);
    network::flows(findings, &objects);
    if is_production {
        scaling::guarded(findings, &objects);
    }
    Ok(())
}

/// The rules of Prometheus in a file as an object of this name for its operator.
pub fn prometheus_rule(name: &str, file: &str, rules: &str) -> String {
    let mut object = format!(
        "# Made from {file} by `make k8s-rules`: change that file.\napiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\nmetadata:\n  name: {name}\nspec:\n"
    );
    for line in rules.lines().filter(|line| !line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        object.extend([indent, line, "\n"]);
    }
    object
}
