//! What has to hold between services, and between them and files.

use std::collections::{BTreeMap, BTreeSet};

use dev_env::programs;
use serde_json::Value;

use super::{Service, resolved_all};
use crate::Findings;
use crate::files::Files;
use crate::programs::port;
use crate::yaml::Look as _;

/// Who waits for whom, and for what.
pub fn dependencies(findings: &mut Findings, services: &[Service<'_>]) {
    for service in services {
        for (name, dependency) in service.value.map("/depends_on") {
            let place = service.name;
            let Some(other) = services.iter().find(|it| it.name == name) else {
                findings.note("depends", place, format!("waits for {name}, which is not there"));
                continue;
            };
            let condition = dependency.text("/condition");
            let holds = match condition.as_str() {
                "service_healthy" => other.has_health_check() && !other.is_task(),
                "service_completed_successfully" => other.is_task(),
                _ => false,
            };
            findings.require(holds, "depends", place, format!("{name} never is {condition:?}"));
        }
    }
    let needs = |name: &str, other: &str| {
        services
            .iter()
            .any(|it| it.name == name && !it.value.at("/depends_on").at(&format!("/{other}")).is_null())
    };
    for (name, other) in [
        ("topic", "kafka"),
        ("quarantine", "kafka"),
        ("placement", "kafka"),
        ("migrate", "postgres"),
        ("ingest-api", "topic"),
        ("ingest-api", "quarantine"),
        ("ingest-api", "placement"),
        ("processor-1", "migrate"),
        ("processor-1", "topic"),
        ("processor-1", "placement"),
    ] {
        findings.require(needs(name, other), "depends", name, format!("does not wait for {other}"));
    }
}

/// Secrets come from files that the script makes and git ignores; a path in a variable leads to one.
pub fn secrets(findings: &mut Findings, compose: &Value, services: &[Service<'_>], files: &Files) {
    let ignored = files.get(".gitignore").lines().any(|line| line == "/.secrets/");
    findings.require(ignored, "secrets", ".gitignore", "git would take .secrets/");
    let mut used = BTreeSet::new();
    for service in services {
        let own = service.value.texts("/secrets");
        for (name, path) in service.invocation().variables {
            let is_read =
                path.strip_prefix("/run/secrets/").is_none_or(|secret| own.contains(&secret.to_owned()));
            let problem = format!("{name} leads to a secret that it is not given");
            findings.require(is_read, "secrets", service.name, problem);
        }
        used.extend(own);
    }
    let roles = ["migrator", "processor", "reader"];
    for (name, secret) in compose.map("/secrets") {
        let file = secret.text("/file");
        let made = files.get("docker/make-secrets").contains(&format!("keep {name} "))
            || roles.iter().any(|role| {
                name.strip_prefix(role).is_some_and(|rest| {
                    files.get("docker/make-secrets").contains(&format!("\"$role{rest}\""))
                })
            });
        let problem = "docker/make-secrets does not make it";
        findings.require(made && file == format!(".secrets/{name}"), "secrets", name, problem);
        findings.require(used.remove(name), "secrets", name, "nobody reads it");
    }
    for name in used {
        findings.note("secrets", &name, "is not declared");
    }
    // A password, or an address with one, in the file itself (S31).
    for (number, line) in files.get("docker-compose.yml").lines().enumerate() {
        let lower = line.to_lowercase();
        let names_one = ["password", "passwd", "secret_key", "token"].iter().any(|word| {
            lower.split_once(word).is_some_and(|(_, rest)| rest.starts_with(':') || rest.starts_with('='))
        });
        let has_value = line.split_once(": ").is_some_and(|(_, value)| !value.trim().is_empty());
        let in_address = lower
            .split_once("://")
            .is_some_and(|(_, rest)| rest.split_once('@').is_some_and(|(user, _)| user.contains(':')));
        let holds = !(in_address || names_one && has_value);
        findings.require(holds, "password", &format!("line {}", number + 1), "holds a password");
    }
}

/// Where the load test may write on the host.
const REPORTS: &str = ".reports/loadtest";

/// The one place of the host that is written to: the script makes it, Docker does not, and git ignores it.
fn reports(findings: &mut Findings, service: &Service<'_>, mount: &Value, files: &Files) {
    let is_theirs = mount.text("/source") == format!("./{REPORTS}") && service.name == "loadtest";
    findings.require(is_theirs, "mounts", service.name, "may write to the host");
    let waits = mount.text("/bind/create_host_path") == "false";
    findings.require(waits, "mounts", service.name, "would be given a directory of root's");
    let is_made = files.get("docker/make-secrets").contains(&format!("mkdir -p {REPORTS}\n"));
    findings.require(is_made, "mounts", service.name, "docker/make-secrets does not make its directory");
    let ignored = files.get(".gitignore").lines().any(|line| line == "/.reports/");
    findings.require(ignored, "mounts", ".gitignore", "git would take .reports/");
}

/// What is mounted is there, and is not written to.
pub fn mounts(findings: &mut Findings, compose: &Value, services: &[Service<'_>], files: &Files) {
    let declared: BTreeSet<&str> = compose.map("/volumes").into_iter().map(|(name, _)| name).collect();
    let mut used = BTreeSet::new();
    for service in services {
        for mount in service.value.list("/volumes") {
            if mount.is_object() {
                reports(findings, service, mount, files);
                continue;
            }
            let mount = mount.text("");
            let (source, rest) = mount.split_once(':').unwrap_or((&mount, ""));
            if source.starts_with('.') {
                let is_there = files.root().join(source).exists();
                findings.require(is_there, "mounts", service.name, format!("{source} is not there"));
                let options = rest.rsplit_once(':').map_or("", |(_, options)| options);
                let holds = options.split(',').any(|option| option == "ro");
                findings.require(holds, "mounts", service.name, format!("{source} may be written to"));
            } else {
                let problem = format!("{source} is not declared");
                findings.require(declared.contains(source), "mounts", service.name, problem);
                used.insert(source.to_owned());
            }
        }
    }
    for name in declared {
        findings.require(used.contains(name), "mounts", name, "nobody mounts it");
    }
}

/// The topics that are made are those that are written and read; that of messages has the partitions over which keys
/// are spread.
pub fn topics(findings: &mut Findings, services: &[Service<'_>]) {
    let makers: [(&str, &[(&str, &str)]); 3] = [
        ("topic", &programs::TOPIC_SETTINGS),
        ("quarantine", &programs::QUARANTINE_SETTINGS),
        ("placement", &programs::PLACEMENT_SETTINGS),
    ];
    let of = |maker: &str| {
        let maker = services.iter().find(|it| it.name == maker);
        maker.map(|it| resolved_all(it.value.texts("/command"))).unwrap_or_default()
    };
    let argument = |maker: &str, name: &str| {
        let prefix = format!("--{name}=");
        of(maker).iter().find_map(|it| it.strip_prefix(&prefix)).unwrap_or_default().to_owned()
    };
    for (maker, settings) in makers {
        for (name, value) in settings {
            let is_set = of(maker).contains(&format!("--config={name}={value}"));
            findings.require(is_set, "topic", maker, format!("{name} must be {value}"));
        }
    }
    // Derived from the other's name by the programs: no variable of theirs can be wrong.
    for (name, value) in [
        ("topic", programs::PLACEMENT.to_owned()),
        ("partitions", programs::PLACEMENT_PARTITIONS.to_string()),
    ] {
        let problem = format!("{name} must be {value}");
        findings.require(argument("placement", name) == value, "topic", "placement", problem);
    }
    for service in services.iter().filter(|it| it.image.is_some()) {
        for (name, value) in service.invocation().variables {
            let expected = match name.as_str() {
                "INGEST_TOPIC" | "PROCESSOR_TOPIC" => argument("topic", "topic"),
                "INGEST_PARTITION_COUNT" => argument("topic", "partitions"),
                "INGEST_QUARANTINE_TOPIC" | "PROCESSOR_QUARANTINE_TOPIC" => argument("quarantine", "topic"),
                _ => continue,
            };
            let problem = format!("{name} is {value}, the topic's is {expected}");
            findings.require(value == expected, "topic", service.name, problem);
        }
    }
}

/// Whoever is named with a port serves that port.
pub fn addresses(findings: &mut Findings, services: &[Service<'_>], files: &Files) {
    let mut served: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for service in services {
        let mut ports: Vec<u16> = service.value.texts("/ports").iter().filter_map(|it| port(it)).collect();
        ports.extend(service.image.iter().flat_map(|image| image.exposed.iter().copied()));
        let listeners = service.value.text("/environment/KAFKA_LISTENERS");
        ports.extend(listeners.split(',').filter_map(port));
        served.insert(service.name, ports);
    }
    let mut look = |place: &str, text: &str| {
        for (name, ports) in &served {
            for (index, _) in text.match_indices(&format!("{name}:")) {
                let before = text.get(..index).and_then(|it| it.chars().last());
                let is_host = before.is_none_or(|it| matches!(it, '/' | '@' | ',' | '=' | ' '));
                let after = text.get(index + name.len() + 1..).unwrap_or_default();
                let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
                let Ok(asked) = digits.parse::<u16>() else { continue };
                let is_served = !is_host || ports.contains(&asked);
                findings.require(is_served, "addresses", place, format!("nothing listens on {name}:{asked}"));
            }
        }
    };
    for service in services {
        // A tag of an image is no port.
        for text in service.value.texts("/command").iter().chain(&service.value.texts("/healthcheck/test")) {
            look(service.name, text);
        }
        for (_, value) in service.value.map("/environment") {
            look(service.name, &value.text(""));
        }
    }
    for line in files.get("docker/make-secrets").lines() {
        look("docker/make-secrets", line);
    }
}

/// A client on the host comes back to the address that Kafka names: the port has to be the published one, wherever that is.
pub fn advertised(findings: &mut Findings, services: &[Service<'_>]) {
    let Some(kafka) = services.iter().find(|it| it.name == "kafka") else { return };
    let listeners = kafka.value.text("/environment/KAFKA_ADVERTISED_LISTENERS");
    let host = listeners
        .split_once("HOST://")
        .map_or("", |(_, rest)| rest.split(",INTERNAL").next().unwrap_or(rest));
    let is_published = kafka
        .value
        .texts("/ports")
        .iter()
        .any(|it| it.rsplit_once(':').is_some_and(|(outer, _)| outer == host));
    findings.require(is_published, "addresses", "kafka", format!("names {host} to clients of the host"));
}

/// Prometheus scrapes every program that runs, and on its admin port.
pub fn scraped(findings: &mut Findings, services: &[Service<'_>], prometheus: &Value) {
    let mut targets = BTreeSet::new();
    for job in prometheus.list("/scrape_configs") {
        for group in job.list("/static_configs") {
            targets.extend(group.texts("/targets"));
        }
    }
    for service in services.iter().filter(|it| it.image.is_some() && !it.is_task()) {
        let variables = service.invocation().variables;
        let admin = variables.iter().find(|(name, _)| name.ends_with("ADMIN_LISTEN"));
        let target =
            format!("{}:{}", service.name, admin.and_then(|(_, value)| port(value)).unwrap_or_default());
        let problem = format!("Prometheus does not scrape {target}");
        findings.require(targets.remove(&target), "scraped", service.name, problem);
    }
    for target in targets {
        findings.note("scraped", "prometheus.yml", format!("scrapes {target}, which is not there"));
    }
}
