//! Programs of Debian's packages that only some checks need, unpacked under `.dev/debian/` and not
//! installed: no check changes the machine, and none needs to be root.
//!
//! Invariant: a directory under `.dev/debian/` is complete; it is made elsewhere and moved there last.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::install::once;
use crate::process::require;
use crate::workspace::Workspace;

/// A program, and the packages that hold it and those of its libraries that a machine may lack.
#[derive(Debug)]
pub struct Package {
    pub name: &'static str,
    /// `a|b`: the releases of Debian and Ubuntu have other names for it.
    pub packages: &'static [&'static str],
}

/// Scrapes and evaluates; `promtool` comes with it.
pub const PROMETHEUS: Package = Package { name: "prometheus", packages: &["prometheus"] };

/// Reads and writes a topic.
pub const KCAT: Package =
    Package { name: "kcat", packages: &["kcat", "librdkafka1", "libyajl2", "libsasl2-2", "liblz4-1"] };

/// Stands between clients and PostgreSQL.
pub const PGBOUNCER: Package = Package {
    name: "pgbouncer",
    packages: &["pgbouncer", "libc-ares2|libcares2", "libevent-2.1-7|libevent-2.1-7t64"],
};

/// Of the threads of a process one fetches at a time; processes have directories of their own to fetch into.
static FETCHING: Mutex<()> = Mutex::new(());

/// The unpacked files of a package.
#[derive(Debug, Clone)]
pub struct Unpacked {
    root: PathBuf,
}

impl Package {
    /// Fetches it, once; of Debian and its kin alone.
    pub fn ensure(&self, workspace: &Workspace) -> Result<Unpacked> {
        let root = workspace.dev().join("debian").join(self.name);
        let _fetching = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        if !root.exists() {
            let fetched = once(&root, |partial| self.fetch(partial));
            fetched.with_context(|| format!("{} cannot be had", self.name))?;
        }
        Ok(Unpacked { root })
    }

    fn fetch(&self, directory: &Path) -> Result<()> {
        let scratch = directory.join("scratch");
        let archives = scratch.join("archives");
        fs::create_dir_all(&archives).with_context(|| format!("{} cannot be made", archives.display()))?;
        if self.download(&archives, &[]).is_err() {
            // No lists of packages, or old ones: with lists of our own, which need no rights.
            let (lists, cache) = (scratch.join("lists"), scratch.join("cache"));
            fs::create_dir_all(lists.join("partial")).context("the lists of packages have no place")?;
            let (lists, cache) = (lists.display(), cache.display());
            let own = ["-o", &format!("Dir::State::lists={lists}"), "-o", &format!("Dir::Cache={cache}")];
            run(Command::new("apt-get").arg("update").args(own))?;
            self.download(&archives, &own)?;
        }
        for entry in fs::read_dir(&archives).context("the packages cannot be read")? {
            run(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(directory))?;
        }
        fs::remove_dir_all(&scratch).context("the packages cannot be removed")
    }

    /// Each by the first of its names that there is.
    fn download(&self, into: &Path, own: &[&str]) -> Result<()> {
        for names in self.packages {
            let mut outcome = Ok(());
            for name in names.split('|') {
                let mut command = Command::new("apt-get");
                outcome = run(command.current_dir(into).args(own).args(["download", name]));
                if outcome.is_ok() {
                    break;
                }
            }
            outcome?;
        }
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<()> {
    require(command, "this needs Debian's packages").map(drop)
}

impl Unpacked {
    /// One of the programs, such as `usr/bin/kcat`, with the libraries that came with it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(program));
        self.lend(&mut command);
        command
    }

    /// Lets another command find the programs and their libraries.
    pub fn lend(&self, command: &mut Command) {
        let libraries = format!("usr/lib/{}-linux-gnu", env::consts::ARCH);
        command.env("LD_LIBRARY_PATH", self.root.join(libraries));
        let mut path = self.root.join("usr/bin").into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
    }
}
