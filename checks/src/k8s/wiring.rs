//! What has to hold between objects: names lead somewhere, selectors choose something.

use serde_json::Value;

use super::objects::{Labels, Objects, Workload, labels, place, selects};
use crate::Findings;
use crate::yaml::Look as _;

/// Pods that would be root are refused.
pub fn namespace(findings: &mut Findings, objects: &Objects) {
    for namespace in objects.of("Namespace") {
        let labels = labels(namespace.at("/metadata/labels"));
        let level = labels.get("pod-security.kubernetes.io/enforce").map(String::as_str);
        let problem = "does not enforce restricted";
        findings.require(level == Some("restricted"), "restricted", &place(namespace), problem);
    }
}

/// What a program is told to read is there; secrets are references to what an operator makes or the guide tells of.
pub fn mounts(findings: &mut Findings, workload: &Workload<'_>, objects: &Objects, guide: &str) {
    let (place, invocation) = (workload.place(), workload.invocation(objects));
    let volumes = workload.pod.list("/volumes");
    let mounts = workload.container.list("/volumeMounts");
    for mount in mounts {
        let may_write = mount.text("/readOnly") == "true" || is_scratch(workload, mount);
        findings.require(may_write, "mounts", &place, "may write to what is mounted");
    }
    for volume in volumes {
        let map = volume.text("/configMap/name");
        let is_there = map.is_empty() || !objects.get("ConfigMap", &map).is_null();
        findings.require(is_there, "mounts", &place, format!("there is no ConfigMap {map}"));
        let secret = volume.text("/secret/secretName");
        let is_made = secret.is_empty()
            || objects.of("KafkaUser").any(|it| it.text("/metadata/name") == secret)
            || objects
                .of("Kafka")
                .any(|it| format!("{}-cluster-ca-cert", it.text("/metadata/name")) == secret)
            || objects.of("Cluster").any(|it| format!("{}-ca", it.text("/metadata/name")) == secret)
            || guide.contains(&format!("`{secret}`"));
        findings.require(is_made, "secrets", &place, format!("nobody makes the Secret {secret}"));
    }
    // A Secret that is mounted whole holds files that are not known here.
    let whole: Vec<String> = mounts
        .iter()
        .filter(|mount| {
            let volume = volumes.iter().find(|it| it.text("/name") == mount.text("/name"));
            volume.is_some_and(|it| !it.at("/secret").is_null() && it.at("/secret/items").is_null())
        })
        .map(|mount| mount.text("/mountPath"))
        .collect();
    let values = invocation.variables.values().map(String::as_str);
    let settings =
        invocation.files.values().flat_map(|text| text.lines()).filter_map(|line| line.split_once('='));
    for path in
        values.chain(settings.map(|(_, value)| value)).filter(|value| value.starts_with("/etc/telex/"))
    {
        let is_there =
            invocation.files.contains_key(path) || whole.iter().any(|it| path.starts_with(&format!("{it}/")));
        findings.require(is_there, "mounts", &place, format!("{path} is not mounted"));
    }
}

/// A volume that is empty at the start, and bounded.
fn is_scratch(workload: &Workload<'_>, mount: &Value) -> bool {
    let volume = workload.pod.list("/volumes").iter().find(|it| it.at("/name") == mount.at("/name"));
    volume.is_some_and(|it| !it.text("/emptyDir/sizeLimit").is_empty())
}

/// Where `prove` may be typed, it has a disk: nothing else in the container can be written to, and beyond its memory it
/// waits on files (processor/src/prove/spill.rs).
pub fn scratch(findings: &mut Findings, workload: &Workload<'_>) {
    let is_migration = workload.container.texts("/args") == ["migrate"];
    if workload.program() != Some("processor") || is_migration {
        return;
    }
    let directory = workload.variables().remove("PROCESSOR_PROVE_DIRECTORY");
    let mounts = workload.container.list("/volumeMounts");
    let is_there = directory.is_some_and(|directory| {
        mounts.iter().any(|it| it.text("/mountPath") == directory && is_scratch(workload, it))
    });
    findings.require(is_there, "scratch", &workload.place(), "`prove` has no disk to write to");
}

/// PostgreSQL's roles are made by one text, which the tests of the processor try (processor/tests/it/roles.rs).
pub fn roles(findings: &mut Findings, objects: &Objects, tried: &str) {
    for cluster in objects.of("Cluster") {
        let reference = cluster.at("/spec/bootstrap/initdb/postInitApplicationSQLRefs/configMapRefs/0");
        let map = objects.get("ConfigMap", &reference.text("/name"));
        let data = map.map("/data");
        let text =
            data.iter().find(|(key, _)| *key == reference.text("/key")).map(|(_, value)| value.text(""));
        let is_same = text.is_some_and(|text| text == tried);
        let problem = "runs something else than migrations/roles/create.sql: `make k8s-rules`";
        findings.require(is_same, "roles", &place(cluster), problem);
    }
}

