//! What Telex's programs take, as they describe it themselves: settings and defaults, and whether they would start with
//! given arguments and variables.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Arg, Command, CommandFactory as _};
use dev_env::workspace::Workspace;
use ingest_api::app::FLUSH_DEADLINE;
use ingest_api::commands::Hooks;
use ingest_api::config::Config;
use processor::consume::supervisor::{DRAIN_DEADLINE, LEAVE_DEADLINE};

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

/// What a container would start.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Arguments after the program's name.
    pub arguments: Vec<String>,
    pub variables: BTreeMap<String, String>,
    /// Files that are there, by path, with their content.
    pub files: BTreeMap<String, String>,
}

impl Invocation {
    /// The subcommands: the arguments before the first flag.
    pub fn command(&self) -> Vec<String> {
        self.arguments.iter().take_while(|argument| !argument.starts_with('-')).cloned().collect()
    }

    /// The ports on which it is told to listen.
    pub fn listens(&self) -> Vec<u16> {
        let listens = self.variables.iter().filter(|(name, _)| name.ends_with("LISTEN"));
        let mut ports: Vec<u16> = listens.filter_map(|(_, value)| port(value)).collect();
        ports.sort_unstable();
        ports
    }
}

/// The port of an address.
pub fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

/// The value that a setting would have, by its variable.
pub fn value(program: &str, invocation: &Invocation, variable: &str) -> Result<Option<String>> {
    let settings = settings(program, &invocation.command())?;
    let Some(setting) = settings.iter().find(|it| reads(it, variable)) else { return Ok(None) };
    let prefix = format!("{}=", flag(setting));
    let argument = invocation.arguments.iter().find_map(|argument| argument.strip_prefix(&prefix));
    let value = argument.or_else(|| invocation.variables.get(variable).map(String::as_str));
    let default = setting.get_default_values().first().and_then(|value| value.to_str());
    Ok(Some(value.or(default).unwrap_or_default().to_owned()))
}

/// What a program may need from SIGTERM to its end.
pub fn stop_seconds(program: &str, invocation: &Invocation) -> Result<i64> {
    let drain = value(program, invocation, "INGEST_DRAIN_DEADLINE_MS")?;
    let seconds = match drain.and_then(|value| value.parse::<u64>().ok()) {
        Some(drain_ms) => drain_ms / 1_000 + FLUSH_DEADLINE.as_secs(),
        None => (DRAIN_DEADLINE + LEAVE_DEADLINE).as_secs(),
    };
    Ok(i64::try_from(seconds)?)
}

