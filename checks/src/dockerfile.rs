//! The Dockerfile (S30): what is shipped is a pinned base without a shell, one binary of this workspace, no root.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::Findings;
use crate::files::Files;
use crate::planted::Mistake;
use crate::programs::{Invocation, NAMES, refusals, value};

#[derive(Debug, Clone, Default)]
pub struct Stage {
    base: String,
    instructions: Vec<(String, String)>,
}

/// A Dockerfile, read.
#[derive(Debug, Clone, Default)]
pub struct Dockerfile {
    stages: BTreeMap<String, Stage>,
}

/// What an image starts, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub program: String,
    /// Arguments, unless a container gives others.
    pub default_arguments: Vec<String>,
    /// The environment that the image brings.
    pub variables: BTreeMap<String, String>,
    /// Ports that it says it serves.
    pub exposed: Vec<u16>,
    /// Whether it asks itself whether it is well.
    pub has_health_check: bool,
}

impl Dockerfile {
    /// Reads a Dockerfile; what it cannot read is missed by the checks.
    pub fn parse(text: &str) -> Self {
        let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
        let mut current = String::new();
        let joined =
            text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        for line in joined.replace("\\\n", " ").lines() {
            let Some((word, rest)) = line.trim().split_once(' ') else { continue };
            let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            if word == "FROM" {
                let (base, name) = rest.split_once(" AS ").unwrap_or((&rest, "the last"));
                current = name.to_owned();
                stages.insert(current.clone(), Stage { base: base.to_owned(), instructions: Vec::new() });
            } else if let Some(stage) = stages.get_mut(&current) {
                stage.instructions.push((word.to_owned(), rest));
            }
        }
        Self { stages }
    }

    /// The image of a stage: what it and the stages below it say.
    pub fn image(&self, target: &str) -> Image {
        let mut image = Image::default();
        for (word, rest) in self.instructions(target) {
            match word.as_str() {
                "ENTRYPOINT" => image.program = executable(&rest).unwrap_or_default(),
                "CMD" => image.default_arguments = serde_json::from_str(&rest).unwrap_or_default(),
                "ENV" => image.variables.extend(pairs(&rest)),
                "EXPOSE" => image.exposed.extend(rest.split(' ').filter_map(|port| port.parse::<u16>().ok())),
                "HEALTHCHECK" => image.has_health_check = rest != "NONE",
                _ => {}
            }
        }
        image
    }

    /// From the base up.
    fn instructions(&self, target: &str) -> Vec<(String, String)> {
        let Some(stage) = self.stages.get(target) else { return Vec::new() };
        let mut all = self.instructions(&stage.base);
        all.extend(stage.instructions.iter().cloned());
        all
    }

    fn root_image(&self, target: &str) -> String {
        match self.stages.get(target) {
            Some(stage) if stage.base != target => self.root_image(&stage.base),
            _ => target.to_owned(),
        }
    }
}

pub const FILES: [&str; 4] = ["Dockerfile", "rust-toolchain.toml", ".dockerignore", "Cargo.toml"];

/// One for each rule.
pub const MISTAKES: &[Mistake] = &[
    (FILES[0], "rust:1.95.0-trixie@sha256:", "rust:1.95.0-trixie AS x", "base-pinned"),
    (FILES[0], "rust:1.95.0", "rust:1.94.0", "toolchain"),
    (FILES[0], "cc-debian13:nonroot@", "cc-debian13:debug@", "no-shell"),
    (FILES[0], "EXPOSE 9102", "RUN true", "no-shell"),
    (FILES[0], "release/loadtest /usr", "release/processor /usr", "one-binary"),
    (FILES[0], "USER 65532:65532", "USER nonroot", "non-root"),
    (FILES[0], "image.title=\"processor\"", "image.name=\"processor\"", "labels"),
    (FILES[0], "[\"/usr/local/bin/ingest-api\"]", "/usr/local/bin/ingest-api", "entrypoint"),
    (FILES[0], "EXPOSE 8080 9101", "EXPOSE 8080", "ports"),
    (FILES[0], "INGEST_ADMIN_LISTEN=", "ADMIN_LISTEN=", "variables"),
    (FILES[0], "processor\", \"health\"", "processor\", \"healthy\"", "health"),
    (FILES[0], "CMD [\"/usr/local/bin/ingest-api\", \"--health\"]", "CMD curl localhost", "health"),
    (FILES[2], "!migrations", "#", "context"),
    (FILES[2], "!checks", "#", "context"),
    (FILES[0], "--package processor --bins", "--package processor --package bench --bins", "build"),
    (FILES[0], "STRIP=symbols", "STRIP=none", "build"),
];

