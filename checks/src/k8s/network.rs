//! Who reaches whom (S28): the policies are evaluated for every pair of pods and every port, and what comes out has to be
//! the list of named flows, no more and no less. A flow that an operator's pods need stands here by the operator's source,
//! not by what the manifests believe.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::beside::Beside;
use super::objects::{Labels, Objects, selects};
use crate::Findings;
use crate::yaml::Look as _;

type Flow = (&'static str, &'static str, i64);

/// Between programs of ours, and from the namespaces beside ours, whose names begin with a slash. Of the ingress
/// controller's and Prometheus', which may be called otherwise, these are the usual names.
const FLOWS: [Flow; 15] = [
    ("/traefik", "ingest-api", 8080),
    ("loadtest", "ingest-api", 8080),
    ("/monitoring", "ingest-api", 9101),
    ("/monitoring", "processor", 9102),
    ("ingest-api", "kafka", 9093),
    ("processor", "kafka", 9093),
    ("operator", "kafka", 9093),
    ("operator-hooks", "kafka", 9093),
    ("prove", "kafka", 9093),
    ("topics", "kafka", 9093),
    ("processor", "postgres", 5432),
    ("migrate", "postgres", 5432),
    ("operator", "postgres", 5432),
    ("prove", "postgres", 5432),
    ("loadtest", "postgres", 5432),
];

/// Those of other teams, where there are users and certificates for them.
const READERS: [Flow; 2] = [("/reader", "kafka", 9094), ("/reader", "postgres", 5432)];
/// And those from outside of the cluster, where there is a listener for them.
const READERS_OUTSIDE: Flow = ("/readers-outside", "kafka", 9095);

/// Where a flow to a pod leads if the server is one's own, by the addresses of overlays/own-servers.
const OWN_SERVERS: [(&str, &str); 2] = [("kafka", "/own-kafka"), ("postgres", "/own-postgres")];
/// What is known by its address alone.
const ADDRESSES: [(&str, &str); 4] = [
    ("/node-local-dns", "169.254.20.10/32"),
    ("/own-kafka", "192.0.2.0/25"),
    ("/own-postgres", "192.0.2.128/25"),
    ("/readers-outside", "198.51.100.0/24"),
];

/// Strimzi 1.2.0, cluster-operator/src/main/java/io/strimzi/operator/cluster/model/KafkaCluster.java: the ports of the
/// control plane, of replication, of the agent and of metrics, and `generateNetworkPolicy`, which says who needs them.
const STRIMZI: [Flow; 7] = [
    ("kafka", "kafka", 9090),
    ("kafka", "kafka", 9091),
    ("entity-operator", "kafka", 9091),
    ("/strimzi", "kafka", 9090),
    ("/strimzi", "kafka", 9091),
    ("/strimzi", "kafka", 8443),
    ("/monitoring", "kafka", 9404),
];

/// `CloudNativePG` 1.30.0: pkg/postgres/configuration.go `ServerPort`, pkg/management/url/url.go `StatusPort` and
/// `PostgresMetricsPort`. An instance asks the others for their state, and follows the primary.
const CLOUD_NATIVE_PG: [Flow; 5] = [
    ("postgres", "postgres", 5432),
    ("postgres", "postgres", 8000),
    ("/cnpg-system", "postgres", 5432),
    ("/cnpg-system", "postgres", 8000),
    ("/monitoring", "postgres", 9187),
];

/// cert-manager v1.19, pkg/issuer/acme/http/http.go `acmeSolverListenPort`.
const CERT_MANAGER: [Flow; 1] = [("/traefik", "acme-solver", 8089)];

/// Who asks the API server, whose address is the cluster's affair:
/// - `kafka`: Strimzi 0.49.0 to 1.2.0, `KafkaBrokerConfigurationBuilder.java` writes the certificates as
///   `${strimzisecrets:…}` (1.2.0 lines 354 to 357) and sets `config.providers.strimzisecrets.class`; a broker resolves
///   them while it loads its configuration.
/// - `entity-operator`: watches topics and users, writes their Secrets.
/// - `postgres`: `CloudNativePG` 1.30.0, internal/management/controller: the instance manager watches its Cluster.
const ASK_THE_API_SERVER: [&str; 3] = ["entity-operator", "kafka", "postgres"];
/// 443 and 6443; minikube; microk8s.
const API_SERVER_PORTS: [i64; 4] = [443, 6443, 8443, 16443];

/// Who answers names: the cluster's own, `NodeLocal` `DNSCache` by its address, `OpenShift`'s.
const NAME_SERVERS: [(&str, i64); 3] =
    [("/kube-system", 53), ("/node-local-dns", 53), ("/openshift-dns", 5353)];

const NAMESPACES: [&str; 9] = [
    "traefik",
    "monitoring",
    "keda",
    "strimzi",
    "cnpg-system",
    "kube-system",
    "openshift-dns",
    "reader",
    "elsewhere",
];

/// A pod, ours or another's.
struct Pod {
    name: String,
    /// The labels of its namespace, unless that is ours.
    namespace: Option<Labels>,
    labels: Labels,
    /// If it is known by its address alone.
    address: Option<&'static str>,
}

impl Pod {
    /// It is in the namespace that the policies are of.
    const fn is_ours(&self) -> bool {
        self.namespace.is_none()
    }
}

