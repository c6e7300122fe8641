//! The machine's redis-server, or Debian's, unpacked without being installed: no root, no service.

use std::{net::TcpStream, path::Path, process::Command, time::Duration};

use anyhow::Result;
use dev_env::{
    debian::Package,
    ports::Port,
    process::{Server, Spec},
    workspace::Workspace,
};
use nix::sys::signal::Signal;

const READY_WITHIN: Duration = Duration::from_secs(15);

/// With the libraries that a slim machine lacks.
const PACKAGE: Package = Package {
    name: "redis",
    packages: &[
        "redis-server",
        "redis-tools",
        "libjemalloc2",
        "liblua5.1-0",
        "liblzf1",
        "libatomic1",
        "libhiredis0.14",
    ],
};

/// A running Redis. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    _server: Server,
    /// Where it listens, on loopback.
    pub port: u16,
}

impl Redis {
    /// Its data is kept in memory only, as a cache's is.
    pub fn start(workspace: &Workspace, directory: &Path) -> Result<Self> {
        let installed = Command::new("redis-server").arg("--version").output();
        let mut command = match installed.is_ok_and(|output| output.status.success()) {
            true => Command::new("redis-server"),
            false => PACKAGE.ensure(workspace)?.command("usr/bin/redis-server"),
        };
        let port = Port::Free.pick()?;
        command.arg("--port").arg(port.to_string());
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let spec = Spec { name: "redis", directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec)?;
        server.wait_until_ready(READY_WITHIN, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { _server: server, port })
    }
}