/// Checks the file.
pub fn check(files: &Files) -> Result<Findings> {
    let (toolchain, ignore) = (files.get("rust-toolchain.toml"), files.get(".dockerignore"));
    let mut findings = Findings::default();
    let file = Dockerfile::parse(files.get("Dockerfile"));
    for (name, stage) in &file.stages {
        let is_foreign = !file.stages.contains_key(&stage.base);
        let is_pinned = stage.base.split_once("@sha256:").is_some_and(|(_, digest)| digest.len() == 64);
        findings.require(!is_foreign || is_pinned, "base-pinned", name, "the base has no digest");
        let version =
            stage.base.strip_prefix("rust:").map(|rest| rest.split(['-', '@']).next().unwrap_or_default());
        let holds = version.is_none_or(|version| toolchain.contains(&format!("channel = \"{version}\"")));
        findings.require(holds, "toolchain", name, "another Rust than rust-toolchain.toml's");
    }
    build(&mut findings, &file);
    for target in NAMES {
        shipped(&mut findings, &file, target);
        let image = file.image(target);
        findings.require(image.program == target, "entrypoint", target, "starts something else");
        let invocation =
            |arguments| Invocation { arguments, variables: image.variables.clone(), ..Invocation::default() };
        if image.has_health_check {
            health(&mut findings, &file, target)?;
            let settings = invocation(image.default_arguments.clone());
            let is_same = settings.listens() == image.exposed;
            findings.require(is_same, "ports", target, "EXPOSE is not what it listens on");
            for name in image.variables.keys() {
                let known = value(target, &settings, name)?.is_some();
                findings.require(known, "variables", target, format!("reads no variable {name}"));
            }
        }
    }
    // Cargo reads the Cargo.toml of every member, whatever it builds.
    let members = files.get("Cargo.toml").lines().find_map(|line| line.strip_prefix("members = "));
    let members = members.unwrap_or_default().split('"').skip(1).step_by(2);
    for member in ["Cargo.toml", "Cargo.lock", ".sqlx", "migrations"].into_iter().chain(members) {
        let is_sent = ignore.lines().any(|line| line == format!("!{member}"));
        findings.require(is_sent, "context", ".dockerignore", format!("keeps {member} out of the build"));
    }
    let problem = "sends what is not named";
    findings.require(ignore.lines().any(|line| line == "*"), "context", ".dockerignore", problem);
    Ok(findings)
}

/// What is compiled for the images is what they hold, without line tables.
fn build(findings: &mut Findings, file: &Dockerfile) {
    let instructions = file.instructions("build");
    let of = |word: &str, start: &str| {
        let all = instructions.iter().filter(|(each, rest)| each == word && rest.starts_with(start));
        all.map(|(_, rest)| rest.clone()).collect::<Vec<_>>()
    };
    let builds = [of("RUN", "cargo chef cook"), of("RUN", "cargo build")].concat();
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    let is_exact = builds.iter().all(|line| {
        let named = line.split("--package ").skip(1).filter_map(|rest| rest.split(' ').next());
        named.eq(expected.iter().copied())
    });
    let problem = "compiles other packages than are shipped";
    findings.require(builds.len() == 2 && is_exact, "build", "build", problem);
    let strips = of("ENV", "CARGO_PROFILE_RELEASE_STRIP=symbols");
    findings.require(strips.len() == 1, "build", "build", "ships line tables");
}

