//! The control groups below which kubelet puts the pods of a node: a root of its own, since a kubelet takes away what is in its
//! root and is no pod of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

const MOUNTED: &str = "/sys/fs/cgroup";
const PREFIX: &str = "telex-node-";
/// A killed process leaves its group when its memory is torn down.
const TRIES: u32 = 40;

/// Dropping it removes them; processes in them have to be gone.
#[derive(Debug)]
pub struct Cgroups {
    name: String,
}

impl Cgroups {
    /// Makes them, and removes those of nodes whose command is gone.
    pub fn make() -> Result<Self> {
        for directory in hierarchies() {
            for left in children(&directory).filter(|child| is_abandoned(child)) {
                remove(&left);
            }
        }
        let made = Self { name: format!("{PREFIX}{}", std::process::id()) };
        for directory in hierarchies() {
            let own = directory.join(&made.name);
            fs::create_dir_all(&own).with_context(|| format!("{} cannot be made", own.display()))?;
        }
        Ok(made)
    }

    /// As kubelet wants its root.
    pub fn root(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            let own: Vec<PathBuf> = hierarchies().into_iter().map(|it| it.join(&self.name)).collect();
            own.iter().for_each(|directory| remove(directory));
            if !own.iter().any(|directory| directory.exists()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// One of version 2, or one a controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(MOUNTED);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    children(root).filter(|directory| directory.join("cgroup.procs").exists()).collect()
}

fn children(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // Not what a link leads to: `cpu` may be one to `cpu,cpuacct`.
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn is_abandoned(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(PREFIX).is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}

/// From the leaves up; what still holds a process stays.
fn remove(directory: &Path) {
    children(directory).for_each(|child| remove(&child));
    fs::remove_dir(directory).ok();
}