fn pods(objects: &Objects, beside: &Beside) -> Vec<Pod> {
    let ours = objects.pods().into_iter();
    let mut pods: Vec<Pod> =
        ours.map(|(name, labels)| Pod { name, namespace: None, labels, address: None }).collect();
    let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
    for namespace in NAMESPACES {
        let called: &str = match namespace {
            "traefik" => &beside.ingress,
            "monitoring" => &beside.monitoring,
            _ => namespace,
        };
        let mut of_namespace = one("kubernetes.io/metadata.name", called);
        if namespace == "reader" {
            of_namespace.extend(one("telex/reader", "true"));
        }
        let labels = if namespace == "kube-system" { one("k8s-app", "kube-dns") } else { Labels::new() };
        let name = format!("/{namespace}");
        pods.push(Pod { name, namespace: Some(of_namespace), labels, address: None });
    }
    for (name, address) in ADDRESSES {
        pods.push(Pod {
            name: name.to_owned(),
            namespace: Some(Labels::new()),
            labels: Labels::new(),
            address: Some(address),
        });
    }
    pods
}

/// The flows that these objects and pods have to have.
fn named(objects: &Objects, pods: &[Pod], has_operators: bool) -> BTreeSet<Flow> {
    let mut named: BTreeSet<Flow> = FLOWS.into_iter().chain(CERT_MANAGER).collect();
    if has_operators {
        named.extend(STRIMZI.into_iter().chain(CLOUD_NATIVE_PG).chain(READERS));
    }
    for (server, own) in OWN_SERVERS {
        if !pods.iter().any(|pod| pod.name == server) {
            let to_it = FLOWS.into_iter().filter(|(_, to, _)| *to == server);
            named.extend(to_it.map(|(from, _, port)| (from, own, port)));
        }
    }
    let is_outside = |listener: &Value| listener.text("/name") == "outside";
    if objects.of("Kafka").any(|it| it.list("/spec/kafka/listeners").iter().any(is_outside)) {
        named.insert(READERS_OUTSIDE);
    }
    named
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
    let pods = pods(objects, &Beside::of(findings, objects));
    let has_operators = objects.of("Kafka").next().is_some();
    let named = named(objects, &pods, has_operators);
    let known =
        [&FLOWS[..], &STRIMZI, &CLOUD_NATIVE_PG, &CERT_MANAGER, &READERS, &[READERS_OUTSIDE]].concat();
    let ports: BTreeSet<i64> = known
        .iter()
        .map(|(_, _, port)| *port)
        .chain(API_SERVER_PORTS)
        .chain(NAME_SERVERS.map(|(_, port)| port))
        .chain([80, 9999])
        .collect();
    for from in &pods {
        for to in &pods {
            for port in ports.iter().copied() {
                let is_name_server = from.is_ours() && NAME_SERVERS.contains(&(to.name.as_str(), port));
                let is_named =
                    is_name_server || named.contains(&(from.name.as_str(), to.name.as_str(), port));
                let asks = has_operators && ASK_THE_API_SERVER.contains(&from.name.as_str());
                let may_leave = is_named || asks && API_SERVER_PORTS.contains(&port);
                let place = format!("{} → {}:{port}", from.name, to.name);
                let mut compare = |is_ours: bool, is_allowed: bool, should_be: bool, side: &str| {
                    let problem = if is_allowed { "allows what has no name" } else { "lacks what is named" };
                    let holds = !is_ours || is_allowed == should_be;
                    findings.require(holds, "network", &place, format!("{side} {problem}"));
                };
                // Both sides on their own: one that is too wide would be hidden by the other.
                compare(
                    from.is_ours(),
                    allowed(&policies, from, to, port, EGRESS),
                    may_leave,
                    "the sender's side",
                );
                compare(
                    to.is_ours(),
                    allowed(&policies, to, from, port, INGRESS),
                    is_named,
                    "the receiver's side",
                );
            }
        }
    }
    listeners(findings, objects, &pods, &named);
}

/// Strimzi makes a policy of each listener's peers (`KafkaCluster.java`, `generateNetworkPolicy`), and policies add up: one
/// that names more than ours opens what ours shuts.
fn listeners(findings: &mut Findings, objects: &Objects, pods: &[Pod], named: &BTreeSet<Flow>) {
    for kafka in objects.of("Kafka") {
        for listener in kafka.list("/spec/kafka/listeners") {
            let port = listener.number("/port").unwrap_or_default();
            let made = json!({"spec": {
                "podSelector": {}, "policyTypes": ["Ingress"],
                "ingress": [{"from": listener.at("/networkPolicyPeers"), "ports": [{"port": port}]}],
            }});
            for (from, to) in pods.iter().flat_map(|from| pods.iter().map(move |to| (from, to))) {
                if to.name == "kafka" {
                    let is_named = named.contains(&(from.name.as_str(), "kafka", port));
                    let is_allowed = allowed(&[&made], to, from, port, INGRESS);
                    let place = format!("{} → kafka:{port}", from.name);
                    let problem = "the listener's networkPolicyPeers are others than the policy's";
                    findings.require(is_named == is_allowed, "network", &place, problem);
                }
            }
        }
    }
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
    let block = peer.text("/ipBlock/cidr");
    if !block.is_empty() || pod.address.is_some() {
        return pod.address.is_some_and(|address| address == block);
    }
    let namespaces = peer.at("/namespaceSelector");
    let is_there = match &pod.namespace {
        None => namespaces.is_null(),
        Some(labels) => !namespaces.is_null() && selects(namespaces, labels),
    };
    is_there && selects(peer.at("/podSelector"), &pod.labels)
}
