//! The namespaces beside ours whose names a person may have to change (docs/kubernetes.md, "Values to change"): each stands
//! in several manifests, and what has to hold is that all of them say the same.

use super::objects::{Objects, place};
use crate::Findings;
use crate::yaml::Look as _;

/// Where policies let in who scrapes.
const SCRAPED: [i64; 4] = [9101, 9102, 9187, 9404];
/// Where they let in who brings requests, and challenges for a certificate.
const ASKED: [i64; 2] = [8080, 8089];
const NAMESPACE: &str = "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name";

/// As the first of the places names them.
pub struct Beside {
    pub monitoring: String,
    pub ingress: String,
}

impl Beside {
    /// Finds both, and where they are called otherwise.
    pub fn of(findings: &mut Findings, objects: &Objects) -> Self {
        let mut monitoring = let_in(objects, &SCRAPED);
        for scaled in objects.of("ScaledObject") {
            // http://SERVICE.NAMESPACE.svc:PORT
            let addresses = scaled.list("/spec/triggers").iter().map(|it| it.text("/metadata/serverAddress"));
            let names = addresses.filter_map(|address| address.split('.').nth(1).map(ToOwned::to_owned));
            monitoring.extend(names.map(|name| (place(scaled), name)));
        }
        let ingress = let_in(objects, &ASKED);
        Self { monitoring: one_name(findings, monitoring), ingress: one_name(findings, ingress) }
    }
}

/// The namespaces that policies let in on one of these ports, each with its place.
fn let_in(objects: &Objects, ports: &[i64]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for policy in objects.of("NetworkPolicy") {
        for rule in policy.list("/spec/ingress") {
            let mut named = rule.list("/ports").iter().filter_map(|port| port.number("/port"));
            if named.any(|port| ports.contains(&port)) {
                let names = rule.list("/from").iter().map(|peer| peer.text(NAMESPACE));
                found.extend(names.filter(|name| !name.is_empty()).map(|name| (place(policy), name)));
            }
        }
    }
    found
}

fn one_name(findings: &mut Findings, found: Vec<(String, String)>) -> String {
    let Some((first_place, first)) = found.first().cloned() else { return String::new() };
    for (place, name) in found {
        let problem = format!("names the namespace {name}, where {first_place} names {first}");
        findings.require(name == first, "namespaces", &place, problem);
    }
    first
}