/// Everything that the program would not take. Variables are given as the flags they stand for: what the process that asks
/// has in its own environment says nothing.
pub fn refusals(program: &str, invocation: &Invocation) -> Result<Vec<String>> {
    let settings = match settings(program, &invocation.command()) {
        Ok(settings) => settings,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let mut refusals = Vec::new();
    let mut arguments = invocation.arguments.clone();
    for (name, value) in &invocation.variables {
        match settings.iter().find(|it| reads(it, name)) {
            Some(setting) if setting.get_action().takes_values() => {
                arguments.push(format!("{}={value}", flag(setting)));
            }
            Some(setting) if value == "true" => arguments.push(flag(setting)),
            Some(_) => refusals.push(format!("{name} must be \"true\" or left out")),
            None if DRIVER_VARIABLES.contains(&name.as_str()) && program != "ingest-api" => {}
            None if is_for_another_command(program, name)? => {}
            // Kubernetes puts it into an argument.
            None if invocation.arguments.iter().any(|it| it.contains(&format!("$({name})"))) => {}
            None => refusals.push(format!("{program} reads no variable {name}")),
        }
    }
    let laid = lay_down(&invocation.files)?;
    let filled = arguments.iter().map(|argument| filled(&laid(argument)));
    let words = [program.to_owned()].into_iter().chain(filled);
    let read = without_environment(described(program, &arguments)?).try_get_matches_from(words);
    // Who asks for help gets it.
    if let Err(error) = read
        && error.use_stderr()
    {
        let said = error.to_string();
        let said = said.lines().take_while(|line| !line.is_empty()).map(str::trim);
        refusals.push(said.collect::<Vec<_>>().join(" "));
    }
    Ok(refusals)
}

/// Programs read files with the arguments that name them. Returns what tells of a text where its files lie.
fn lay_down(files: &BTreeMap<String, String>) -> Result<impl Fn(&str) -> String> {
    let scratch = Workspace::find()?.target().join("tmp/checks");
    let laid = move |text: &str| {
        files.keys().fold(text.to_owned(), |text, path| {
            text.replace(path.as_str(), &format!("{}{path}", scratch.display()))
        })
    };
    for (path, content) in files {
        let file = PathBuf::from(laid(path));
        std::fs::create_dir_all(file.parent().context("a file lies in a directory")?)?;
        std::fs::write(&file, laid(content)).with_context(|| file.display().to_string())?;
    }
    Ok(laid)
}

/// The settings of a command that have flags, those of all commands included.
pub fn settings(program: &str, command: &[String]) -> Result<Vec<Arg>> {
    let mut described = described(program, command)?;
    // Settings of all commands come to each of them.
    described.build();
    let (mut at, mut rest) = (&described, command);
    while let [word, others @ ..] = rest
        && let Some(below) = at.find_subcommand(word)
    {
        (at, rest) = (below, others);
    }
    if rest.len() > at.get_positionals().count() {
        bail!("`{program} {}` is no command", command.join(" "));
    }
    Ok(at.get_arguments().filter(|it| it.get_long().is_some() && !it.is_hide_set()).cloned().collect())
}

/// The command line of a program; of the ingest API with these arguments.
fn described(program: &str, arguments: &[String]) -> Result<Command> {
    Ok(match (program, arguments.first().map(String::as_str)) {
        // Its main function parts them, too.
        ("ingest-api", Some("hooks")) => {
            Command::new("ingest-api").subcommand(Hooks::command().name("hooks"))
        }
        ("ingest-api", _) => Config::command(),
        ("processor", _) => processor::cli::Cli::command(),
        ("loadtest", _) => loadtest::cli::Cli::command(),
        _ => bail!("there is no program {program}"),
    })
}

fn without_environment(command: Command) -> Command {
    command.mut_args(|it| it.env(None::<&'static str>)).mut_subcommands(without_environment)
}

/// Whether a variable gives a setting its value.
pub fn reads(setting: &Arg, variable: &str) -> bool {
    setting.get_env().is_some_and(|name| name == variable)
}

fn flag(setting: &Arg) -> String {
    format!("--{}", setting.get_long().unwrap_or_default())
}

fn is_for_another_command(program: &str, variable: &str) -> Result<bool> {
    let Some((_, command, _)) = BESIDE.iter().find(|(of, _, name)| (*of, *name) == (program, variable))
    else {
        return Ok(false);
    };
    let command: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
    Ok(settings(program, &command)?.iter().any(|it| reads(it, variable)))
}

/// An argument with a number for what Kubernetes puts in.
fn filled(argument: &str) -> String {
    let mut parts = argument.split("$(");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "7" + part.split_once(')').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(line: &str, variables: &[(&str, &str)]) -> Invocation {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let arguments = line.split_whitespace().map(ToOwned::to_owned).collect();
        Invocation { arguments, variables: variables.iter().map(owned).collect(), ..Invocation::default() }
    }

    fn refused(program: &str, line: &str, variables: &[(&str, &str)]) -> Vec<String> {
        refusals(program, &invocation(line, variables)).unwrap()
    }

    #[test]
    fn settings_are_those_of_the_command_and_of_all_commands() {
        let flags = |program, line| -> Vec<String> {
            settings(program, &invocation(line, &[]).command()).unwrap().iter().map(flag).collect()
        };
        let run = flags("processor", "run");
        assert!(["--lanes", "--topic", "--help"].iter().all(|it| run.contains(&(*it).to_owned())), "{run:?}");
        assert!(!flags("processor", "migrate").contains(&"--lanes".to_owned()));
        assert!(flags("ingest-api", "hooks check telegram").contains(&"--sample".to_owned()));
        assert!(settings("processor", &["runs".to_owned()]).is_err());
    }

    #[test]
    fn a_value_comes_from_the_argument_or_the_variable_or_the_default() {
        let value = |line, variables: &[(&str, &str)]| {
            value("processor", &invocation(line, variables), "PROCESSOR_TOPIC").unwrap()
        };
        assert_eq!(value("run", &[]).as_deref(), Some("telex.messages"));
        assert_eq!(value("run", &[("PROCESSOR_TOPIC", "a")]).as_deref(), Some("a"));
        assert_eq!(value("run --topic=b", &[("PROCESSOR_TOPIC", "a")]).as_deref(), Some("b"));
    }

    #[test]
    fn what_a_program_would_not_take_is_named() {
        let needed = [("INGEST_KAFKA_BROKERS", "k:9092"), ("INGEST_PARTITION_COUNT", "12")];
        let refused_with = |more| refused("ingest-api", "", &[&needed[..], &[more]].concat());
        assert_eq!(refused("ingest-api", "", &needed), [""; 0]);
        let needs =
            |refusals: Vec<String>, what: &str| refusals.len() == 1 && refusals.concat().contains(what);
        assert!(needs(refused("ingest-api", "", &needed[1..]), "--kafka-brokers"));
        let resume = "halts resume --partition=1 --from=2 --to=2 --reason-code=r";
        assert!(needs(refused("processor", resume, &[]), "<--dry-run|--yes>"));
        assert_eq!(refused("ingest-api", "--help", &[]), [""; 0]);
        assert_eq!(refused_with(("INGEST_INSECURE_DEVELOPMENT_MODE", "yes")).len(), 1);
        assert_eq!(refused_with(("INGEST_SHARDS", "many")).len(), 1);
        assert_eq!(refused_with(("NAME", "x")), ["ingest-api reads no variable NAME"]);
        assert_eq!(refused("loadtest", "run --seed=$(NAME)", &[("NAME", "")]), [""; 0]);
        assert_eq!(refused("processor", "runs", &[]), ["`processor runs` is no command"]);
    }
}
