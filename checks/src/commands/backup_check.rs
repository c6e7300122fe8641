//! `checks backup-check`: what docs/backup-and-restore.md tells a person to type for a dump and its restore is typed, on a
//! Telex under load; then the restored one has to become what the other is.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dev_env::commands::steps::step;
use dev_env::commands::with_services::Services;
use dev_env::interrupt;
use dev_env::markdown::shown;
use dev_env::ports::Port;
use dev_env::process::{Server, Spec, require};
use dev_env::programs::Programs;
use dev_env::workspace::Workspace;
use nix::sys::signal::Signal;

use crate::tools;

const GUIDE: &str = "docs/backup-and-restore.md";
/// How the guide's commands of PostgreSQL begin.
const PROGRAMS: [&str; 5] = ["pg_dump ", "createdb ", "psql ", "pg_restore ", "vacuumdb "];
/// A dump is made while this many are still to come.
const MESSAGES: u32 = 4_000;
const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// Exit code of `prove --applied`: clean, but not all is applied.
const NOT_APPLIED: i32 = 3;

pub fn run(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let client = step("PostgreSQL's programs for clients", || tools::postgres(workspace))?;
    let (dump, restore) = documented(&fs::read_to_string(root.join(GUIDE)).context(GUIDE)?)?;
    let services = Services::start(workspace)?;
    let programs = services.programs(workspace)?;
    let person = Person::new(root, &client, &services.directory, &programs)?;
    let [migrator, owner] = ["telex_migrator", "telex_processor"].map(|role| as_role(&programs, role));
    step("a Telex of three roles, and a dump under load", || {
        person.types("psql -v ON_ERROR_STOP=1 -f migrations/roles/create.sql telex")?;
        migrator.require_processor(&["migrate"])?;
        loaded(&services, &owner, &person, &dump)
    })?;
    step("the restore of the guide", || {
        restore.iter().try_for_each(|command| person.types(command).map(drop))
    })?;
    step("the copy is proved up to where it is", || behind(&programs))?;
    step("migrate, start, prove", || {
        migrator.require_processor(&["migrate"])?;
        let mut processor = owner.processor(&services.directory, "restored", &[])?;
        owner.require_processor(&["progress", "wait", "--timeout-seconds=60"])?;
        owner.require_processor(&["prove", "--applied"])?;
        processor.stop()
    })?;
    step("both databases hold the same rows", || person.compares())?;
    services.stop();
    Ok(())
}

/// The dump, and the commands of the restore in their order.
fn documented(guide: &str) -> Result<(String, Vec<String>)> {
    let is_typed = |line: &str| PROGRAMS.iter().any(|program| line.starts_with(program));
    let mut found = shown(guide).into_iter().map(|(_, line)| line).filter(|line| is_typed(line));
    let dump = found.next().with_context(|| format!("{GUIDE} shows no dump"))?;
    let restore: Vec<String> = found.collect();
    let begins = |command: &String| command.split(' ').next().unwrap_or_default().to_owned();
    let order: Vec<String> = restore.iter().map(begins).collect();
    let is_known =
        dump.starts_with("pg_dump ") && order == ["createdb", "psql", "pg_restore", "vacuumdb", "psql"];
    ensure!(is_known, "{GUIDE} shows other commands than this check knows: {dump}, then {order:?}");
    Ok((dump, restore))
}

/// Somebody at a shell, in a directory with the migrations, as the superuser.
struct Person {
    directory: PathBuf,
    path: OsString,
    port: String,
}

