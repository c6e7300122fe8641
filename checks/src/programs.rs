//! What Telex's programs take, as they say themselves: settings and defaults from `--help`, and whether they would
//! start with given arguments and variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

/// The programs that images are made of.
pub const NAMES: [&str; 3] = ["ingest-api", "processor", "loadtest"];

/// What a program reads from the environment beside its own settings: where the driver of PostgreSQL takes what its URL
/// does not say.
const DRIVER_VARIABLES: [&str; 2] = ["PGSSLMODE", "PGSSLROOTCERT"];

/// What a container's environment holds for a command that a person starts beside the container's own.
const BESIDE: [(&str, &str, &str); 3] = [
    ("processor", "prove", "PROCESSOR_PROVE_DIRECTORY"),
    ("processor", "halts resume", "USER"),
    ("processor", "quarantine list", "PROCESSOR_QUARANTINE_TOPIC"),
];

/// The processor's `DRAIN_DEADLINE` and `LEAVE_DEADLINE` (the table of deadlines in docs/operations.md): it drains, then
/// says good-bye to the group.
const PROCESSOR_DRAIN_SECONDS: i64 = 3;
const PROCESSOR_LEAVE_SECONDS: i64 = 5;
/// What an ingest API needs after its drain: the last records leave.
const INGEST_FLUSH_SECONDS: i64 = 2;

/// A setting as `--help` describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// Its variable, if it has one.
    pub variable: String,
    pub default: String,
    /// Whether it takes a value.
    pub takes_value: bool,
}

/// What a container would start.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Arguments after the program's name.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    /// Files that are there, by path, with their content.
    pub files: BTreeMap<String, String>,
}

/// A program, its arguments, and the files that they name.
type Question = (String, Vec<String>, BTreeMap<String, String>);
/// Whether it was content, and what it said.
type Answer = (bool, String);

/// The built programs. Every mistake that is planted asks them the same again, so they are asked once.
#[derive(Debug, Clone)]
pub struct Programs {
    binaries: PathBuf,
    scratch: PathBuf,
    answers: Arc<Mutex<BTreeMap<Question, Answer>>>,
}

impl Programs {
    /// The programs in this directory; `scratch` is for files that they are given.
    pub fn new(binaries: PathBuf, scratch: PathBuf) -> Self {
        Self { binaries, scratch, answers: Arc::default() }
    }

    /// The settings of a command by their flags, those of all commands included.
    pub fn settings(&self, program: &str, command: &[String]) -> Result<BTreeMap<String, Setting>> {
        let output = self.help(program, command, &BTreeMap::new())?;
        if !output.0 {
            bail!("`{program} {}` is no command", command.join(" "));
        }
        Ok(parse(&output.1))
    }

    /// The value that a setting would have, by its variable.
    pub fn value(&self, program: &str, invocation: &Invocation, variable: &str) -> Result<Option<String>> {
        let settings = self.settings(program, &invocation.command())?;
        let Some((flag, setting)) = settings.iter().find(|(_, setting)| setting.variable == variable) else {
            return Ok(None);
        };
        let prefix = format!("--{flag}=");
        let argument = invocation.arguments.iter().find_map(|argument| argument.strip_prefix(&prefix));
        let given = invocation.variables.iter().find(|(name, _)| name == variable);
        Ok(Some(match (argument, given) {
            (Some(value), _) => value.to_owned(),
            (None, Some((_, value))) => value.clone(),
            (None, None) => setting.default.clone(),
        }))
    }

    /// What a program may need from SIGTERM to its end.
    pub fn stop_seconds(&self, program: &str, invocation: &Invocation) -> Result<i64> {
        let drain = self.value(program, invocation, "INGEST_DRAIN_DEADLINE_MS")?;
        Ok(match drain.and_then(|value| value.parse::<i64>().ok()) {
            Some(drain_ms) => drain_ms / 1_000 + INGEST_FLUSH_SECONDS,
            None => PROCESSOR_DRAIN_SECONDS + PROCESSOR_LEAVE_SECONDS,
        })
    }

