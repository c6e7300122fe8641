//! The places this package writes to, under `.dev/` in the repository's root; what takes minutes to make and is the same in
//! every clone lies in the cache of the user.

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

    /// What outlives a clone, by version: `$XDG_CACHE_HOME/telex`, or `~/.cache/telex`.
    pub fn cache() -> Result<PathBuf> {
        let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let caches = named.or_else(usual).context("neither XDG_CACHE_HOME nor HOME names a directory")?;
        Ok(caches.join("telex"))
    }

    pub fn migrations(&self) -> PathBuf {
        self.root.join("migrations")
    }
}
