//! Command lines that the documents show: the program takes them, and who types them there may do what they do.

use anyhow::Result;

use super::objects::{Objects, Workload};
use crate::Findings;
use crate::files::Files;
use crate::markdown::shown;
use crate::programs::{self, Invocation};

/// How a command begins that runs with the operator's rights, and how one that runs with the processor's.
const AS_OPERATOR: [&str; 2] = ["k8s/operate ", "docker compose run --rm operator "];
const AS_PROCESSOR: [&str; 2] = [
    "kubectl exec deploy/processor -- /usr/local/bin/processor ",
    "docker compose exec processor-1 /usr/local/bin/processor ",
];
/// How a command begins whose place the document leaves open.
const ANYWHERE: [&str; 3] = ["processor ", "ingest-api ", "loadtest "];
/// What programs say, beside what they are told.
const SAID: [&str; 3] = ["processor failed", "processor starts", "ingest-api failed"];
/// What the processor's role is enough for (migrations/roles/grants.sql; processor/tests/it/roles.rs tries what is not).
const LOOKS: [&str; 9] = [
    "partitions show",
    "progress show",
    "progress wait",
    "halts list",
    "halts history",
    "dead-letters list",
    "dead-letters show",
    "dialogs show",
    "prove",
];

/// Holds every command of the documents against the program.
pub fn documented(findings: &mut Findings, objects: &Objects, files: &Files) -> Result<()> {
    let workloads = objects.workloads();
    let of = |name: &str| workloads.iter().find(|it| it.name() == name);
    let (Some(operator), Some(hooks), Some(processor)) =
        (of("operator"), of("operator-hooks"), of("processor"))
    else {
        findings.note("documented", "k8s", "there is no CronJob operator or operator-hooks, or no processor");
        return Ok(());
    };
    let mut seen = 0_u32;
    for (document, text) in files.documents() {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{document}:{}", index + 1);
            for command in commands(line, &AS_OPERATOR) {
                seen += 1;
                let is_hooks = command.first().is_some_and(|first| first == "hooks");
                let workload = if is_hooks { hooks } else { operator };
                refusals(findings, &place, workload, &command, objects)?;
            }
            for command in commands(line, &AS_PROCESSOR) {
                seen += 1;
                refusals(findings, &place, processor, &command, objects)?;
                let looks = LOOKS.iter().any(|it| command.join(" ").starts_with(it));
                let problem = "changes something, with the role of the processor";
                findings.require(looks, "documented", &place, problem);
            }
        }
    }
    findings.require(seen > 20, "documented", "docs", format!("only {seen} commands were found"));
    mentioned(findings, files)
}

/// A command without a place is named rather than typed: it may leave arguments out, but what is there has to exist.
fn mentioned(findings: &mut Findings, files: &Files) -> Result<()> {
    let mut seen = 0_u32;
    for (document, text) in files.documents() {
        for (number, shown) in shown(text) {
            let command = shown.trim().trim_start_matches("$ ");
            let begins = ANYWHERE.iter().any(|beginning| command.starts_with(beginning));
            if !begins || SAID.contains(&command) {
                continue;
            }
            seen += 1;
            let place = format!("{document}:{number}");
            findings.note_all("documented", &place, unknown(command)?);
        }
    }
    findings.require(seen > 60, "documented", "docs", format!("only {seen} mentions of commands were found"));
    Ok(())
}

/// What of a command line the program does not know: its subcommands, its flags.
fn unknown(line: &str) -> Result<Vec<String>> {
    let line = line.split(['#', '>', ';', '|']).next().unwrap_or_default();
    let words = words(line);
    let Some((program, rest)) = words.split_first() else { return Ok(Vec::new()) };
    let is_name =
        |word: &&String| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    let command: Vec<String> = rest.iter().take_while(is_name).cloned().collect();
    let settings = match programs::settings(program, &command) {
        Ok(settings) => settings,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let flags = rest.iter().filter_map(|word| word.strip_prefix("--"));
    let flags = flags.filter_map(|flag| flag.split('=').next());
    let unknown = flags.filter(|flag| !settings.iter().any(|it| it.get_long() == Some(*flag)));
    Ok(unknown.map(|flag| format!("`{program} {}` has no --{flag}", command.join(" "))).collect())
}

fn refusals(
    findings: &mut Findings,
    place: &str,
    workload: &Workload<'_>,
    command: &[String],
    objects: &Objects,
) -> Result<()> {
    let program = workload.program().unwrap_or_default();
    let refusals = programs::refusals(program, &invocation(workload, objects, command))?;
    findings.note_all("documented", place, refusals);
    Ok(())
}

fn invocation(workload: &Workload<'_>, objects: &Objects, arguments: &[String]) -> Invocation {
    let mut invocation = workload.invocation(objects);
    invocation.arguments = arguments.to_vec();
    // It is `run`'s own.
    invocation
        .variables
        .retain(|name, _| !["PROCESSOR_ADMIN_LISTEN", "PROCESSOR_GROUP"].contains(&name.as_str()));
    invocation
}

/// The commands of a line that begin in one of these ways; what stands for a number, an id or a place is one.
fn commands(line: &str, beginnings: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for beginning in beginnings {
        for (at, _) in line.match_indices(beginning) {
            let rest = line.get(at + beginning.len()..).unwrap_or_default();
            let rest = rest.split(['`', '#', '>', ';', '|']).next().unwrap_or_default();
            let command: Vec<String> = words(rest).iter().map(|word| filled(word)).collect();
            // `k8s/operate …` speaks of any.
            if command.first().is_some_and(|first| first != "…") {
                found.push(command);
            }
        }
    }
    found
}

/// As a shell would part them; the documents use no quotes within words.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split(['"', '\'']).enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

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
    fn commands_are_found_with_their_placeholders_filled() {
        let line =
            "so `k8s/operate halts resume --partition P --note \"a b\"` or k8s/operate prove > x # why";
        let found = commands(line, &AS_OPERATOR);
        let expected: [&[&str]; 2] = [&["halts", "resume", "--partition", "7", "--note", "a b"], &["prove"]];
        assert_eq!(found, expected);
    }
}