impl Person {
    fn new(root: &Path, client: &Path, directory: &Path, programs: &Programs) -> Result<Self> {
        let directory = directory.join("backup");
        fs::create_dir_all(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        std::os::unix::fs::symlink(root.join("migrations"), directory.join("migrations"))?;
        let mut path = client.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let port = programs.database_url.rsplit(':').next().and_then(|rest| rest.split('/').next());
        Ok(Self { directory, path, port: port.unwrap_or_default().to_owned() })
    }

    fn types(&self, line: &str) -> Result<String> {
        let mut bash = Command::new("bash");
        bash.args(["-c", line]).current_dir(&self.directory).env("PATH", &self.path);
        bash.env("PGHOST", "127.0.0.1").env("PGPORT", &self.port).env("PGUSER", "telex");
        require(&mut bash, "apt-get install bash").with_context(|| line.to_owned())
    }

    fn messages(&self) -> Result<u32> {
        let count = self.types("psql -Atc 'select count(*) from messages' telex")?;
        count.trim().parse().with_context(|| format!("{count:?} is no number"))
    }

    /// Whether what follows from the topic is the same, byte for byte.
    fn compares(&self) -> Result<()> {
        for table in ["clients", "client_aliases", "dialogs", "messages", "dead_letters"] {
            let ask = |database: &str| {
                let rows =
                    format!("select count(*), md5(string_agg(t::text, ',' order by t::text)) from {table} t");
                self.types(&format!("psql -Atc \"{rows}\" {database}"))
            };
            let (old, new) = (ask("telex_old")?, ask("telex")?);
            ensure!(old == new, "{table}: {} before, {} restored", old.trim(), new.trim());
        }
        Ok(())
    }
}

fn as_role(programs: &Programs, role: &str) -> Programs {
    let database_url = programs.database_url.replacen("telex@", &format!("{role}@"), 1);
    Programs { database_url, ..programs.clone() }
}

/// Sends messages, makes the dump amid them, and has all applied.
fn loaded(services: &Services, owner: &Programs, person: &Person, dump: &str) -> Result<()> {
    let directory = &services.directory;
    let mut api = owner.ingest_api(directory, "ingest-api", Port::Free, &[])?;
    let mut processor = owner.processor(directory, "processor", &[])?;
    api.wait_until_ready()?;
    processor.wait_until_ready()?;
    let mut command = Command::new(owner.binaries.join("loadtest"));
    let address = api.address.context("an ingest API has an address")?;
    command.args(["run", "--url", &format!("http://{address}"), "--rate=500"]);
    command.arg(format!("--messages={MESSAGES}"));
    let mut load = Server::spawn(Spec { name: "loadtest", directory, command, stop_signal: Signal::SIGINT })?;
    let end = Instant::now() + LOADED_WITHIN;
    let mut is_dumped = false;
    while load.is_running() {
        if !is_dumped && person.messages()? > MESSAGES / 4 {
            person.types(dump)?;
            is_dumped = true;
        }
        ensure!(Instant::now() < end, "the load does not come to an end");
        interrupt::pause(Duration::from_millis(100))?;
    }
    ensure!(load.wait()?.success(), "not every message was taken");
    ensure!(is_dumped, "the load ended before a dump was made");
    owner.require_processor(&["progress", "wait", "--timeout-seconds=60"])?;
    processor.stop()?;
    api.stop()
}

/// What the guide says of a look at a copy.
fn behind(programs: &Programs) -> Result<()> {
    let said = programs.require_processor(&["prove"])?;
    let is_behind = said.contains("clean up to the next offsets") && said.contains("not applied yet");
    ensure!(is_behind, "prove says of the copy: {said}");
    let output = programs.run_processor(&["prove", "--applied"])?;
    if output.status.code() != Some(NOT_APPLIED) {
        bail!("prove --applied of the copy ends with {}", output.status);
    }
    programs.require_processor(&["progress", "show"]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_the_guide_are_found_in_their_order() {
        let guide = include_str!("../../../docs/backup-and-restore.md");
        let (dump, restore) = documented(guide).unwrap();
        assert!(dump.contains("--file=telex.dump"), "{dump}");
        assert!(restore[2].ends_with(" telex.dump"), "{restore:?}");
        let error =
            documented(&guide.replace("   vacuumdb --analyze-only telex_restored\n", "")).unwrap_err();
        assert!(error.to_string().contains("other commands"), "{error}");
    }
}
