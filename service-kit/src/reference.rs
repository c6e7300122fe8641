//! What a program says of itself, as tables of Markdown: its settings, its commands and its metrics. The documents
//! hold these tables between two comments, and a test of each program compares them, so that a page
//! never tells another default than `--help` does. `make docs` rewrites them.

use std::{fmt::Write as _, fs, path::Path};

/// A metric as its declaration describes it.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    pub name: &'static str,
    /// The type's name, such as `IntCounterVec`.
    pub kind: &'static str,
    /// The shape as it stands in the code: labels of a vector, buckets of a histogram.
    pub shape: &'static str,
    /// The HELP text, line by line.
    pub help: &'static [&'static str],
}

/// The settings of a command as rows: flag, variable, default, meaning. Those of its subcommands are
/// not among them.
pub fn settings(command: &clap::Command) -> String {
    let mut table = "| flag | variable | default | meaning |\n|---|---|---|---|\n".to_owned();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(flag) = argument.get_long().filter(|flag| !matches!(*flag, "help" | "version")) else {
            continue;
        };
        let variable = argument.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
        let default = argument.get_default_values().first().filter(|value| !value.is_empty());
        let default = match default.map(|value| value.to_string_lossy()) {
            Some(value) if argument.get_action().takes_values() => code(&value),
            Some(_) => "off".to_owned(),
            None if argument.is_required_set() => "required".to_owned(),
            None if argument.get_action().takes_values() => "–".to_owned(),
            None => "off".to_owned(),
        };
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let mut meaning = help.map(ToString::to_string).unwrap_or_default().replace('\n', " ");
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| code(value.get_name()))
            .collect();
        if !values.is_empty() {
            meaning = format!("{}. One of {}.", meaning.trim_end_matches('.'), values.join(", "));
        } else if !meaning.ends_with('.') {
            meaning.push('.');
        }
        // Writing to a string does not fail.
        writeln!(table, "| `--{flag}` | {variable} | {default} | {} |", escaped(&meaning))
            .unwrap_or_default();
    }
    table
}

/// The commands of a program as rows, those that have no subcommands: how it is typed, what it does.
pub fn commands(program: &clap::Command) -> String {
    let mut table = "| command | what it does |\n|---|---|\n".to_owned();
    add_commands(&mut table, "", program);
    table
}

fn add_commands(table: &mut String, before: &str, command: &clap::Command) {
    let typed = format!("{before}{}", command.get_name());
    let mut below = command.get_subcommands().filter(|below| below.get_name() != "help").peekable();
    if below.peek().is_none() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let about = escaped(about.trim_end_matches('.'));
        writeln!(table, "| `{typed}` | {about}. |").unwrap_or_default();
    }
    below.for_each(|below| add_commands(table, &format!("{typed} "), below));
}

/// Metrics as rows: name, type, labels, meaning.
pub fn metrics(descriptions: &[Description]) -> String {
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for Description { name, kind, shape, help } in descriptions {
        let labels: Vec<String> = if kind.ends_with("Vec") {
            shape.split('"').skip(1).step_by(2).map(code).collect()
        } else {
            Vec::new()
        };
        let kind = kind.trim_start_matches("Int").trim_end_matches("Vec").to_lowercase();
        let help: Vec<&str> = help.iter().map(|line| line.trim()).collect();
        let (labels, help) = (labels.join(" "), escaped(&help.join(" ")));
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap_or_default();
    }
    table
}

/// Compares the part of a document between `<!-- NAME -->` and `<!-- end of NAME -->` with what it should
/// be. With `TELEX_WRITE_DOCS` set, writes it instead. For tests.
///
/// # Errors
/// The document lacks the part, or it differs; the text says what to do.
pub fn check(document: &Path, name: &str, expected: &str) -> Result<(), String> {
    let path = document.display();
    let text = fs::read_to_string(document).map_err(|error| format!("{path}: {error}"))?;
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| {
        let (part, after) = rest.split_once(&end)?;
        Some((before, part, after))
    });
    let Some((before, part, after)) = parts else {
        return Err(format!("{path} lacks the comments `<!-- {name} -->` and `<!-- end of {name} -->`"));
    };
    if part == expected {
        return Ok(());
    }
    if std::env::var_os("TELEX_WRITE_DOCS").is_none() {
        return Err(format!(
            "{path}: {name} is not what the program says: run `make docs`. It says:\n{expected}"
        ));
    }
    let text = format!("{before}{start}{expected}{end}{after}");
    fs::write(document, text).map_err(|error| format!("{path}: {error}"))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A bar would end the cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Example {
        /// Where to.
        #[arg(long, env = "EXAMPLE_URL", default_value = "http://x|y")]
        url: String,
        /// Do it
        #[arg(long)]
        yes: bool,
        /// How many.
        #[arg(long)]
        count: u8,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    }

    #[test]
    fn settings_become_rows() {
        let expected = "| flag | variable | default | meaning |\n|---|---|---|---|\n\
                        | `--url` | `EXAMPLE_URL` | `http://x|y` | Where to. |\n\
                        | `--yes` |  | off | Do it. |\n\
                        | `--count` |  | required | How many. |\n\
                        | `--note` |  | – | Why. |\n";
        assert_eq!(settings(&Example::command()), expected);
    }

    #[test]
    fn commands_become_rows_down_to_the_last() {
        let command =
            clap::Command::new("p").subcommand(clap::Command::new("a").about("Does a.")).subcommand(
                clap::Command::new("b").about("Of b.").subcommand(clap::Command::new("c").about("Does c")),
            );
        let expected = "| command | what it does |\n|---|---|\n| `p a` | Does a. |\n| `p b c` | Does c. |\n";
        assert_eq!(commands(&command), expected);
    }

    #[test]
    fn metrics_become_rows() {
        let description = |name, kind, shape| Description { name, kind, shape, help: &[" How", " many."] };
        let rows = metrics(&[
            description("a_total", "IntCounterVec", r#"&["route", "status"]"#),
            description("b", "Histogram", "SECONDS"),
        ]);
        assert!(rows.ends_with(
            "| `a_total` | counter | `route` `status` | How many. |\n| `b` | histogram |  | How many. |\n"
        ));
    }
}
