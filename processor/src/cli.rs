//! The command line: which commands there are, and what they share.

use std::process::ExitCode;

use service_kit::telemetry::{self, LogConfig};

use crate::{
    commands::{
        dead_letters, dialog_rules, dialogs, halts, health, migrate, partitions, progress, prove, quarantine,
        run, tail,
    },
    kafka::{
        client::{self, KafkaConfig},
        topic::TopicProfile,
    },
    store::{Database, session::DatabaseConfig},
};

/// Files the records of the topic in PostgreSQL, each exactly once.
///
/// Exit codes: 0 done; 1 failed, or the tables are not what the topic says; 2 the command line is not valid;
/// 3 `prove --applied` found records that are not applied yet.
#[derive(Debug, clap::Parser)]
#[command(name = "processor", version, long_version = client::VERSION.as_str())]
pub struct Cli {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    database: DatabaseConfig,
    /// How safe the topic's settings must be.
    #[arg(long, env = "PROCESSOR_TOPIC_PROFILE", value_enum, default_value = "production", global = true)]
    topic_profile: TopicProfile,
    #[command(flatten)]
    log: LogConfig,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Migrate the tables to the version of this binary.
    Migrate(migrate::Args),
    /// Apply the records of the partitions that the consumer group assigns.
    Run(Box<run::Args>),
    /// Ask the `processor run` on this machine whether it is ready.
    Health(health::Args),
    /// Show how far each partition is applied; move one that is not halted.
    #[command(subcommand)]
    Progress(progress::Command),
    /// Partitions that are halted until a person decides: list, history, resume.
    #[command(subcommand)]
    Halts(halts::Command),
    /// Records that could not be applied: list, show, export, replay.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Items that hooks could not make into messages: list, show, export. Reads only Kafka.
    Quarantine(quarantine::Args),
    /// Dialogs and their messages.
    #[command(subcommand)]
    Dialogs(dialogs::Command),
    /// Rules for ending a dialog when its client has been silent: show, set.
    #[command(subcommand)]
    DialogRules(dialog_rules::Command),
    /// Add partitions to a topic that is in use.
    #[command(subcommand)]
    Partitions(partitions::Command),
    /// Show the records of the topic in a readable form, as they come. Never joins the processors' consumer
    /// group.
    Tail(tail::Args),
    /// Fold the topic again and compare every row with it.
    ///
    /// Exit codes: 0 clean, or the baseline is recorded; 1 differs, not provable, or failed; 2 the command
    /// line is not valid; 3 clean, but with `--applied` the log holds records that are not applied yet.
    Prove(prove::Args),
}

impl Command {
    const fn asks_database(&self) -> bool {
        !matches!(self, Self::Health(_) | Self::Quarantine(_) | Self::Tail(_))
    }
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        telemetry::init(&self.log);
        let database = match Database::new(&self.database) {
            Ok(database) => database,
            Err(problem) => {
                eprintln!("processor: {problem}");
                return Ok(ExitCode::from(2));
            }
        };
        if self.command.asks_database() {
            database.reach().await;
        }
        match self.command {
            Command::Migrate(args) => migrate::run(args, &database).await?,
            Command::Run(args) => run::run(*args, self.kafka, database, self.topic_profile).await?,
            Command::Health(args) => return Ok(health::run(args).await),
            Command::Progress(command) => return progress::run(command, &database, &self.kafka).await,
            Command::Halts(command) => return halts::run(command, &database, &self.kafka).await,
            Command::DeadLetters(command) => return dead_letters::run(command, &database, &self.kafka).await,
            Command::Quarantine(args) => return quarantine::run(args, &self.kafka).await,
            Command::Dialogs(command) => dialogs::run(command, &database).await?,
            Command::DialogRules(command) => dialog_rules::run(command, &database, &self.kafka).await?,
            Command::Partitions(command) => partitions::run(command, &database, &self.kafka).await?,
            Command::Tail(args) => tail::run(args, self.kafka).await?,
            Command::Prove(args) => return prove::run(args, &database, &self.kafka).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    /// Commands that change nothing. Whatever is not named here asks for `--dry-run` or `--yes`.
    const LOOKING: [&str; 15] = [
        "dead-letters export",
        "dead-letters list",
        "dead-letters show",
        "dialog-rules show",
        "dialogs show",
        "halts history",
        "halts list",
        "health",
        "partitions show",
        "progress show",
        "progress wait",
        "quarantine export",
        "quarantine list",
        "quarantine show",
        "tail",
    ];

    /// Others that need not be told twice, and why.
    const OTHERS: [(&str, &str); 3] = [
        ("migrate", "has a dry run; a Job runs it each time, and it applies nothing twice"),
        ("prove", "keeps its verdict and looks; with --baseline it asks for one of the two"),
        ("run", "is the service"),
    ];

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn whatever_changes_something_is_told_to_do_it_or_to_say_what_it_would_do() {
        let command = Cli::command();
        let mut unasked = service_kit::confirmation::unasked(&command);
        let mut expected: Vec<&str> = LOOKING.iter().copied().chain(OTHERS.map(|(name, _)| name)).collect();
        unasked.sort_unstable();
        expected.sort_unstable();
        assert_eq!(unasked, expected);
        let takes = |name: &str, flag: &str| {
            let command = command.find_subcommand(name).unwrap();
            command.get_arguments().any(|argument| argument.get_long() == Some(flag))
        };
        assert!(takes("migrate", "dry-run") && takes("prove", "dry-run") && takes("prove", "yes"));
        let alone = Cli::try_parse_from(["processor", "prove", "--baseline"]).unwrap_err();
        assert_eq!(alone.kind(), clap::error::ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn the_page_of_settings_lists_them_and_the_commands() {
        let document = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md"));
        let mut command = Cli::command();
        let check = |command: &clap::Command, name: &str| {
            let table = service_kit::reference::settings(command);
            service_kit::reference::check(document, name, &table).unwrap();
        };
        let commands = service_kit::reference::commands(&command);
        service_kit::reference::check(document, "commands of processor", &commands).unwrap();
        check(&command, "settings of processor");
        for of in ["run", "quarantine", "prove"] {
            check(command.find_subcommand_mut(of).unwrap(), &format!("settings of processor {of}"));
        }
    }
}
