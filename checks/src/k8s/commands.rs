//! Command lines that the documents show: the program takes them, with what the container sets in which they are typed. That
//! who is there may do what they do is tried (processor/tests/it/documented.rs).

use anyhow::Result;
use dev_env::typed::{Form, Typed, typed};

use super::COMPOSE;
use super::objects::Objects;
use crate::Findings;
use crate::compose;
use crate::files::Files;
use crate::programs::{self, Invocation};

/// What the person mounts who gives compose's ingest API hooks (docs/hooks.md).
const PRODUCERS: (&str, &str) = ("INGEST_PRODUCERS_FILE", "/etc/telex/producers.toml");

/// Holds every command of the documents against the program.
pub fn documented(findings: &mut Findings, objects: &Objects, files: &Files) -> Result<()> {
    for name in ["operator", "operator-hooks", "processor"] {
        let is_there = objects.workloads().iter().any(|it| it.name() == name);
        findings.require(is_there, "documented", "k8s", format!("there is no {name} to type commands in"));
    }
    let places = Places::read(objects, files.get(COMPOSE))?;
    let (mut seen, mut anywhere) = (0_u32, 0_u32);
    for (document, text) in files.documents() {
        for typed in typed(text) {
            let place = format!("{document}:{}", typed.line);
            let Some(container) = places.of(&typed) else {
                let is_known = typed.form == Form::Anywhere;
                let problem = "enters a container in another way than the other command lines do";
                findings.require(is_known, "documented", &place, problem);
                anywhere += 1;
                findings.note_all("documented", &place, unknown(&typed)?);
                continue;
            };
            seen += 1;
            let refusals = programs::refusals(typed.program, &beside(container, &typed))?;
            findings.note_all("documented", &place, refusals);
            let is_processors = matches!(typed.form, Form::Pod | Form::ComposeProcessor);
            let changes = typed.arguments.iter().any(|word| ["--yes", "--dry-run"].contains(&word.as_str()));
            let problem = "changes something, with the role of the processor";
            findings.require(!(is_processors && changes), "documented", &place, problem);
        }
    }
    findings.require(seen > 60, "documented", "docs", format!("only {seen} commands were found"));
    let problem = format!("only {anywhere} mentions of commands were found");
    findings.require(anywhere > 60, "documented", "docs", problem);
    Ok(())
}

/// What the containers start in which commands are typed.
struct Places {
    operator: Invocation,
    operator_hooks: Invocation,
    processor: Invocation,
    compose_operator: Invocation,
    compose_processor: Invocation,
    compose_api: Invocation,
}

impl Places {
    fn read(objects: &Objects, compose: &str) -> Result<Self> {
        let workloads = objects.workloads();
        let of = |name: &str| {
            let found = workloads.iter().find(|it| it.name() == name);
            found.map(|it| it.invocation(objects)).unwrap_or_default()
        };
        let mut compose_api = compose::invocation(compose, "ingest-api")?;
        compose_api.variables.insert(PRODUCERS.0.to_owned(), PRODUCERS.1.to_owned());
        Ok(Self {
            operator: of("operator"),
            operator_hooks: of("operator-hooks"),
            processor: of("processor"),
            compose_operator: compose::invocation(compose, "operator")?,
            compose_processor: compose::invocation(compose, "processor-1")?,
            compose_api,
        })
    }

    fn of(&self, typed: &Typed) -> Option<&Invocation> {
        match typed.form {
            Form::Operate if typed.program == "ingest-api" => Some(&self.operator_hooks),
            Form::Operate => Some(&self.operator),
            Form::Pod => Some(&self.processor),
            Form::ComposeOperator => Some(&self.compose_operator),
            Form::ComposeProcessor => Some(&self.compose_processor),
            Form::ComposeApi => Some(&self.compose_api),
            Form::Anywhere | Form::Unknown => None,
        }
    }
}

/// What of a command line the program does not know: its subcommands, its flags. One without a place may be named rather
/// than typed: it may leave arguments out, but what is there has to exist.
fn unknown(Typed { program, arguments, .. }: &Typed) -> Result<Vec<String>> {
    let is_name =
        |word: &&String| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    let command: Vec<String> = arguments.iter().take_while(is_name).cloned().collect();
    let settings = match programs::settings(program, &command) {
        Ok(settings) => settings,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let flags = arguments.iter().filter_map(|word| word.strip_prefix("--"));
    let flags = flags.filter_map(|flag| flag.split('=').next());
    let unknown = flags.filter(|flag| !settings.iter().any(|it| it.get_long() == Some(*flag)));
    Ok(unknown.map(|flag| format!("`{program} {}` has no --{flag}", command.join(" "))).collect())
}

/// A command beside the container's own, with those of its variables that it reads.
fn beside(container: &Invocation, typed: &Typed) -> Invocation {
    let mut invocation = container.clone();
    invocation.arguments = typed.arguments.iter().map(|word| filled(word)).collect();
    // A command that there is not reads none, and is refused as such.
    let settings = programs::settings(typed.program, &invocation.command()).unwrap_or_default();
    invocation.variables.retain(|name, _| settings.iter().any(|it| programs::reads(it, name)));
    invocation
}

/// What stands for a number, an id or a place is one.
fn filled(word: &str) -> String {
    let is_placeholder = word.chars().all(|c| c.is_ascii_uppercase() || matches!(c, '_' | '/'))
        && word.chars().any(|c| c.is_ascii_uppercase());
    match word {
        "NEW_ID" | "CLIENT_ID" => "00000000-0000-0000-0000-000000000000".to_owned(),
        "P/OFFSET" => "3/7".to_owned(),
        _ if is_placeholder => "7".to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_a_command_gets_what_it_reads_of_its_containers_variables() {
        let compose = "services:\n  operator:\n    image: telex/processor\n    environment:\n      \
                       PROCESSOR_TOPIC: a\n      PROCESSOR_GROUP: b\n";
        let container = compose::invocation(compose, "operator").unwrap();
        let line = typed("`docker compose run --rm operator dead-letters show P/OFFSET`").remove(0);
        let made = beside(&container, &line);
        assert_eq!(made.arguments, ["dead-letters", "show", "3/7"]);
        assert_eq!(made.variables.into_keys().collect::<Vec<_>>(), ["PROCESSOR_TOPIC"]);
    }
}
