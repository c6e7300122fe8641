//! Kafka and PostgreSQL under `.dev/`, resolved as pinned Maven dependencies.
//!
//! Invariant: when the stamp equals what this build wants, `.dev/kafka` and `.dev/postgres` are
//! complete. Everything is made in a directory of its own and moved into place under a lock, the
//! stamp last; an installation that was cut off leaves no stamp and is done again.

mod archive;

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::process::{Group, log_tail};
use crate::workspace::Workspace;

/// Changing the file reinstalls. It is compiled in, so that the stamp says what *this* build
/// of the package expects.
const POM: &str = include_str!("../pom.xml");

#[derive(Debug, Clone)]
pub struct Installation {
    dev: PathBuf,
}

impl Installation {
    /// Installs what is missing. Any number of processes may call this at once: one installs, the
    /// others wait. `note` is told what is going on, for a person who waits.
    pub fn ensure(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<Self> {
        let installation = Self { dev: workspace.dev() };
        let stamp = wanted_stamp()?;
        if installation.is_complete(&stamp) {
            return Ok(installation);
        }
        fs::create_dir_all(&installation.dev)
            .with_context(|| format!("{} cannot be made", installation.dev.display()))?;
        let lock = lock(&installation.dev.join("install.lock"), &|| note("another command is installing"))?;
        if !installation.is_complete(&stamp) {
            installation.install(&stamp, note)?;
        }
        drop(lock);
        Ok(installation)
    }

    /// Java's class path of Kafka and its command line tools.
    pub fn kafka_class_path(&self) -> PathBuf {
        self.dev.join("kafka/libs/*")
    }

    /// The directory with PostgreSQL's `bin`, `lib` and `share`.
    pub fn postgres(&self) -> PathBuf {
        self.dev.join("postgres")
    }

    fn is_complete(&self, stamp: &str) -> bool {
        fs::read_to_string(self.stamp_file()).is_ok_and(|found| found == stamp)
            && self.postgres().join("bin/postgres").exists()
            && self.dev.join("kafka/libs").exists()
    }

    fn install(&self, stamp: &str, note: &dyn Fn(&str)) -> Result<()> {
        let partial = self.dev.join("install.partial");
        remove(&partial)?;
        remove(&self.stamp_file())?;
        fs::create_dir_all(&partial).with_context(|| format!("{} cannot be made", partial.display()))?;
        fs::write(partial.join("pom.xml"), POM).context("the list of dependencies cannot be written")?;
        self.run_maven(&partial, note)?;
        note("unpacking PostgreSQL");
        archive::unpack(&only_file(&partial.join("postgres-archive"))?, &partial.join("postgres"))?;
        for server in ["kafka", "postgres"] {
            remove(&self.dev.join(server))?;
            fs::rename(partial.join(server), self.dev.join(server))
                .with_context(|| format!("{server} cannot be moved into place"))?;
        }
        fs::write(self.stamp_file(), stamp).context("the installation's stamp cannot be written")?;
        remove(&partial)
    }

    fn run_maven(&self, partial: &Path, note: &dyn Fn(&str)) -> Result<()> {
        let log = self.dev.join("install.log");
        let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let mut install_directory = std::ffi::OsString::from("-Dinstall.directory=");
        install_directory.push(partial);
        let mut maven = Command::new("mvn");
        maven
            .args(["--batch-mode", "generate-resources", "--file"])
            .arg(partial.join("pom.xml"))
            .arg(format!("-Dpostgres.platform={}", platform()?))
            .arg(install_directory)
            .stdout(file.try_clone().context("the log file cannot be shared")?)
            .stderr(file);
        let mut maven = Group::spawn(&mut maven)?;
        while maven.is_running() {
            note(&format!("downloaded {} files", downloads(&log)));
            interrupt::pause(Duration::from_millis(100))?;
        }
        let status = maven.wait()?;
        if !status.success() {
            bail!("mvn could not fetch Kafka and PostgreSQL ({status}); {}", log_tail(&log));
        }
        Ok(())
    }

    fn stamp_file(&self) -> PathBuf {
        self.dev.join("installed")
    }
}

/// The Java that runs Kafka: the one that `JAVA_HOME` names, as Maven itself does.
pub fn java() -> PathBuf {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    home.filter(|java| java.is_file()).unwrap_or_else(|| PathBuf::from("java"))
}

/// What is installed, by name and version.
pub fn what() -> String {
    let (kafka, artifact) = (property("kafka.version"), property("postgres.version"));
    // The artifact's version has a number more than the server's.
    let postgres = artifact.strip_suffix(".0").unwrap_or(artifact);
    format!("Kafka {kafka} and PostgreSQL {postgres}")
}

fn property(name: &str) -> &'static str {
    let rest = POM.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    rest.split_once('<').map_or("", |(value, _)| value)
}

fn wanted_stamp() -> Result<String> {
    Ok(format!("{}\n{POM}", platform()?))
}

/// This machine in the words of PostgreSQL's artifacts.
fn platform() -> Result<String> {
    let system = match env::consts::OS {
        "linux" => "linux",
        "macos" => "darwin",
        other => bail!("there is no PostgreSQL artifact for {other}; Linux and macOS have one"),
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64v8",
        other => bail!("there is no PostgreSQL artifact for {other}; x86-64 and arm64 have one"),
    };
    Ok(format!("{system}-{processor}"))
}

/// Takes the lock of this file, and says `busy` ten times a second as long as another process has it. The operating system
/// frees the lock when its holder ends, however it ends.
pub fn lock(path: &Path, busy: &dyn Fn()) -> Result<File> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => busy(),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
        }
        interrupt::pause(Duration::from_millis(100))?;
    }
}

fn downloads(maven_log: &Path) -> usize {
    fs::read_to_string(maven_log).map_or(0, |log| log.matches("Downloaded from").count())
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("{} is missing", directory.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (_, _) => bail!("{} should hold exactly one archive", directory.display()),
    }
}

/// Makes a directory, once: what is cut off leaves nothing in its place.
pub fn once(directory: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let partial = directory.with_file_name(format!("{name}.{}.partial", std::process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("{} cannot be made", partial.display()))?;
    let made = make(&partial).and_then(|()| {
        // Somebody else may have been faster; theirs is as good.
        fs::rename(&partial, directory).or_else(|error| match directory.exists() {
            true => Ok(()),
            false => {
                Err(error).with_context(|| format!("{} cannot be moved into place", directory.display()))
            }
        })
    });
    fs::remove_dir_all(&partial).ok();
    made
}

/// Removes a file or a directory, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("{} cannot be removed", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_told_with_its_versions() {
        let said = what();
        let is_number = |part: &str| part.parse::<u32>().is_ok();
        let parts: Vec<usize> = said
            .split(' ')
            .filter(|word| word.split('.').all(is_number))
            .map(|word| word.split('.').count())
            .collect();
        assert_eq!(parts, [3, 2], "{said}");
    }
}
