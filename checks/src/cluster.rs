//! What an API server says of each overlay: fields, values, references within an object, and whether a pod may be made in the
//! namespace. It judges without effect; [`crate::k8s`] holds what no server knows.
//!
//! Invariant: nothing is passed over. Every object is asked about, as a warning counts what a server only warns of.

pub mod binaries;
pub mod control_plane;
pub mod definitions;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use self::control_plane::ControlPlane;
use crate::Findings;
use crate::files::Files;
use crate::k8s::{BUILDS, DEV, LOAD, PROD};
use crate::planted::Mistake;
use crate::yaml::{Look as _, documents};

/// What is applied as it stands, beside an overlay.
pub const PLAIN: [&str; 1] = ["k8s/kafka-tools.yaml"];

/// What others refer to has to be there, or a dry run knows nothing of it.
const FIRST: [&str; 2] = ["Namespace", "ServiceAccount"];
const FOR_GOOD: &[&str] = &["apply", "--server-side", "--force-conflicts"];
const APPLY: &[&str] = &[
    "apply",
    "--server-side",
    "--force-conflicts",
    "--dry-run=server",
    "--validate=strict",
    "--warnings-as-errors",
];
const CREATE: &[&str] = &["create", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];

/// What a server finds and we do not look for.
pub const MISTAKES: &[Mistake] = &[
    (PROD, "      topologySpreadConstraints:", "      spread:", "objects"),
    (PROD, "whenUnsatisfiable: DoNotSchedule", "whenUnsatisfiable: Never", "objects"),
    (PROD, "runAsNonRoot: true", "runAsNonRoot: false", "pods"),
    (PROD, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "pods"),
    (PROD, "            - ALL", "            - KILL", "pods"),
    (PROD, "type: RuntimeDefault", "type: Unconfined", "pods"),
    (PROD, "serviceAccountName: processor", "serviceAccountName: worker", "pods"),
    (PROD, "mountPath: /etc/telex/kafka\n          name: kafka\n", MOUNTS_NOTHING, "objects"),
    (PROD, "      - Write\n", "      - Writes\n", "objects"),
    (PROD, "behavior: currentReplicasIfHigher", "behavior: sometimes", "objects"),
    (PROD, "alert: TelexPartitionHalted\n", "alerts: TelexPartitionHalted\n", "objects"),
    (PROD, "podAntiAffinityType: required", "podAntiAffinityKind: required", "objects"),
    (PROD, "  instances: 3", "  instances: many", "objects"),
    (PROD, "port: 5432", "port: 99999", "objects"),
    (PROD, "cidr: 169.254.20.10/32", "cidr: 169.254.20.10", "objects"),
    (PROD, "concurrencyPolicy: Forbid", "concurrencyPolicy: Never", "objects"),
    (PROD, "kind: ServiceMonitor", "kind: ServiceMonitors", "objects"),
    (DEV, "serviceName: telex-kafka", "service: telex-kafka", "objects"),
    (LOAD, "            cpu: \"2\"", "            cpu: two", "objects"),
    (PLAIN[0], "type: transactionalId", "type: transaction", "objects"),
];
const MOUNTS_NOTHING: &str = "mountPath: /etc/telex/kafka\n          name: properties\n";

/// Asks about everything, or about the one text that is broken.
pub fn check(files: &Files, plane: &ControlPlane, broken: Option<&str>) -> Result<Findings> {
    let mut findings = Findings::default();
    let asked = BUILDS.into_iter().chain(PLAIN);
    for name in asked.filter(|name| broken.is_none_or(|broken| broken == *name)) {
        let objects = documents(files.get(name))?;
        ensure!(!objects.is_empty(), "{name} holds nothing");
        let first = objects.iter().filter(|object| FIRST.contains(&object.text("/kind").as_str()));
        let questions = [
            ("first", FOR_GOOD, list(first.cloned().collect())),
            ("objects", APPLY, list(objects.clone())),
            ("pods", CREATE, list(objects.iter().filter_map(pod).collect())),
        ];
        for (rule, arguments, question) in questions {
            let Some(question) = question else { continue };
            if let Some(refusal) = plane.refusal(arguments, &question)? {
                findings.note(rule, name, refusal);
            }
        }
    }
    Ok(findings)
}

fn list(items: Vec<Value>) -> Option<String> {
    let is_asked = !items.is_empty();
    is_asked.then(|| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

/// The pod that a controller would make of an object, with a volume in the place of each that is claimed for it.
fn pod(object: &Value) -> Option<Value> {
    let template = match object.text("/kind").as_str() {
        "Deployment" | "StatefulSet" | "Job" => object.at("/spec/template"),
        "CronJob" => object.at("/spec/jobTemplate/spec/template"),
        _ => return None,
    };
    let mut spec = template.at("/spec").clone();
    let claimed = object.list("/spec/volumeClaimTemplates").iter();
    let claimed = claimed.map(|claim| json!({"name": claim.at("/metadata/name"), "emptyDir": {}}));
    let volumes: Vec<Value> = template.list("/spec/volumes").iter().cloned().chain(claimed).collect();
    spec.as_object_mut()?.insert("volumes".to_owned(), volumes.into());
    let name = format!("{}-{}", object.text("/kind").to_lowercase(), object.text("/metadata/name"));
    let labels = template.at("/metadata/labels");
    let metadata = json!({"name": name, "namespace": object.at("/metadata/namespace"), "labels": labels});
    Some(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_of_a_stateful_set_has_a_volume_for_each_claim() {
        let text = "kind: StatefulSet\nmetadata: {name: kafka, namespace: telex}\nspec:\n  volumeClaimTemplates:\n    - metadata: {name: data}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      volumes: [{name: tmp}]\n";
        let made: Vec<Value> = documents(text).unwrap().iter().filter_map(pod).collect();
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "statefulset-kafka", "namespace": "telex", "labels": {"a": "b"}},
            "spec": {"volumes": [{"name": "tmp"}, {"name": "data", "emptyDir": {}}]},
        });
        assert_eq!(made, [expected]);
    }
}