/// What is in the image that is shipped.
fn shipped(findings: &mut Findings, file: &Dockerfile, target: &str) {
    let base = file.root_image(target);
    let holds = base.starts_with("gcr.io/distroless/") && base.contains(":nonroot@");
    findings.require(holds, "no-shell", target, format!("is based on {base}"));
    let instructions = file.instructions(target);
    let all = |word: &str| {
        instructions
            .iter()
            .filter(|(each, _)| each == word)
            .map(|(_, rest)| rest.as_str())
            .collect::<Vec<_>>()
    };
    let problem = "runs something in the image that is shipped";
    findings.require(all("RUN").is_empty(), "no-shell", target, problem);
    findings.require(all("ADD").is_empty(), "one-binary", target, "ADDs something");
    let copied = all("COPY");
    let expected = format!("--from=build /telex/target/release/{target} /usr/local/bin/{target}");
    findings.require(copied == [expected], "one-binary", target, "copies something else than its binary");
    let holds = all("USER").last().is_some_and(|user| {
        user.split(':').next().is_some_and(|it| it.parse::<u32>().is_ok_and(|id| id > 0))
    });
    findings.require(holds, "non-root", target, "its user must be a number, and not 0");
    let labels = all("LABEL").join(" ");
    for label in ["title", "description", "version", "revision", "licenses"] {
        let is_there = labels.contains(&format!("org.opencontainers.image.{label}="));
        findings.require(is_there, "labels", target, format!("lacks the label {label}"));
    }
}

fn health(findings: &mut Findings, file: &Dockerfile, target: &str) -> Result<()> {
    let instructions = file.instructions(target);
    let check = instructions.iter().rfind(|(word, _)| word == "HEALTHCHECK");
    let command = check.and_then(|(_, rest)| rest.split_once("CMD ")).map_or("", |(_, command)| command);
    let words: Vec<String> = serde_json::from_str(command).unwrap_or_default();
    let is_itself = executable(command).is_some_and(|program| program == target);
    findings.require(is_itself, "health", target, "its health check is not itself, without a shell");
    let arguments: Vec<String> = words.into_iter().skip(1).collect();
    let invocation = Invocation { arguments, ..Invocation::default() };
    // What it needs besides, a container gives; here only the command or flag has to exist.
    let refusals = refusals(target, &invocation)?;
    let is_needed = |it: &String| it.contains("required arguments were not provided");
    let refusals: Vec<_> = refusals.into_iter().filter(|it| !is_needed(it)).collect();
    findings.require(refusals.is_empty(), "health", target, refusals.join("; "));
    Ok(())
}

/// The program that a list of words starts.
fn executable(words: &str) -> Option<String> {
    let words: Vec<String> = serde_json::from_str(words).ok()?;
    words.first()?.strip_prefix("/usr/local/bin/").map(ToOwned::to_owned)
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
}

/// Whether an image is of a version, such as `v1.2`.
pub fn names_version(image: &str) -> bool {
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    tag.trim_start_matches('v').split('.').filter(|part| part.parse::<u32>().is_ok()).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_inherits_what_is_below_it() {
        let text = "FROM x:1@sha256:ab AS base\nENV A=1 \\\n    B=2\nFROM base AS top\n# no instruction\nENTRYPOINT [\"/usr/local/bin/top\"]\nCMD [\"run\"]\nEXPOSE 1 2\n";
        let file = Dockerfile::parse(text);
        let image = file.image("top");
        assert_eq!(
            (image.program.as_str(), image.default_arguments.as_slice()),
            ("top", ["run".to_owned()].as_slice())
        );
        assert_eq!((image.variables.len(), image.exposed), (2, vec![1, 2]));
        assert_eq!(file.root_image("top"), "x:1@sha256:ab");
    }
}
