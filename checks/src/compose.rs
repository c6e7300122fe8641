//! docker-compose.yml, held against the programs, the Dockerfile, the monitoring and the script that makes secrets (S31).

mod services;
mod wiring;

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use crate::Findings;
use crate::dockerfile::{Dockerfile, Image};
use crate::files::Files;
use crate::planted::Mistake;
use crate::programs::{Invocation, NAMES};
use crate::yaml::{Look as _, document};

struct Service<'a> {
    name: &'a str,
    value: &'a Value,
    /// If it is one of Telex's programs: what its image brings.
    image: Option<Image>,
}

impl Service<'_> {
    /// The program whose image it is.
    fn target(value: &Value) -> String {
        let image = value.text("/image");
        let of_image = image.strip_prefix("telex/").and_then(|rest| rest.split(':').next());
        of_image.unwrap_or_default().to_owned()
    }

    fn invocation(&self) -> Invocation {
        let own = self.value.texts("/command");
        // What the image brings is meant for what it starts by itself.
        let image = self.image.clone().filter(|_| own.is_empty()).unwrap_or_default();
        let given = self.value.map("/environment").into_iter();
        let given = given.map(|(name, value)| (name.to_owned(), value.text("")));
        let variables = image.variables.into_iter().chain(given);
        let secrets = self.value.texts("/secrets");
        let files =
            secrets.iter().map(|secret| (format!("/run/secrets/{secret}"), "postgres://u@h/d".to_owned()));
        Invocation {
            arguments: if own.is_empty() { image.default_arguments } else { resolved_all(own) },
            variables: variables.map(|(name, value)| (name, resolved(&value))).collect(),
            files: files.collect(),
        }
    }

    /// It does something once and ends.
    fn is_task(&self) -> bool {
        let restart = self.value.text("/restart");
        restart == "no" || restart.starts_with("on-failure")
    }

    fn has_health_check(&self) -> bool {
        let is_off = self.value.text("/healthcheck/disable") == "true";
        let of_image = self.image.as_ref().is_some_and(|image| image.has_health_check);
        !is_off && (of_image || !self.value.list("/healthcheck/test").is_empty())
    }
}

/// What a service of a compose file starts, without what its image brings; nothing, where there is no such service.
pub fn invocation(compose: &str, service: &str) -> Result<Invocation> {
    let compose = document(compose)?;
    let value = compose.at(&format!("/services/{service}"));
    Ok(Service { name: service, value, image: None }.invocation())
}

/// A text with the defaults of its variables, `${NAME:-default}`.
fn resolved(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.rfind("${") {
        let Some(length) = text.get(start..).and_then(|rest| rest.find('}')) else { break };
        let inner = text.get(start + 2..start + length).unwrap_or_default();
        let default = inner.split_once(":-").map_or("", |(_, default)| default).to_owned();
        text.replace_range(start..=start + length, &default);
    }
    text
}

fn resolved_all(texts: Vec<String>) -> Vec<String> {
    texts.iter().map(|text| resolved(text)).collect()
}

pub const FILES: [&str; 5] = [
    "docker-compose.yml",
    "Dockerfile",
    "docker/make-secrets",
    ".gitignore",
    "monitoring/prometheus/prometheus.yml",
];

/// What starts where no profile is named.
const SERVICES: [&str; 11] = [
    "grafana",
    "ingest-api",
    "kafka",
    "migrate",
    "placement",
    "postgres",
    "processor-1",
    "processor-2",
    "prometheus",
    "quarantine",
    "topic",
];