    /// Everything that the program would not take. Variables are given as the flags they stand for, because a program
    /// that is asked for help looks at its arguments only; `--help` at the end keeps it from starting.
    pub fn refusals(&self, program: &str, invocation: &Invocation) -> Result<Vec<String>> {
        let command = invocation.command();
        let settings = match self.settings(program, &command) {
            Ok(settings) => settings,
            Err(error) => return Ok(vec![error.to_string()]),
        };
        let mut refusals = Vec::new();
        let mut arguments = invocation.arguments.clone();
        for (name, value) in &invocation.variables {
            let setting = settings.iter().find(|(_, setting)| setting.variable == *name);
            match setting {
                Some((flag, setting)) if setting.takes_value => arguments.push(format!("--{flag}={value}")),
                Some((flag, _)) if value == "true" => arguments.push(format!("--{flag}")),
                Some((_, _)) => refusals.push(format!("{name} must be \"true\" or left out")),
                None if DRIVER_VARIABLES.contains(&name.as_str()) && program == "processor" => {}
                None if self.is_for_another_command(program, name)? => {}
                // Kubernetes puts it into an argument.
                None if invocation.arguments.iter().any(|it| it.contains(&format!("$({name})"))) => {}
                None => refusals.push(format!("{program} reads no variable {name}")),
            }
        }
        for flag in self.required(program, &command)? {
            let given = arguments.iter().any(|argument| {
                argument.strip_prefix(&flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
            if !given {
                refusals.push(format!("{program} needs {flag}"));
            }
        }
        let arguments = self.filled(&arguments, &invocation.files);
        let (accepted, said) = self.help(program, &arguments, &invocation.files)?;
        if !accepted {
            refusals.push(said.lines().take(3).collect::<Vec<_>>().join(" "));
        }
        Ok(refusals)
    }

    fn is_for_another_command(&self, program: &str, variable: &str) -> Result<bool> {
        let Some((_, command, _)) = BESIDE.iter().find(|(of, _, name)| (*of, *name) == (program, variable))
        else {
            return Ok(false);
        };
        let command: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
        let settings = self.settings(program, &command)?;
        Ok(settings.values().any(|setting| setting.variable == variable))
    }

    /// The flags that the usage line shows outside of brackets.
    fn required(&self, program: &str, command: &[String]) -> Result<Vec<String>> {
        let (_, help) = self.help(program, command, &BTreeMap::new())?;
        let usage = help.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
        Ok(usage.split(' ').filter(|word| word.starts_with("--")).map(ToOwned::to_owned).collect())
    }

    /// Arguments with the files where they are laid down, and a number for what Kubernetes puts in.
    fn filled(&self, arguments: &[String], files: &BTreeMap<String, String>) -> Vec<String> {
        let filled = arguments.iter().map(|argument| {
            self.laid(argument, files).split("$(").enumerate().fold(String::new(), |text, (index, part)| {
                match index {
                    0 => text + part,
                    _ => text + "7" + part.split_once(')').map_or(part, |(_, rest)| rest),
                }
            })
        });
        filled.collect()
    }

    /// A text with the paths of files as they are laid down.
    fn laid(&self, text: &str, files: &BTreeMap<String, String>) -> String {
        let root = self.scratch.join("files");
        files.keys().fold(text.to_owned(), |text, path| {
            text.replace(path.as_str(), &format!("{}{path}", root.display()))
        })
    }

    /// Files are read with the arguments that name them.
    fn lay_down(&self, files: &BTreeMap<String, String>) -> Result<()> {
        for (path, content) in files {
            let file = self.scratch.join("files").join(path.trim_start_matches('/'));
            let directory = file.parent().context("a file lies in a directory")?;
            std::fs::create_dir_all(directory)?;
            std::fs::write(&file, self.laid(content, files)).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    fn help(&self, program: &str, arguments: &[String], files: &BTreeMap<String, String>) -> Result<Answer> {
        let question = (program.to_owned(), arguments.to_vec(), files.clone());
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers().get(&question) {
            return Ok(answer.clone());
        }
        self.lay_down(files)?;
        let answer = self.run(program, arguments)?;
        answers().insert(question, answer.clone());
        Ok(answer)
    }

    fn run(&self, program: &str, arguments: &[String]) -> Result<Answer> {
        let path = self.binaries.join(program);
        let mut command = Command::new(&path);
        command.args(arguments).arg("--help").env_clear().current_dir(Path::new("/")).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("{} cannot be run", path.display()))?;
        let said = if output.status.success() { output.stdout } else { output.stderr };
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Invocation {
    /// The subcommands: the arguments before the first flag.
    pub fn command(&self) -> Vec<String> {
        self.arguments.iter().take_while(|argument| !argument.starts_with('-')).cloned().collect()
    }
}

fn parse(help: &str) -> BTreeMap<String, Setting> {
    let mut settings: BTreeMap<String, Setting> = BTreeMap::new();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut current = String::new();
    for line in help.lines().map(str::trim) {
        let line = line
            .split_once(", --")
            .filter(|(short, _)| short.starts_with('-'))
            .map_or_else(|| line.strip_prefix("--"), |(_, long)| Some(long))
            .ok_or(line);
        match line {
            Ok(flag) => {
                let (name, value) = flag.split_once(' ').unwrap_or((flag, ""));
                let setting = Setting { takes_value: value.starts_with('<'), ..Setting::default() };
                settings.insert(name.to_owned(), setting);
                name.clone_into(&mut current);
            }
            // What stands in brackets may be broken over lines.
            Err(text) => texts.entry(current.clone()).or_default().extend([text, " "]),
        }
    }
    for (name, setting) in &mut settings {
        let text = texts.get(name).map(String::as_str).unwrap_or_default();
        let bracketed = |what: &str| text.rsplit_once(what)?.1.split_once(']').map(|(value, _)| value.trim());
        if let Some(variable) = bracketed("[env: ") {
            variable.trim_end_matches('=').clone_into(&mut setting.variable);
        }
        if let Some(default) = bracketed("[default: ") {
            default.clone_into(&mut setting.default);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_the_help_text() {
        let help = "Usage: x [OPTIONS] --brokers <B>\n\nOptions:\n      --brokers <B>\n          Where\n\n          [env: X_BROKERS=]\n\n      --lanes <N>\n          How many\n          [env: X_LANES=]\n          [default: 2]\n\n      --file <F>\n          The same [env:\n          X_FILE=]\n      --yes\n          Do it\n\n  -h, --help\n          Print help\n";
        let settings = parse(help);
        let setting = |variable: &str, default: &str, takes_value| Setting {
            variable: variable.to_owned(),
            default: default.to_owned(),
            takes_value,
        };
        assert_eq!(settings.get("brokers"), Some(&setting("X_BROKERS", "", true)));
        assert_eq!(settings.get("lanes"), Some(&setting("X_LANES", "2", true)));
        assert_eq!(settings.get("file"), Some(&setting("X_FILE", "", true)));
        assert_eq!(settings.get("yes"), Some(&setting("", "", false)));
        assert!(settings.contains_key("help"));
    }
}
