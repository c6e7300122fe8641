//! What holds for one service.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Service;
use crate::Findings;
use crate::dockerfile::names_version;
use crate::programs::{Invocation, port, refusals, stop_seconds};
use crate::yaml::Look as _;

/// Pinned to a version, or built here from the target of the same name.
pub fn image(findings: &mut Findings, service: &Service<'_>) {
    let (place, image) = (service.name, service.value.text("/image"));
    let target = Service::target(service.value);
    if target.is_empty() {
        findings.require(names_version(&image), "image-pinned", place, format!("{image} names no version"));
    } else {
        let problem = format!("there is no target {target}");
        findings.require(service.image.is_some(), "image-target", place, problem);
        let built = service.value.text("/build/target");
        let problem = format!("{image} is built from {built}");
        findings.require(built.is_empty() || built == target, "image-target", place, problem);
        let args = service.value.at("/build/args");
        let is_labelled =
            built.is_empty() || !(args.at("/VERSION").is_null() || args.at("/REVISION").is_null());
        let problem = format!("{image} does not say what it was built from");
        findings.require(is_labelled, "labels", place, problem);
        let expected = format!("telex/{target}:${{TELEX_VERSION:-dev}}");
        findings.require(image == expected, "image-target", place, format!("{image} is built from {target}"));
    }
}

/// A tag is built by one service: engines with containerd's image store refuse the second. The others take what is there.
pub fn built_once(findings: &mut Findings, services: &[Service<'_>]) {
    let mut built = BTreeSet::new();
    for service in services.iter().filter(|it| it.image.is_some()) {
        let builds = !service.value.at("/build").is_null();
        let policy = service.value.text("/pull_policy");
        let is_right = policy == if builds { "build" } else { "never" };
        findings.require(is_right, "image-target", service.name, format!("pull_policy is {policy:?}"));
        let is_first = !builds || built.insert(Service::target(service.value));
        findings.require(is_first, "image-target", service.name, "builds what another service builds");
    }
    for service in services.iter().filter(|it| it.image.is_some()) {
        let is_built = built.contains(&Service::target(service.value));
        findings.require(is_built, "image-target", service.name, "nobody builds its image");
    }
}

/// Restart, health, hardening.
pub fn life(findings: &mut Findings, service: &Service<'_>) {
    let (place, value) = (service.name, service.value);
    let is_bounded = !value.text("/logging/options/max-size").is_empty();
    findings.require(is_bounded, "logs", place, "its log grows until the disk is full");
    findings.require(!value.text("/restart").is_empty(), "restart", place, "has no restart policy");
    let is_limited = !value.text("/mem_limit").is_empty();
    findings.require(is_limited, "memory", place, "may take the machine's memory");
    // A tool for people, behind a profile, is looked at by them.
    let is_tool = value.texts("/profiles").contains(&"tools".to_owned());
    let must_say = !service.is_task() && !is_tool;
    let problem = "does not say whether it is well";
    findings.require(!must_say || service.has_health_check(), "health", place, problem);
    let test = value.texts("/healthcheck/test");
    let has_shell = test.first().is_some_and(|first| first == "CMD-SHELL");
    findings.require(!has_shell, "health", place, "its health check needs a shell");
    findings.require(value.at("/privileged").is_null(), "hardened", place, "is privileged");
    let options = value.texts("/security_opt");
    let is_task_of_others = service.image.is_none() && service.is_task();
    let holds = is_task_of_others || options.iter().any(|it| it == "no-new-privileges:true");
    findings.require(holds, "hardened", place, "may gain privileges");
    if service.image.is_some() {
        findings.require(value.text("/read_only") == "true", "hardened", place, "may write to its image");
        findings.require(value.texts("/cap_drop") == ["ALL"], "hardened", place, "keeps capabilities");
    }
}

/// Every port is on the loopback address, and something listens there.
pub fn ports(findings: &mut Findings, service: &Service<'_>) {
    for published in service.value.texts("/ports") {
        let place = service.name;
        // So that two of them, or `make up`, fit on one machine.
        let is_variable = published.contains("${TELEX_");
        findings.require(is_variable, "ports", place, format!("{published} cannot be moved"));
        let loopback = published.starts_with("127.0.0.1:");
        findings.require(loopback, "ports-local", place, format!("{published} is open to the network"));
        let inner = port(&published).unwrap_or_default();
        let served = service.image.as_ref().is_none_or(|image| image.exposed.contains(&inner));
        findings.require(served, "ports", place, format!("nothing listens on {inner}"));
    }
}

/// No two services want the same port of the host.
pub fn host_ports(findings: &mut Findings, services: &[Service<'_>]) {
    let mut taken = BTreeSet::new();
    for service in services {
        for published in service.value.texts("/ports") {
            let outer = published.rsplit_once(':').map(|(outer, _)| outer.to_owned()).unwrap_or_default();
            findings.require(taken.insert(outer), "ports", service.name, format!("{published} is taken"));
        }
    }
}

/// Where `prove` may be typed, it has something that it can write to.
fn scratch(findings: &mut Findings, service: &Service<'_>, invocation: &Invocation) {
    if service.name == "migrate" || Service::target(service.value) != "processor" {
        return;
    }
    let directory = invocation.variables.get("PROCESSOR_PROVE_DIRECTORY");
    let mounted = service.value.texts("/tmpfs");
    let is_there = directory
        .is_some_and(|directory| mounted.iter().any(|it| it.split(':').next() == Some(directory.as_str())));
    findings.require(is_there, "scratch", service.name, "`prove` has nothing to write to");
}

/// The program takes its arguments and variables, and has time to stop.
pub fn program(findings: &mut Findings, service: &Service<'_>) -> Result<()> {
    let Some(image) = &service.image else { return Ok(()) };
    let invocation = service.invocation();
    scratch(findings, service, &invocation);
    let refusals = refusals(&image.program, &invocation)?;
    let is_refused = !refusals.is_empty();
    findings.note_all("command", service.name, refusals);
    if service.is_task() || is_refused {
        return Ok(());
    }
    let needs = stop_seconds(&image.program, &invocation)?;
    let grace = service.value.text("/stop_grace_period");
    let grace = grace.strip_suffix('s').and_then(|seconds| seconds.parse::<i64>().ok()).unwrap_or(10);
    let problem = format!("has {grace} s to stop, and may need {needs} s");
    findings.require(grace > needs, "grace", service.name, problem);
    Ok(())
}
