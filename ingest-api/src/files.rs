//! Files that are read again when they change: what is made of them is swapped in one step, and what is
//! broken changes nothing. Whoever uses a value keeps the one they took.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use service_kit::{Problems, prometheus::IntCounterVec};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};

/// A file of credentials is small; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads files and remembers what was in them.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, Option<[u8; 32]>)>);

impl Files {
    /// Reads a file as text.
    ///
    /// # Errors
    /// The file, and why it could not be read.
    pub fn read(&mut self, path: &Path) -> Result<String, String> {
        let text = read(path);
        self.0.push((path.to_owned(), digest(&text)));
        text
    }

    fn changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| digest(&read(path)) != *seen)
    }
}

fn read(path: &Path) -> Result<String, String> {
    service_kit::files::read(path, FILE_BYTES_MAX)
}

fn digest(text: &Result<String, String>) -> Option<[u8; 32]> {
    text.as_ref().ok().map(|text| Sha256::digest(text.as_bytes()).into())
}

/// Makes a value of files.
pub trait Load: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    /// What the value is, for the log.
    const WHAT: &'static str;

    /// Reads the files; `previous` is what was made of them before.
    ///
    /// # Errors
    /// Everything that is wrong.
    fn load(&self, files: &mut Files, previous: Option<&Self::Value>) -> Result<Self::Value, Problems>;
}

/// A value made of files, as new as they are.
pub struct Reloaded<L: Load> {
    loader: L,
    current: ArcSwap<L::Value>,
    files: Mutex<Files>,
    reloads: IntCounterVec,
}

/// Something that can look whether its files have changed.
pub trait Refresh: Send + Sync {
    /// Loads the files again if they have changed, or in any case. Blocks on the disk.
    fn refresh(&self, in_any_case: bool);
}

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at files forever: each second whether they have changed; at SIGHUP they are read in any case.
pub async fn watch(all: Vec<Arc<dyn Refresh>>) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::error!(%error, "files are not watched: SIGHUP cannot be received");
            return;
        }
    };
    loop {
        let in_any_case = tokio::select! {
            _ = hangups.recv() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        };
        let all = all.clone();
        let refresh = move || all.iter().for_each(|each| each.refresh(in_any_case));
        if tokio::task::spawn_blocking(refresh).await.is_err() {
            tracing::error!("a look at the files panicked");
        }
    }
}

impl<L: Load> Reloaded<L> {
    /// Loads the value for the first time. `reloads` counts the later times, by result.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn new(loader: L, reloads: IntCounterVec) -> Result<Self, Problems> {
        let mut files = Files::default();
        let value = loader.load(&mut files, None)?;
        for result in ["applied", "refused"] {
            reloads.with_label_values(&[result]).reset();
        }
        Ok(Self { loader, current: ArcSwap::from_pointee(value), files: Mutex::new(files), reloads })
    }

    /// The value as it is now. Never waits.
    pub fn current(&self) -> Arc<L::Value> {
        self.current.load_full()
    }
}

impl<L: Load> Refresh for Reloaded<L> {
    fn refresh(&self, in_any_case: bool) {
        let mut seen = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_any_case && !seen.changed() {
            return;
        }
        let mut files = Files::default();
        let current = self.current();
        let loaded = self.loader.load(&mut files, Some(current.as_ref()));
        // Also of a broken version: it is refused once, not every second.
        *seen = files;
        let result = match loaded {
            Ok(value) => {
                self.current.store(Arc::new(value));
                tracing::info!(what = L::WHAT, "reloaded");
                "applied"
            }
            Err(problems) => {
                tracing::error!(what = L::WHAT, %problems, "not reloaded, the old version stays in force");
                "refused"
            }
        };
        self.reloads.with_label_values(&[result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use service_kit::prometheus::Opts;

    use super::*;

    struct Number(PathBuf);

    impl Load for Number {
        type Value = u32;

        const WHAT: &'static str = "a number";

        fn load(&self, files: &mut Files, _previous: Option<&u32>) -> Result<u32, Problems> {
            files.read(&self.0)?.trim().parse().map_err(|_| "not a number".to_owned().into())
        }
    }

    #[test]
    fn a_changed_file_is_applied_and_a_broken_one_keeps_the_old_value() {
        let path = std::env::temp_dir().join(format!("telex-files-{}", std::process::id()));
        std::fs::write(&path, "1").unwrap();
        let reloads = IntCounterVec::new(Opts::new("reloads", "Reloads."), &["result"]).unwrap();
        let number = Reloaded::new(Number(path.clone()), reloads.clone()).unwrap();
        let count = |result| reloads.with_label_values(&[result]).get();

        number.refresh(false);
        assert_eq!((*number.current(), count("applied")), (1, 0), "nothing has changed");
        std::fs::write(&path, "2").unwrap();
        number.refresh(false);
        assert_eq!((*number.current(), count("applied")), (2, 1));
        std::fs::write(&path, "two").unwrap();
        number.refresh(false);
        number.refresh(false);
        assert_eq!((*number.current(), count("refused")), (2, 1), "refused once");
        std::fs::remove_file(&path).unwrap();
        number.refresh(false);
        assert_eq!((*number.current(), count("refused")), (2, 2));
        std::fs::write(&path, "3").unwrap();
        number.refresh(false);
        assert_eq!((*number.current(), count("applied")), (3, 2));
        number.refresh(true);
        assert_eq!(count("applied"), 3, "asked for");
        std::fs::remove_file(&path).unwrap();
    }
}
