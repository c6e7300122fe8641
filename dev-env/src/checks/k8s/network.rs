//! Who reaches whom (S28): the policies are evaluated for every pair of pods and every port, and what comes out has to be
//! the list of named flows, no more and no less.

use std::collections::BTreeSet;

use serde_json::Value;

use super::objects::{Labels, Objects, selects};
use crate::checks::Findings;
use crate::checks::yaml::Look as _;

/// From, to, port. Names with a slash are namespaces beside ours.
const FLOWS: [(&str, &str, i64); 30] = [
    ("/traefik", "ingest-api", 8080),
    ("loadtest", "ingest-api", 8080),
    ("/monitoring", "ingest-api", 9101),
    ("/monitoring", "processor", 9102),
    ("ingest-api", "kafka", 9093),
    ("processor", "kafka", 9093),
    ("/keda", "kafka", 9093),
    ("processor", "postgres", 5432),
    ("migrate", "postgres", 5432),
    ("kafka", "kafka", 9090),
    ("kafka", "kafka", 9091),
    ("entity-operator", "kafka", 9091),
    ("/strimzi", "kafka", 9090),
    ("/strimzi", "kafka", 9091),
    ("/strimzi", "kafka", 8443),
    ("postgres", "postgres", 5432),
    ("postgres", "postgres", 8000),
    ("/cnpg-system", "postgres", 5432),
    ("/cnpg-system", "postgres", 8000),
    ("entity-operator", "/elsewhere", 443),
    ("entity-operator", "/elsewhere", 6443),
    ("postgres", "/elsewhere", 443),
    ("postgres", "/elsewhere", 6443),
    ("ingest-api", "/kube-system", 53),
    ("processor", "/kube-system", 53),
    ("migrate", "/kube-system", 53),
    ("loadtest", "/kube-system", 53),
    ("kafka", "/kube-system", 53),
    ("entity-operator", "/kube-system", 53),
    ("postgres", "/kube-system", 53),
];

/// A pod, ours or another's.
struct Pod {
    name: String,
    namespace: Option<String>,
    labels: Labels,
}

impl Pod {
    /// It is in the namespace that the policies are of.
    const fn is_ours(&self) -> bool {
        self.namespace.is_none()
    }
}

/// Compares what the policies allow with the list.
pub fn flows(findings: &mut Findings, objects: &Objects) {
    let policies: Vec<&Value> = objects.of("NetworkPolicy").collect();
    let denies = policies.iter().any(|policy| {
        policy.text("/metadata/name") == "default-deny"
            && policy.at("/spec/podSelector").as_object().is_some_and(serde_json::Map::is_empty)
            && policy.texts("/spec/policyTypes") == ["Ingress", "Egress"]
            && policy.at("/spec/ingress").is_null()
            && policy.at("/spec/egress").is_null()
    });
    findings.require(denies, "network", "default-deny", "does not deny everything both ways");
    let mut pods: Vec<Pod> =
        objects.pods().into_iter().map(|(name, labels)| Pod { name, namespace: None, labels }).collect();
    for namespace in ["traefik", "monitoring", "keda", "strimzi", "cnpg-system", "kube-system", "elsewhere"] {
        let labels = if namespace == "kube-system" {
            Labels::from([("k8s-app".to_owned(), "kube-dns".to_owned())])
        } else {
            Labels::new()
        };
        pods.push(Pod { name: format!("/{namespace}"), namespace: Some(namespace.to_owned()), labels });
    }
    let ports: BTreeSet<i64> = FLOWS.iter().map(|(_, _, port)| *port).chain([80, 9999]).collect();
    let expected: BTreeSet<(&str, &str, i64)> = FLOWS.into_iter().collect();
    for from in &pods {
        for to in &pods {
            for port in &ports {
                let flow = (from.name.as_str(), to.name.as_str(), *port);
                let is_named = expected.contains(&flow);
                // Who may reach the API server may reach its ports anywhere: its address is the cluster's affair.
                let may_leave = is_named || asks_api_server(&from.name) && matches!(port, 443 | 6443);
                let place = format!("{} → {}:{port}", flow.0, flow.1);
                let mut compare = |is_ours: bool, is_allowed: bool, should_be: bool, side: &str| {
                    let problem = if is_allowed { "allows what has no name" } else { "lacks what is named" };
                    let holds = !is_ours || is_allowed == should_be;
                    findings.require(holds, "network", &place, format!("{side} {problem}"));
                };
                // Both sides on their own: one that is too wide would be hidden by the other.
                compare(
                    from.is_ours(),
                    allowed(&policies, from, to, *port, EGRESS),
                    may_leave,
                    "the sender's side",
                );
                compare(
                    to.is_ours(),
                    allowed(&policies, to, from, *port, INGRESS),
                    is_named,
                    "the receiver's side",
                );
            }
        }
    }
}

fn asks_api_server(name: &str) -> bool {
    matches!(name, "entity-operator" | "postgres")
}

/// Policy type, rules, peers.
type Side = (&'static str, &'static str, &'static str);
const EGRESS: Side = ("Egress", "/spec/egress", "/to");
const INGRESS: Side = ("Ingress", "/spec/ingress", "/from");

/// Whether the policies of a pod let it send to another, or be sent to.
fn allowed(policies: &[&Value], own: &Pod, other: &Pod, port: i64, (kind, rules, peers): Side) -> bool {
    policies.iter().any(|policy| {
        selects(policy.at("/spec/podSelector"), &own.labels)
            && policy.texts("/spec/policyTypes").contains(&kind.to_owned())
            && policy.list(rules).iter().any(|rule| {
                let named = rule.list("/ports");
                let is_port = named.is_empty() || named.iter().any(|it| it.number("/port") == Some(port));
                let peers = rule.list(peers);
                is_port && (peers.is_empty() || peers.iter().any(|peer| is(peer, other)))
            })
    })
}

/// Whether a pod is the peer.
fn is(peer: &Value, pod: &Pod) -> bool {
    let namespaces = peer.at("/namespaceSelector");
    let is_there = match &pod.namespace {
        None => namespaces.is_null(),
        Some(name) => {
            let of = Labels::from([("kubernetes.io/metadata.name".to_owned(), name.clone())]);
            !namespaces.is_null() && selects(namespaces, &of)
        }
    };
    is_there && selects(peer.at("/podSelector"), &pod.labels)
}
