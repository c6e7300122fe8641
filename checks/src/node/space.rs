//! A network, mounts and processes of a node's own: namespaces of the kernel, held open by one process.
//!
//! Invariant: whatever is started in here ends with the holder, however that ends, and no mount or interface is left. The
//! kernel sees to both, so nothing has to be found and undone.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use dev_env::process::{Server, Spec};
use nix::sys::signal::Signal;

use super::settings::{GATEWAY, NODE_ADDRESS};

const OPEN_WITHIN: Duration = Duration::from_secs(15);

/// Dropping it ends everything in it.
#[derive(Debug)]
pub struct Space {
    holder: Server,
    root: PathBuf,
}

impl Space {
    /// What is written goes into this directory; `root` is that of the clone.
    pub fn open(directory: &Path, root: &Path) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg("bash").arg(root.join("checks/cluster/space"));
        command.arg(directory).args([NODE_ADDRESS, GATEWAY]);
        let spec = Spec { name: "space", directory, command, stop_signal: Signal::SIGKILL };
        let mut holder = Server::spawn(spec)?;
        let sign = directory.join("space-is-open");
        holder.wait_until_ready(OPEN_WITHIN, |_| sign.exists())?;
        Ok(Self { holder, root: root.to_owned() })
    }

    /// A program as it is started in here, in the root of the clone.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let of = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.pid());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", of("net"))).arg(format!("--mount={}", of("mnt")));
        // The holder is its parent: the one in there is its child.
        command.arg(format!("--pid={}", of("pid_for_children")));
        // Entering the mounts leads to the machine's root.
        command.args(["--", "env"]).arg(in_directory(&self.root)).arg(program);
        command
    }

    /// Kills what is in here.
    pub fn close(&mut self) {
        self.holder.kill();
    }
}

fn in_directory(directory: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("--chdir=");
    argument.push(directory);
    argument
}
