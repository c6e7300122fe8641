//! The command lines of our programs that the documents show. How one begins says where it runs, and so with whose rights:
//! the checks hold it against what that place sets, the tests run it as who is there.

use crate::markdown::shown;

/// How a command line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `k8s/operate …`: a Job with an operator's rights.
    Operate,
    /// `kubectl exec …`: in a processor's pod.
    Pod,
    /// `docker compose run --rm operator …`.
    ComposeOperator,
    /// `docker compose exec processor-1 …`.
    ComposeProcessor,
    /// `docker compose exec ingest-api …`.
    ComposeApi,
    /// With the program's name, or where a build leaves it: the document leaves open as whom.
    Anywhere,
    /// In a container, but in none of these ways.
    Unknown,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The number of its line.
    pub line: usize,
    pub form: Form,
    pub program: &'static str,
    /// What stands for a number, an id or a place is as it is written.
    pub arguments: Vec<String>,
}

const PROGRAMS: [&str; 3] = ["ingest-api", "loadtest", "processor"];

const BEGINNINGS: [(&str, Form, &str); 8] = [
    ("k8s/operate ", Form::Operate, "processor"),
    ("kubectl exec deploy/processor -- /usr/local/bin/processor ", Form::Pod, "processor"),
    ("docker compose run --rm operator ", Form::ComposeOperator, "processor"),
    ("docker compose exec processor-1 /usr/local/bin/processor ", Form::ComposeProcessor, "processor"),
    ("docker compose exec ingest-api /usr/local/bin/ingest-api ", Form::ComposeApi, "ingest-api"),
    ("target/release/ingest-api ", Form::Anywhere, "ingest-api"),
    ("target/release/loadtest ", Form::Anywhere, "loadtest"),
    ("target/release/processor ", Form::Anywhere, "processor"),
];

/// What programs say in their logs, beside what they are told.
const SAID: [&str; 2] = ["failed", "starts"];

/// The command lines that a document shows, in their order.
pub fn typed(text: &str) -> Vec<Typed> {
    let mut found = Vec::new();
    for (line, shown) in shown(text) {
        let code = shown.split('#').next().unwrap_or_default();
        for part in code.split([';', '|', '&']) {
            let part = part.split('>').next().unwrap_or_default().trim().trim_start_matches("$ ");
            let Some((form, program, rest)) = begun(part) else { continue };
            let arguments = words(rest);
            let Some(first) = arguments.first() else { continue };
            // `k8s/operate …` speaks of any.
            let is_said = form == Form::Anywhere && arguments.len() == 1 && SAID.contains(&first.as_str());
            if first == "…" || is_said {
                continue;
            }
            let is_hooks = form == Form::Operate && first == "hooks";
            let program = if is_hooks { "ingest-api" } else { program };
            found.push(Typed { line, form, program, arguments });
        }
    }
    found
}

/// The form, the program, and what it is told.
fn begun(part: &str) -> Option<(Form, &'static str, &str)> {
    for (beginning, form, program) in BEGINNINGS {
        if let Some((_, rest)) = part.split_once(beginning) {
            return Some((form, program, rest));
        }
    }
    for program in PROGRAMS {
        if let Some(rest) = part.strip_prefix(program)
            && rest.starts_with(' ')
        {
            return Some((Form::Anywhere, program, rest));
        }
    }
    let is_of_compose = part.contains("docker compose ") && part.contains(" operator ");
    let is_of_image = PROGRAMS.iter().any(|program| part.contains(&format!("/usr/local/bin/{program} ")));
    (is_of_compose || is_of_image).then_some((Form::Unknown, "processor", part))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Form, &'static str, String)> {
        typed(text).into_iter().map(|it| (it.form, it.program, it.arguments.join("|"))).collect()
    }

    #[test]
    fn a_command_line_is_found_wherever_it_is_shown_and_parted_as_a_shell_parts_it() {
        let text = "Type `k8s/operate halts resume --partition P --note \"a b\"` or `processor prove`, not `processor …`:\n\
                    ```sh\n$ k8s/operate prove > x # why; processor run\n\
                    k8s/operate progress show; docker compose exec ingest-api /usr/local/bin/ingest-api hooks list\n\
                    target/release/ingest-api --listen \\\n  '127.0.0.1:1' &\n```\n`processor failed`\n";
        let expected = [
            (Form::Operate, "processor", "halts|resume|--partition|P|--note|a b"),
            (Form::Anywhere, "processor", "prove"),
            (Form::Operate, "processor", "prove"),
            (Form::Operate, "processor", "progress|show"),
            (Form::ComposeApi, "ingest-api", "hooks|list"),
            (Form::Anywhere, "ingest-api", "--listen|127.0.0.1:1"),
        ];
        let expected = expected.map(|(form, program, arguments)| (form, program, arguments.to_owned()));
        assert_eq!(found(text), expected);
        let hooks = [(Form::Operate, "ingest-api", "hooks|replay".to_owned())];
        assert_eq!(found("`k8s/operate hooks replay`"), hooks);
    }

    #[test]
    fn a_container_that_is_entered_in_another_way_is_not_passed_over() {
        for shown in [
            "`docker compose run -T operator halts list`",
            "`kubectl exec deploy/other -- /usr/local/bin/processor halts list`",
        ] {
            assert_eq!(found(shown).first().map(|(form, ..)| *form), Some(Form::Unknown), "{shown}");
        }
    }
}
