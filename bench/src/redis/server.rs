//! Debian's redis-server, unpacked under `.dev/redis/` without being installed: no root, no service.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    ports::Port,
    process::{Server, Spec},
    workspace::Workspace,
};
use nix::sys::signal::Signal;

use crate::lab::finish;

const READY_WITHIN: Duration = Duration::from_secs(15);

/// The server's packages with the libraries that a slim machine lacks.
const PACKAGES: [&str; 7] =
    ["redis-server", "redis-tools", "libjemalloc2", "liblua5.1-0", "liblzf1", "libatomic1", "libhiredis0.14"];

/// A running Redis. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    _server: Server,
    /// Where it listens, on loopback.
    pub port: u16,
}

impl Redis {
    /// Starts the machine's own, or Debian's. Its data is kept in memory only, as a cache's is.
    pub fn start(workspace: &Workspace, directory: &Path) -> Result<Self> {
        let mut command = command(workspace)?;
        let port = Port::Free.pick()?;
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut server =
            Server::spawn(Spec { name: "redis", directory, command, stop_signal: Signal::SIGTERM })?;
        server.wait_until_ready(READY_WITHIN, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { _server: server, port })
    }
}

fn command(workspace: &Workspace) -> Result<Command> {
    let installed = Command::new("redis-server").arg("--version").output();
    if installed.is_ok_and(|output| output.status.success()) {
        return Ok(Command::new("redis-server"));
    }
    let home = workspace.dev().join("redis");
    if !home.join("installed").exists() {
        unpack(&home)
            .context("redis-server is not here and cannot be fetched: apt-get install redis-server")?;
    }
    let mut command = Command::new(home.join("usr/bin/redis-server"));
    command.env("LD_LIBRARY_PATH", libraries(&home)?);
    Ok(command)
}

fn unpack(home: &Path) -> Result<()> {
    fs::create_dir_all(home)?;
    let mut download = Command::new("apt-get");
    download.current_dir(home).args(["-qq", "download"]).args(PACKAGES);
    finish(download, "apt-get failed")?;
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("-x").arg(&path).arg(home);
            finish(unpack, "dpkg-deb failed")?;
        }
    }
    Ok(fs::write(home.join("installed"), "")?)
}

/// `usr/lib/{architecture}`.
fn libraries(home: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(home.join("usr/lib"))? {
        let path = entry?.path();
        if path.join("libjemalloc.so.2").exists() {
            return Ok(path);
        }
    }
    bail!("{} holds no libraries", home.display())
}
