//! What has to hold between objects: names lead somewhere, selectors choose something.

use serde_json::Value;

use super::objects::{Labels, Objects, Workload, labels, place, selects};
use crate::checks::Findings;
use crate::checks::yaml::Look as _;

/// Pods that would be root are refused.
pub fn namespace(findings: &mut Findings, objects: &Objects) {
    for namespace in objects.of("Namespace") {
        let labels = labels(namespace.at("/metadata/labels"));
        let level = labels.get("pod-security.kubernetes.io/enforce").map(String::as_str);
        findings.require(
            level == Some("restricted"),
            "restricted",
            &place(namespace),
            "does not enforce restricted",
        );
    }
}

/// What a program is told to read is there; secrets are references to what an operator makes or the README tells of.
pub fn mounts(findings: &mut Findings, workload: &Workload<'_>, objects: &Objects, readme: &str) {
    let (place, invocation) = (workload.place(), workload.invocation(objects));
    let volumes = workload.pod.list("/volumes");
    let mounts = workload.container.list("/volumeMounts");
    for mount in mounts {
        let is_there = volumes.iter().any(|it| it.text("/name") == mount.text("/name"));
        findings.require(is_there, "mounts", &place, format!("mounts no volume {}", mount.text("/name")));
        findings.require(mount.text("/readOnly") == "true", "mounts", &place, "may write to what is mounted");
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
            || readme.contains(&format!("`{secret}`"));
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
    let values = invocation.variables.iter().map(|(_, value)| value.as_str());
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

/// A Service chooses pods, and its ports are theirs; an Ingress leads to a Service.
pub fn services(findings: &mut Findings, objects: &Objects) {
    for service in objects.of("Service") {
        let selector = labels(service.at("/spec/selector"));
        let chosen: Vec<_> = objects
            .workloads()
            .into_iter()
            .filter(|it| {
                let pods = labels(it.object.at("/spec/template/metadata/labels"));
                selector.iter().all(|(name, value)| pods.get(name) == Some(value))
            })
            .collect();
        findings.require(
            chosen.len() == 1,
            "services",
            &place(service),
            "does not choose one workload's pods",
        );
        for port in service.list("/spec/ports") {
            let target = port.text("/targetPort");
            let is_there = chosen
                .iter()
                .all(|it| it.container.list("/ports").iter().any(|port| port.text("/name") == target));
            findings.require(
                is_there,
                "services",
                &place(service),
                format!("its pods have no port {target}"),
            );
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

/// Every program that runs on is scraped, on its admin port, under its own name; the alerts are those of compose.
pub fn monitored(findings: &mut Findings, objects: &Objects, rules: &Value) {
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
    for rule in objects.of("PrometheusRule") {
        let is_same = rule.at("/spec") == rules;
        findings.require(
            is_same,
            "prometheus-rule",
            &place(rule),
            "is not telex.rules.yml: `make k8s-rules`",
        );
    }
    findings.require(
        objects.of("PrometheusRule").count() == 1,
        "prometheus-rule",
        "k8s",
        "there are no alerts",
    );
}

/// Selectors of policies and budgets choose pods that somebody makes.
pub fn selectors(findings: &mut Findings, objects: &Objects) {
    let pods = objects.pods();
    let chooses =
        |selector: &Value| pods.iter().any(|(_, labels): &(String, Labels)| selects(selector, labels));
    for policy in objects.of("NetworkPolicy") {
        findings.require(
            chooses(policy.at("/spec/podSelector")),
            "selectors",
            &place(policy),
            "chooses no pod",
        );
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
