//! `dev-env with-services`: a command with a Kafka and a PostgreSQL of its own, gone when it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::build;
use super::environment::start_servers;
use super::steps::{say, step};
use crate::install::Installation;
use crate::kafka::{self, Kafka, Secure};
use crate::postgres::{self, DATABASE, Postgres};
use crate::process::{Group, from_shell};
use crate::programs::{Programs, TOPIC, create_topics};
use crate::workspace::Workspace;
use crate::{interrupt, leftovers};

/// Runs the command; its exit code is ours. It finds the servers by `TELEX_TEST_KAFKA` and
/// `TELEX_TEST_DATABASE_URL`.
pub fn run(workspace: &Workspace, command: &[String]) -> Result<ExitCode> {
    let services = Services::start(workspace)?;
    let [program, arguments @ ..] = command else { bail!("no command") };
    let mut child = from_shell(program);
    child
        .args(arguments)
        .env("TELEX_TEST_KAFKA", services.kafka.bootstrap())
        .env("TELEX_TEST_DATABASE_URL", services.postgres.database_url(DATABASE))
        .env("SQLX_OFFLINE", "true");
    let status = wait(child).with_context(|| format!("{program} cannot be run"))?;
    services.stop();
    Ok(exit_code(status))
}

/// A command's as ours.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Lets the compiler check each query against the migrated tables, and keeps what it learned in .sqlx/.
pub fn sqlx_prepare(workspace: &Workspace, check: bool) -> Result<ExitCode> {
    let services = Services::start(workspace)?;
    let url = services.postgres.database_url(DATABASE);
    migrate(&services.installation, workspace, &url)?;
    let (kept, found) = (workspace.root().join(".sqlx"), services.directory.join("sqlx"));
    fs::create_dir_all(&found)?;
    let mut cargo = from_shell("cargo");
    cargo.current_dir(workspace.root());
    cargo.args(["check", "--release", "--locked", "--workspace", "--all-targets"]);
    cargo.env("DATABASE_URL", url).env("SQLX_OFFLINE_DIR", &found).env("SQLX_OFFLINE", "false");
    // The macros ask the database only while they are expanded.
    for package in ["processor-", "loadtest-"] {
        forget_builds(&workspace.target().join("release/.fingerprint"), package)?;
    }
    if !wait(cargo)?.success() {
        bail!("the queries do not fit the migrations");
    }
    let (old, new) = (contents(&kept)?, contents(&found)?);
    services.stop();
    if old == new {
        say(&format!("{} queries fit the migrations", new.len()));
        return Ok(ExitCode::SUCCESS);
    }
    if check {
        bail!(".sqlx/ is not what the code says: run `make sqlx` and commit it");
    }
    fs::remove_dir_all(&kept)?;
    fs::create_dir_all(&kept)?;
    for (name, text) in &new {
        fs::write(kept.join(name), text)?;
    }
    say(&format!("{} queries are written to .sqlx/", new.len()));
    Ok(ExitCode::SUCCESS)
}

/// Has cargo build a package again, but not what it depends on.
fn forget_builds(fingerprints: &Path, package: &str) -> Result<()> {
    let Ok(entries) = fs::read_dir(fingerprints) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(package) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn contents(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            continue;
        }
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?));
    }
    files.sort();
    Ok(files)
}

fn migrate(installation: &Installation, workspace: &Workspace, url: &str) -> Result<()> {
    let mut psql = Command::new(installation.postgres().join("bin/psql"));
    if !installation.postgres().join("bin/psql").exists() {
        psql = Command::new("psql");
    }
    psql.arg(url).args(["-q", "-v", "ON_ERROR_STOP=1"]);
    for (name, _) in contents(&workspace.migrations())? {
        if name.ends_with(".sql") {
            psql.arg("-f").arg(workspace.migrations().join(name));
        }
    }
    if wait(psql)?.success() { Ok(()) } else { bail!("the migrations cannot be applied") }
}

/// Runs a command to its end, or until Ctrl-C.
pub fn wait(mut command: Command) -> Result<ExitStatus> {
    let mut group = Group::spawn(&mut command)?;
    while group.is_running() {
        interrupt::pause(Duration::from_millis(20))?;
    }
    group.wait()
}

/// The servers. Dropping them kills them.
pub struct Services {
    installation: Installation,
    pub directory: PathBuf,
    pub kafka: Kafka,
    postgres: Postgres,
}

impl Services {
    pub fn start(workspace: &Workspace) -> Result<Self> {
        Self::start_with(workspace, None)
    }

    /// With a second way to Kafka.
    pub fn secured(workspace: &Workspace, secure: Secure) -> Result<Self> {
        Self::start_with(workspace, Some(secure))
    }

    fn start_with(workspace: &Workspace, secure: Option<Secure>) -> Result<Self> {
        leftovers::sweep(workspace);
        let installation = build::servers(workspace)?;
        let directory = workspace.tests().join(std::process::id().to_string());
        leftovers::own(&directory)?;
        let (kafka, postgres) = step("Kafka and PostgreSQL for the tests", || {
            let kafka = kafka::Options { secure, ..kafka::Options::on_free_ports(&directory) };
            start_servers(&installation, kafka, postgres::Options::on_free_port(&directory))
        })?;
        Ok(Self { installation, directory, kafka, postgres })
    }

    /// Telex's programs on these servers; the topics are made.
    pub fn programs(&self, workspace: &Workspace) -> Result<Programs> {
        let binaries = build::programs(workspace)?;
        create_topics(&self.kafka)?;
        let (kafka, database_url) = (self.kafka.bootstrap(), self.postgres.database_url(DATABASE));
        Ok(Programs { binaries, kafka, database_url, topic: TOPIC.to_owned() })
    }

    /// Their data is of no use any more: no time is spent on an orderly end.
    pub fn stop(mut self) {
        self.kafka.kill();
        self.postgres.kill();
        fs::remove_dir_all(&self.directory).ok();
    }
}
