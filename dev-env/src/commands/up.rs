//! `up`, `down` and what one does between them: an environment that stays until it is told to go.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::build::{self, Build, Profile};
use super::environment::Environment;
use super::steps::{say, step};
use crate::process::Record;
use crate::programs::TOPIC;
use crate::workspace::Workspace;
use crate::{install, leftovers};

/// Where the environment is reached, for the commands that come later.
#[derive(Debug, Serialize, Deserialize)]
struct Addresses {
    url: String,
    kafka: String,
    database_url: String,
    admin: Vec<(String, String)>,
}

impl Addresses {
    fn load(workspace: &Workspace) -> Result<Self> {
        let text = fs::read(file(workspace)).context("nothing is up: run `make up`")?;
        serde_json::from_slice(&text).context("nothing is up: run `make up`")
    }

    fn say(&self) {
        say(&format!("  API     {}/v1/messages", self.url));
        say(&format!("  tables  psql {}        (make psql)", self.database_url));
        say(&format!("  topic   kcat -C -b {} -t {TOPIC}        (make tail)", self.kafka));
        for (name, address) in &self.admin {
            say(&format!("  probes  http://{address}/readyz and /metrics of {name}"));
        }
    }
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.up().join("addresses.json")
}

/// Where the environment takes webhooks and where its tables are, if all of it runs.
pub(super) fn running(workspace: &Workspace) -> Option<(String, String)> {
    let Addresses { url, database_url, .. } = all_running(workspace)?;
    Some((url, database_url))
}

fn all_running(workspace: &Workspace) -> Option<Addresses> {
    let running = Record::all(&workspace.up()).iter().filter(|record| record.identity.is_running()).count();
    if running >= 5 { Addresses::load(workspace).ok() } else { None }
}

pub fn up(workspace: &Workspace) -> Result<ExitCode> {
    if let Some(addresses) = all_running(workspace) {
        say("already up");
        addresses.say();
        return Ok(ExitCode::SUCCESS);
    }
    leftovers::end_all(&workspace.up());
    let build = Build::begin(workspace, Profile::Release)?;
    let installation = build::servers(workspace)?;
    let environment = Environment::start(&installation, build, &workspace.up())?;
    let [one, two] = &environment.processors;
    let addresses = Addresses {
        url: environment.url(),
        kafka: environment.kafka.bootstrap(),
        database_url: environment.postgres.database_url(crate::postgres::DATABASE),
        admin: [("ingest-api", &environment.ingest_api), ("processor-1", one), ("processor-2", two)]
            .map(|(name, program)| (name.to_owned(), program.admin.to_string()))
            .into(),
    };
    fs::write(file(workspace), serde_json::to_vec(&addresses)?)?;
    environment.detach();
    say("");
    addresses.say();
    let example = r#"{"external_client_id":"tg","client_phone":"+70000000000","external_message_id":"1","text":"Hello"}"#;
    say(&format!(
        "\n  curl -i {}/v1/messages -H 'content-type: application/json' -d '{example}'",
        addresses.url
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn down(workspace: &Workspace) -> Result<ExitCode> {
    let ended = step("stopping", || Ok(leftovers::end_all(&workspace.up())))?;
    fs::remove_file(file(workspace)).ok();
    say(&if ended.is_empty() {
        "nothing was up".to_owned()
    } else {
        format!("stopped: {}", ended.join(", "))
    });
    Ok(ExitCode::SUCCESS)
}

pub fn status(workspace: &Workspace) -> Result<ExitCode> {
    let addresses = Addresses::load(workspace)?;
    let mut all_run = true;
    for record in Record::all(&workspace.up()) {
        let runs = record.identity.is_running();
        all_run &= runs;
        say(&format!("  {:<12} {}", record.name, if runs { "runs" } else { "has ended: see `make logs`" }));
    }
    addresses.say();
    Ok(if all_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub fn logs(workspace: &Workspace) -> Result<ExitCode> {
    let folder = workspace.up().join("logs");
    let logs = fs::read_dir(&folder).context("nothing was ever up: run `make up`")?;
    let logs = logs
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "log"));
    become_command(Command::new("tail").args(["-n", "20", "-F"]).args(logs))
}

pub fn tail(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    let addresses = Addresses::load(workspace)?;
    let mut command = Command::new(build::directory(workspace).join("processor"));
    command.arg("tail").env("PROCESSOR_KAFKA_BROKERS", &addresses.kafka).env("PROCESSOR_TOPIC", TOPIC);
    if arguments.is_empty() {
        // What people wrote here was made up.
        command.args(["--from-beginning", "--content"]);
    }
    become_command(command.args(arguments))
}

pub fn psql(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    let addresses = Addresses::load(workspace)?;
    become_command(Command::new("psql").arg(&addresses.database_url).args(arguments))
        .context("psql is not here: apt-get install postgresql-client")
}

pub fn clean(workspace: &Workspace) -> Result<ExitCode> {
    leftovers::end_all(&workspace.up());
    leftovers::end_all(&workspace.demo());
    leftovers::sweep(workspace);
    install::remove(&workspace.dev())?;
    Ok(ExitCode::SUCCESS)
}

/// The terminal belongs to the command from here on.
fn become_command(command: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    bail!("{} cannot be run: {error}", command.get_program().to_string_lossy())
}