/// One for each rule, and more where a rule has arms.
pub const MISTAKES: &[Mistake] = &[
    (FILES[0], "apache/kafka:4.2.1", "apache/kafka:latest", "image-pinned"),
    (FILES[0], "image: postgres:18.6", "image: postgres", "image-pinned"),
    (FILES[0], "target: loadtest", "target: load-test", "image-target"),
    (FILES[0], "image: \"telex/loadtest", "image: \"telex/processor", "image-target"),
    (FILES[0], "pull_policy: never", "pull_policy: build", "image-target"),
    (FILES[0], "REVISION: \"${", "COMMIT: \"${", "labels"),
    (FILES[0], "max-size: 20m", "tag: telex", "logs"),
    (FILES[0], "mem_limit: 1536m", "mem_reservation: 1536m", "memory"),
    (FILES[0], "tmpfs: [\"/scratch", "tmpfs: [\"/tmp", "scratch"),
    (FILES[0], "PROCESSOR_PROVE_DIRECTORY: /scratch", "PROCESSOR_PROVE_DIRECTORY: /tmp", "scratch"),
    (FILES[0], "  restart: unless-stopped\n  read_only", "  read_only", "restart"),
    (FILES[0], "test: [CMD, psql", "test_: [CMD, psql", "health"),
    (FILES[0], "test: [CMD, wget", "test: [CMD-SHELL, wget", "health"),
    (FILES[0], "read_only: true", "read_only: false", "hardened"),
    (FILES[0], "cap_drop: [ALL]", "cap_drop: [KILL]", "hardened"),
    (FILES[0], "no-new-privileges:true", "no-new-privileges:false", "hardened"),
    (FILES[0], "127.0.0.1:${TELEX_HTTP_PORT", "${TELEX_HTTP_PORT", "ports-local"),
    (FILES[0], "HTTP_PORT:-8080}:8080", "HTTP_PORT:-8080}:8088", "ports"),
    (FILES[0], "KAFKA_UI_PORT:-8081}", "HTTP_PORT:-8080}", "ports"),
    (FILES[0], "127.0.0.1:${TELEX_HTTP_PORT:-8080}:8080", "127.0.0.1:8080:8080", "ports"),
    (FILES[0], "HOST://127.0.0.1:${TELEX_KAFKA_PORT:-9092}", "HOST://127.0.0.1:9092", "addresses"),
    (FILES[0], "command: [migrate]", "command: [migrations]", "command"),
    (FILES[0], "--messages=20000", "--message=20000", "command"),
    (FILES[0], "PROCESSOR_TOPIC_PROFILE: development", "PROCESSOR_TOPIC_PROFILE: dev", "command"),
    (FILES[0], "PROCESSOR_TOPIC_PROFILE", "PROCESSOR_PROFILE", "command"),
    (FILES[0], "INGEST_PARTITION_COUNT:", "INGEST_LINGER_MS:", "command"),
    (FILES[0], "MODE: \"true\"", "MODE: \"yes\"", "command"),
    (FILES[0], "stop_grace_period: 30s", "stop_grace_period: 8s", "grace"),
    (FILES[0], "    stop_grace_period: 30s", "    stop_grace_period: 12s", "grace"),
    (FILES[0], "condition: service_healthy", "condition: service_completed_successfully", "depends"),
    (FILES[0], "  depends_on:\n    kafka:", "  depends_on:\n    postgres:", "depends"),
    (FILES[0], "secrets: [grafana-admin]", "secrets: []", "secrets"),
    (FILES[0], "/run/secrets/postgres-superuser", "/run/secrets/postgres", "secrets"),
    (FILES[0], "file: .secrets/reader-password", "file: secrets/reader-password", "secrets"),
    (FILES[2], "keep grafana-admin ", "keep grafana ", "secrets"),
    (FILES[3], "/.secrets/", "/secrets/", "secrets"),
    (FILES[0], "POSTGRES_PASSWORD_FILE: /run/", "POSTGRES_PASSWORD: hunter2", "password"),
    (FILES[0], "DATABASE_URL_FILE: /run/secrets/", "DATABASE_URL: postgres://a:b@h/", "password"),
    (FILES[0], "./docker/postgres/20-passwords.sh:", "./docker/postgres/passwords.sh:", "mounts"),
    (FILES[0], "roles.sql:ro", "roles.sql:rw", "mounts"),
    (FILES[0], "source: ./.reports/loadtest", "source: ./monitoring", "mounts"),
    (FILES[0], "create_host_path: false", "create_host_path: true", "mounts"),
    (FILES[2], "mkdir -p .reports/loadtest\n", "mkdir -p .reports\n", "mounts"),
    (FILES[3], "/.reports/", "/reports/", "mounts"),
    (FILES[0], "kafka-data:/var", "kafka:/var", "mounts"),
    (FILES[0], "--partitions=${TELEX_PARTITIONS:-12}", "--partitions=24", "topic"),
    (FILES[0], "INGEST_TOPIC: telex.messages", "INGEST_TOPIC: messages", "topic"),
    (FILES[0], "LogAppendTime", "CreateTime", "topic"),
    (FILES[0], "max.message.bytes=2097152", "max.message.bytes=1048588", "topic"),
    (FILES[0], "cleanup.policy=compact", "cleanup.policy=delete", "topic"),
    (FILES[0], "--topic=telex.messages.placement", "--topic=telex.placement", "topic"),
    (FILES[0], "--partitions=1\n", "--partitions=3\n", "topic"),
    (FILES[0], "QUARANTINE_TOPIC: telex.quarantine", "QUARANTINE_TOPIC: quarantine", "topic"),
    (FILES[0], "PROCESSOR_KAFKA_BROKERS: kafka:19092", "PROCESSOR_KAFKA_BROKERS: kafka:29092", "addresses"),
    (FILES[0], "http://ingest-api:8080", "http://ingest-api:80", "addresses"),
    (FILES[2], "@postgres:5432", "@postgres:5433", "addresses"),
    (FILES[4], "ingest-api:9101", "ingest-api:9102", "scraped"),
    (FILES[0], "  processor-2:\n    <<: *processor\n", "", "services"),
];

/// Checks everything.
pub fn check(files: &Files) -> Result<Findings> {
    let compose = document(files.get("docker-compose.yml"))?;
    let dockerfile = Dockerfile::parse(files.get("Dockerfile"));
    let services: Vec<Service<'_>> = compose
        .map("/services")
        .into_iter()
        .map(|(name, value)| {
            let target = Service::target(value);
            let image = NAMES.contains(&target.as_str()).then(|| dockerfile.image(&target));
            Service { name, value, image }
        })
        .collect();
    let mut findings = Findings::default();
    for service in &services {
        services::image(&mut findings, service);
        services::life(&mut findings, service);
        services::ports(&mut findings, service);
        if service.image.is_some() {
            services::program(&mut findings, service)?;
        }
    }
    services::host_ports(&mut findings, &services);
    services::built_once(&mut findings, &services);
    wiring::advertised(&mut findings, &services);
    wiring::dependencies(&mut findings, &services);
    wiring::secrets(&mut findings, &compose, &services, files);
    wiring::mounts(&mut findings, &compose, &services, files);
    wiring::topics(&mut findings, &services);
    wiring::addresses(&mut findings, &services, files);
    wiring::scraped(&mut findings, &services, &document(files.get("monitoring/prometheus/prometheus.yml"))?);
    let always: BTreeSet<&str> =
        services.iter().filter(|it| it.value.at("/profiles").is_null()).map(|it| it.name).collect();
    let problem = format!("starts {always:?}");
    findings.require(always == SERVICES.into(), "services", "docker-compose.yml", problem);
    Ok(findings)
}
