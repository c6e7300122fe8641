//! A server's pid file: how another command finds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Identity;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub identity: Identity,
}

impl Record {
    /// All records under an environment's directory, in the order of their names; files that are
    /// not (or no longer) records are passed over.
    pub fn all(directory: &Path) -> Vec<Self> {
        let Ok(files) = fs::read_dir(folder(directory)) else {
            return Vec::new();
        };
        let mut records: Vec<Self> = files
            .filter_map(|file| fs::read(file.ok()?.path()).ok())
            .filter_map(|text| serde_json::from_slice(&text).ok())
            .collect();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        records
    }

    pub fn find(directory: &Path, name: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(directory, name)).ok()?).ok()
    }

    /// Written beside its place and then moved there, so that nobody reads half a record.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let file = path(directory, &self.name);
        let draft = file.with_extension("draft");
        fs::create_dir_all(folder(directory))
            .and_then(|()| fs::write(&draft, serde_json::to_vec(self)?))
            .and_then(|()| fs::rename(&draft, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    pub fn remove(&self, directory: &Path) {
        fs::remove_file(path(directory, &self.name)).ok();
    }
}

fn folder(directory: &Path) -> PathBuf {
    directory.join("run")
}

fn path(directory: &Path, name: &str) -> PathBuf {
    folder(directory).join(format!("{name}.json"))
}
