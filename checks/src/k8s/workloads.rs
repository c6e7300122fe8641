//! What holds for one workload (S26, S29).

use anyhow::Result;

use super::objects::{Objects, Workload, selects};
use crate::Findings;
use crate::dockerfile::names_version;
use crate::programs::{refusals, stop_seconds};
use crate::yaml::Look as _;

/// What Pod Security *restricted* leaves open; limits; a pinned image.
pub fn hardened(findings: &mut Findings, workload: &Workload<'_>) {
    let (place, pod, container) = (workload.place(), workload.pod, workload.container);
    let holds = [
        (pod.list("/containers").len() == 1 && pod.at("/initContainers").is_null(), "has other containers"),
        (pod.number("/securityContext/runAsUser").is_some_and(|id| id > 0), "names no user"),
        (pod.text("/automountServiceAccountToken") == "false", "is given a token of the API server"),
        (
            workload.is_server() || container.text("/securityContext/readOnlyRootFilesystem") == "true",
            "may write to its image",
        ),
    ];
    for (holds, problem) in holds {
        findings.require(holds, "restricted", &place, problem);
    }
    for what in ["requests/cpu", "requests/memory", "limits/cpu", "limits/memory"] {
        let is_set = !container.at(&format!("/resources/{what}")).is_null();
        findings.require(is_set, "resources", &place, format!("sets no {what}"));
    }
    let image = container.text("/image");
    let is_pinned = names_version(&image) || image.contains("@sha256:");
    let problem = format!("{image} is no version");
    findings.require(is_pinned, "image-pinned", &place, problem);
    // A name without a host is somebody's on the default registry.
    let host = image.split_once('/').map_or("", |(host, _)| host);
    let is_named = host == "localhost" || host.contains('.') || host.contains(':');
    findings.require(is_named, "image-registry", &place, format!("{image} names no registry"));
    let problem = format!("{image} is none of ours");
    findings.require(workload.is_server() || workload.program().is_some(), "image-program", &place, problem);
}

/// Kafka and PostgreSQL without an operator are those of docker-compose.yml.
pub fn server(findings: &mut Findings, workload: &Workload<'_>, compose: &str) {
    let image = workload.container.text("/image");
    let wanted = format!("image: {}", image.trim_start_matches("docker.io/").trim_start_matches("library/"));
    let is_same = compose.lines().any(|line| line.trim() == wanted);
    let problem = format!("docker-compose.yml has no {image}");
    findings.require(is_same, "image-compose", &workload.place(), problem);
}

/// What runs on is probed, spread, protected, and scaled by one authority.
pub fn long_lived(findings: &mut Findings, workload: &Workload<'_>, objects: &Objects) {
    if !workload.is_service() {
        return;
    }
    let (place, container) = (workload.place(), workload.container);
    for (probe, path) in
        [("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
    {
        let asked = container.at(&format!("/{probe}/httpGet"));
        let is_right = asked.text("/path") == path && asked.text("/port") == "admin";
        let problem = format!("its {probe} must ask {path} of the port admin");
        findings.require(is_right, "probes", &place, problem);
    }
    let pods = workload.labels();
    let spread = workload.pod.list("/topologySpreadConstraints");
    for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
        let is_spread =
            spread.iter().any(|it| it.text("/topologyKey") == key && selects(it.at("/labelSelector"), &pods));
        findings.require(is_spread, "spread", &place, format!("is not spread over {key}"));
    }
    // kubernetes/kubernetes#116118: a tainted node counts as an empty domain, and the last pod of a rollout waits forever.
    let hard = spread.iter().filter(|it| it.text("/whenUnsatisfiable") == "DoNotSchedule");
    let is_free = hard.clone().all(|it| {
        it.text("/nodeTaintsPolicy") == "Honor" && it.texts("/matchLabelKeys") == ["pod-template-hash"]
    });
    findings.require(is_free, "spread", &place, "may hang in a rollout where a node is tainted");
    let has_budget = objects.of("PodDisruptionBudget").any(|it| selects(it.at("/spec/selector"), &pods));
    findings.require(has_budget, "budget", &place, "has no PodDisruptionBudget");
    let name = workload.name();
    let is_scaled = ["HorizontalPodAutoscaler", "ScaledObject"]
        .iter()
        .flat_map(|kind| objects.of(kind))
        .any(|it| it.text("/spec/scaleTargetRef/name") == name);
    let sets_replicas = !workload.object.at("/spec/replicas").is_null();
    let problem = "its replicas have not exactly one author";
    findings.require(is_scaled != sets_replicas, "autoscaled", &place, problem);
}

/// The program takes what it is given, listens where it is asked, and has time to stop. Only beside servers that have no
/// certificates does it speak in plain text.
pub fn program(
    findings: &mut Findings,
    workload: &Workload<'_>,
    objects: &Objects,
    is_plain: bool,
) -> Result<()> {
    let Some(program) = workload.program() else { return Ok(()) };
    let (place, invocation) = (workload.place(), workload.invocation(objects));
    let argument = invocation.arguments.iter().find_map(|it| it.split_once("$(")?.1.split_once(')'));
    let is_known = argument.is_none_or(|(name, _)| invocation.variables.contains_key(name));
    findings.require(is_known, "command", &place, "an argument names a variable that is not there");
    let is_clear = workload.container.list("/env").len() == invocation.variables.len();
    findings.require(is_clear, "command", &place, "a variable has two values");
    let refusals = refusals(program, &invocation)?;
    let is_refused = !refusals.is_empty();
    findings.note_all("command", &place, refusals);
    let (mode, protocol) = if is_plain { ("disable", "plaintext") } else { ("verify-full", "sasl_ssl") };
    for (name, value) in &invocation.variables {
        let is_pinned = name != "PGSSLMODE" || value == mode;
        findings.require(is_pinned, "tls", &place, format!("PGSSLMODE must be {mode}"));
    }
    let names = |wanted: &str| invocation.variables.contains_key(wanted);
    let has_database = invocation.variables.keys().any(|name| name.contains("_DATABASE_URL"));
    findings.require(!has_database || names("PGSSLMODE"), "tls", &place, format!("PGSSLMODE must be {mode}"));
    for (path, text) in invocation.files.iter().filter(|(path, _)| path.ends_with(".properties")) {
        let is_right = text.lines().any(|line| line.strip_prefix("security.protocol=") == Some(protocol));
        findings.require(is_right, "tls", &place, format!("{path} does not ask for {protocol}"));
    }
    let listens: Vec<i64> = invocation.listens().into_iter().map(i64::from).collect();
    let ports = workload.container.list("/ports").iter();
    let mut declared: Vec<i64> = ports.filter_map(|it| it.number("/containerPort")).collect();
    declared.sort_unstable();
    let problem = format!("declares {declared:?}, listens on {listens:?}");
    findings.require(listens == declared, "ports", &place, problem);
    if workload.is_service() && !is_refused {
        let pause = workload.container.number("/lifecycle/preStop/sleep/seconds").unwrap_or(0);
        let needs = stop_seconds(program, &invocation)? + pause;
        let grace = workload.pod.number("/terminationGracePeriodSeconds").unwrap_or(30);
        let problem = format!("has {grace} s to stop, and may need {needs} s");
        findings.require(grace > needs, "grace", &place, problem);
    }
    Ok(())
}
