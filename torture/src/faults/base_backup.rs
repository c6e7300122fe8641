//! A base backup of a running PostgreSQL, as `pg_basebackup` takes it, and a server that recovers from it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use dev_env::{
    install::Installation,
    postgres::{self, Postgres},
};

use crate::wire::postgres::Connection;

/// The files of a server as they were while they were copied. Alone they are no database: the WAL since then
/// has to come from somewhere.
pub struct BaseBackup {
    directory: PathBuf,
    /// Of the files, in bytes.
    pub size: u64,
}

impl BaseBackup {
    /// Copies a running server's files into `directory`.
    pub fn take(primary: &Postgres, directory: &Path) -> Result<Self> {
        let (from, to) = (primary.data(), directory.join("postgres"));
        fs::create_dir_all(&to)?;
        let mut session = Connection::open(primary.address(), "postgres")?;
        session.execute("select pg_backup_start('torture', true)")?;
        let entries = fs::read_dir(&from)?.collect::<Result<Vec<_>, _>>()?;
        let wanted = entries.iter().map(fs::DirEntry::path).filter(|path| !path.ends_with("pg_wal"));
        // What the server removes while it is copied is not needed.
        let status = Command::new("cp").arg("-a").args(wanted).arg(&to).stderr(Stdio::null()).status()?;
        ensure!(to.join("PG_VERSION").exists(), "the copy failed: {status}");
        fs::remove_file(to.join("postmaster.pid")).ok();
        fs::remove_file(to.join("postmaster.opts")).ok();
        fs::create_dir(to.join("pg_wal"))?;
        let label = "select to_json(labelfile) from pg_backup_stop(true)";
        let label = session.rows::<String>(label)?.pop().context("no label")?;
        fs::write(to.join("backup_label"), label)?;
        let owner = fs::metadata(&from)?;
        fs::set_permissions(&to, owner.permissions())?;
        for name in ["", "pg_wal", "backup_label"] {
            chown(to.join(name), Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(Self { directory: directory.to_owned(), size: size(&to)? })
    }

    /// Starts a server on it. `signal` says what becomes of it (`standby.signal` or `recovery.signal`), `settings`
    /// are lines of its configuration that say where WAL comes from and how far to go.
    pub fn start(self, installation: &Installation, signal: &str, settings: &str) -> Result<Postgres> {
        let data = self.directory.join("postgres");
        let owner = fs::metadata(&data)?;
        let configuration = data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&configuration).unwrap_or_default();
        for (name, content) in [(signal, ""), ("postgresql.auto.conf", &*(before + settings))] {
            fs::write(data.join(name), content)?;
            chown(data.join(name), Some(owner.uid()), Some(owner.gid()))?;
        }
        Postgres::start(installation, postgres::Options::on_free_port(&self.directory))
    }
}

fn size(path: &Path) -> Result<u64> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