/// A Service chooses pods, and its ports are theirs; an Ingress leads to a Service.
pub fn services(findings: &mut Findings, objects: &Objects) {
    for service in objects.of("Service") {
        let selector = labels(service.at("/spec/selector"));
        let chosen: Vec<_> = objects
            .workloads()
            .into_iter()
            .filter(|it| {
                let pods = it.labels();
                selector.iter().all(|(name, value)| pods.get(name) == Some(value))
            })
            .collect();
        let problem = "does not choose one workload's pods";
        findings.require(chosen.len() == 1, "services", &place(service), problem);
        for port in service.list("/spec/ports") {
            let target = port.text("/targetPort");
            let is_there = chosen
                .iter()
                .all(|it| it.container.list("/ports").iter().any(|port| port.text("/name") == target));
            let problem = format!("its pods have no port {target}");
            findings.require(is_there, "services", &place(service), problem);
        }
    }
    for ingress in objects.of("Ingress") {
        for path in ingress.list("/spec/rules").iter().flat_map(|rule| rule.list("/http/paths")) {
            let backend = path.at("/backend/service");
            let service = objects.get("Service", &backend.text("/name"));
            let is_there =
                service.list("/spec/ports").iter().any(|it| it.at("/name") == backend.at("/port/name"));
            findings.require(is_there, "services", &place(ingress), "leads to no Service");
        }
    }
}

/// Every program that runs on is scraped, on its admin port, under its own name; the alerts are those of monitoring/, by
/// the names of their objects.
pub fn monitored(findings: &mut Findings, objects: &Objects, rules: &[(&str, Value)]) {
    for workload in objects.workloads().iter().filter(|it| it.is_service()) {
        let is_scraped = objects.of("ServiceMonitor").any(|monitor| {
            monitor.text("/spec/jobLabel") == "app.kubernetes.io/name"
                && objects.of("Service").any(|service| {
                    let of_service = labels(service.at("/metadata/labels"));
                    let is_chosen = selects(monitor.at("/spec/selector"), &of_service);
                    let is_its = of_service.get("app.kubernetes.io/name") == Some(&workload.name());
                    let ports: Vec<String> =
                        service.list("/spec/ports").iter().map(|it| it.text("/name")).collect();
                    let asked = monitor.text("/spec/endpoints/0/port");
                    is_chosen && is_its && asked == "admin" && ports.contains(&asked)
                })
        });
        findings.require(is_scraped, "monitored", &workload.place(), "is not scraped under its name");
    }
    for (name, rules) in rules {
        let is_same = objects.get("PrometheusRule", name).at("/spec") == rules;
        findings.require(is_same, "prometheus-rule", name, "is not what monitoring/ says: `make k8s-rules`");
    }
    if objects.of("Kafka").next().is_none() {
        return;
    }
    // What scrapes pods asks for a port by the name that the operators give it: Strimzi 1.2.0 MetricsModel.METRICS_PORT_NAME,
    // CloudNativePG 1.30.0 pkg/specs/pods.go `metrics`.
    for (name, port) in [("telex-kafka", "tcp-prometheus"), ("telex-postgres", "metrics")] {
        let monitor = objects.get("PodMonitor", name);
        let asks = monitor.text("/spec/podMetricsEndpoints/0/port") == port;
        let chooses = objects.pods().iter().any(|(_, labels)| selects(monitor.at("/spec/selector"), labels));
        findings.require(asks && chooses, "monitored", name, "is scraped by no PodMonitor");
    }
}

/// What the guide says may be deleted alone stores nothing, and takes nothing along that does.
pub fn stores_nothing(findings: &mut Findings, objects: &Objects) {
    let storing = [
        "Cluster",
        "Kafka",
        "KafkaNodePool",
        "KafkaTopic",
        "KafkaUser",
        "Namespace",
        "PersistentVolumeClaim",
        "StatefulSet",
    ];
    for object in storing.iter().flat_map(|kind| objects.of(kind)) {
        findings.note("halves", &place(object), "would be deleted with the programs");
    }
}

/// Selectors of policies and budgets choose pods that somebody makes.
pub fn selectors(findings: &mut Findings, objects: &Objects) {
    let pods = objects.pods();
    let chooses =
        |selector: &Value| pods.iter().any(|(_, labels): &(String, Labels)| selects(selector, labels));
    for policy in objects.of("NetworkPolicy") {
        let problem = "chooses no pod";
        findings.require(chooses(policy.at("/spec/podSelector")), "selectors", &place(policy), problem);
        let peers = [("/spec/ingress", "/from"), ("/spec/egress", "/to")];
        for peer in peers
            .iter()
            .flat_map(|(rules, peers)| policy.list(rules).iter().flat_map(move |rule| rule.list(peers)))
        {
            let is_outside = !peer.at("/namespaceSelector").is_null();
            let is_chosen = is_outside || chooses(peer.at("/podSelector"));
            findings.require(is_chosen, "selectors", &place(policy), "names a peer that is no pod");
        }
    }
    for budget in objects.of("PodDisruptionBudget") {
        findings.require(chooses(budget.at("/spec/selector")), "selectors", &place(budget), "chooses no pod");
    }
}
