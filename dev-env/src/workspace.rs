//! The places this package writes to, all of them under `.dev/` in the repository's root.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A clone of the repository.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Looks upwards from the current directory, so that a command works from anywhere inside a
    /// clone and a test finds the clone it was started in, even if the clone was moved after it
    /// was built.
    pub fn find() -> Result<Self> {
        let start = env::current_dir().context("the current directory cannot be read")?;
        for candidate in start.ancestors() {
            if candidate.join("dev-env/pom.xml").is_file() {
                return Ok(Self { root: candidate.to_owned() });
            }
        }
        bail!("{} is not inside a clone of Telex (no dev-env/pom.xml above it)", start.display())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything this package makes; git ignores it.
    pub fn dev(&self) -> PathBuf {
        self.root.join(".dev")
    }

    /// The environment of `make demo`: recreated by each run.
    pub fn demo(&self) -> PathBuf {
        self.dev().join("demo")
    }

    /// The environment of `make loadtest`, if nothing is up.
    pub fn loadtest(&self) -> PathBuf {
        self.dev().join("loadtest")
    }

    /// The environment of `make up`: its data stays until `make clean`.
    pub fn up(&self) -> PathBuf {
        self.dev().join("up")
    }

    /// One directory for each run of `with-services`.
    pub fn tests(&self) -> PathBuf {
        self.dev().join("test")
    }

    pub fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }

    pub fn migrations(&self) -> PathBuf {
        self.root.join("migrations")
    }
}
