//! Command lines that the documents show: the program takes them, and who types them there may do what they do.

use anyhow::Result;

use super::objects::{Objects, Workload};
use crate::checks::Findings;
use crate::checks::files::Files;
use crate::checks::programs::{Invocation, Programs};

const DOCUMENTS: [&str; 5] = [
    "docs/kubernetes.md",
    "docs/scaling.md",
    "docs/runbooks.md",
    "docs/operations.md",
    "docs/growing-partitions.md",
];
/// How a command begins that runs with the operator's rights, and how one that runs with the processor's.
const AS_OPERATOR: [&str; 2] = ["k8s/operate ", "docker compose run --rm operator "];
const AS_PROCESSOR: [&str; 2] = [
    "kubectl exec deploy/processor -- /usr/local/bin/processor ",
    "docker compose exec processor-1 /usr/local/bin/processor ",
];
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
///
/// # Errors
/// The program could not be run.
pub fn documented(
    findings: &mut Findings,
    objects: &Objects,
    files: &Files,
    programs: &Programs,
) -> Result<()> {
    let workloads = objects.workloads();
    let of = |name: &str| workloads.iter().find(|it| it.name() == name);
    let (Some(operator), Some(hooks), Some(processor)) =
        (of("operator"), of("operator-hooks"), of("processor"))
    else {
        findings.note("documented", "k8s", "there is no CronJob operator or operator-hooks, or no processor");
        return Ok(());
    };
    let mut seen = 0_u32;
    for document in DOCUMENTS {
        for (index, line) in files.get(document).lines().enumerate() {
            let place = format!("{document}:{}", index + 1);
            for command in commands(line, &AS_OPERATOR) {
                seen += 1;
                let is_hooks = command.first().is_some_and(|first| first == "hooks");
                let workload = if is_hooks { hooks } else { operator };
                refusals(findings, &place, (workload, &command), objects, programs)?;
            }
            for command in commands(line, &AS_PROCESSOR) {
                seen += 1;
                refusals(findings, &place, (processor, &command), objects, programs)?;
                let looks = LOOKS.iter().any(|it| command.join(" ").starts_with(it));
                findings.require(
                    looks,
                    "documented",
                    &place,
                    "changes something, with the role of the processor",
                );
            }
        }
    }
    findings.require(seen > 20, "documented", "docs", format!("only {seen} commands were found"));
    Ok(())
}

fn refusals(
    findings: &mut Findings,
    place: &str,
    (workload, command): (&Workload<'_>, &[String]),
    objects: &Objects,
    programs: &Programs,
) -> Result<()> {
    let program = workload.program().unwrap_or_default();
    for refusal in programs.refusals(program, &invocation(workload, objects, command))? {
        findings.note("documented", place, refusal);
    }
    Ok(())
}

fn invocation(workload: &Workload<'_>, objects: &Objects, arguments: &[String]) -> Invocation {
    let mut invocation = workload.invocation(objects);
    invocation.arguments = arguments.to_vec();
    // It is `run`'s own.
    invocation
        .variables
        .retain(|(name, _)| !matches!(name.as_str(), "PROCESSOR_ADMIN_LISTEN" | "PROCESSOR_GROUP"));
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
