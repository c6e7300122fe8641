//! A PostgreSQL server on a loopback port.
//!
//! It refuses to run as root; then it runs as `nobody`. A clone may lie in a directory that only root
//! can enter, so the process keeps the one capability that reads it (`CAP_DAC_OVERRIDE`).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::{self, User};

use crate::install::Installation;
use crate::ports::Port;
use crate::process::{Server, Spec, run_logged};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(15);
const NAME: &str = "postgres";

/// The database that holds Telex's tables.
pub const DATABASE: &str = "telex";

/// How a server is started. The data is in `postgres/` under `directory`, the log in `logs/postgres.log`.
#[derive(Debug, Clone)]
pub struct Options {
    pub directory: PathBuf,
    pub port: Port,
    /// Tests need not survive a power cut of the machine.
    pub fsync: bool,
}

impl Options {
    /// A server for tests: it gets in nobody's way.
    pub fn on_free_port(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), port: Port::Free, fsync: false }
    }
}

/// A server, running or away. Dropping it kills it.
#[derive(Debug)]
pub struct Postgres {
    installation: Installation,
    options: Options,
    port: u16,
    server: Option<Server>,
}

impl Postgres {
    /// Returns when the server takes connections. The data of an earlier start in the same directory is
    /// used again.
    pub fn start(installation: &Installation, options: Options) -> Result<Self> {
        let port = options.port.pick()?;
        let mut postgres = Self { installation: installation.clone(), options, port, server: None };
        if !postgres.data().join("PG_VERSION").exists() {
            postgres.initialise()?;
        }
        postgres.start_again()?;
        Ok(postgres)
    }

    /// The address of a database, for the superuser `telex`.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://telex@127.0.0.1:{}/{database}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Ends it as for maintenance: connections are cut, nothing is lost.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |mut server| server.stop(STOP_WITHIN))
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        drop(self.server.take());
    }

    /// Brings it back on the same port, with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        let data = self.data();
        // Of a server that was killed; it would be asked whether that pid still runs.
        fs::remove_file(data.join("postmaster.pid")).ok();
        let mut command = self.tool("postgres")?;
        command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
        let fsync = if self.options.fsync { "fsync=on" } else { "fsync=off" };
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=256MB",
            "max_wal_size=2GB",
            "log_min_messages=warning",
            fsync,
        ] {
            command.args(["-c", setting]);
        }
        let directory = &self.options.directory;
        let spec = Spec { name: NAME, directory, command, stop_signal: Signal::SIGINT };
        let mut server = Server::spawn(spec)?;
        let address = self.address();
        server.wait_until_ready(READY_WITHIN, |_| takes_connections(address))?;
        self.server = Some(server);
        Ok(())
    }

    /// Of the parent of its processes. `None` while it is away.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Stops the processes where they are; connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.iter().for_each(Server::freeze);
    }

    pub fn thaw(&self) {
        self.server.iter().for_each(Server::thaw);
    }

    /// Lets it live on after this process.
    pub fn detach(self) {
        self.server.into_iter().for_each(Server::detach);
    }

    pub fn data(&self) -> PathBuf {
        self.options.directory.join(NAME)
    }

    fn initialise(&self) -> Result<()> {
        let data = self.data();
        fs::create_dir_all(&data).with_context(|| format!("{} cannot be made", data.display()))?;
        if let Some(nobody) = stand_in()? {
            unistd::chown(&data, Some(nobody.uid), Some(nobody.gid))
                .with_context(|| format!("{} cannot be given to {}", data.display(), nobody.name))?;
        }
        let mut initdb = self.tool("initdb")?;
        initdb.arg("-D").arg(&data).args(["-U", "telex", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--no-sync", "--set", "timezone=UTC"]);
        let failed = "PostgreSQL's data directory could not be made";
        run_logged(&self.options.directory, "initdb", initdb, failed)?;
        self.create_database(DATABASE)
    }

    /// Makes the database while nothing else runs: a single-user server reads one statement. There is no
    /// `createdb` among the binaries.
    fn create_database(&self, name: &str) -> Result<()> {
        let statements = self.data().join("create.sql");
        fs::write(&statements, format!("create database {name}\n"))
            .context("a statement cannot be written")?;
        let mut single = Command::new("sh");
        single.args(["-c", "exec \"$@\" < \"$0\""]).arg(&statements);
        let tool = self.tool("postgres")?;
        single.arg(tool.get_program()).args(tool.get_args());
        single.arg("--single").arg("-D").arg(self.data()).arg("postgres");
        let failed = "the database could not be made";
        let made = run_logged(&self.options.directory, "initdb", single, failed);
        fs::remove_file(&statements).ok();
        made
    }

    /// One of PostgreSQL's programs, run by somebody it accepts.
    fn tool(&self, name: &str) -> Result<Command> {
        let program = self.installation.postgres().join("bin").join(name);
        let Some(nobody) = stand_in()? else {
            return Ok(Command::new(program));
        };
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", nobody.uid))
            .arg(format!("--regid={}", nobody.gid))
            .arg("--clear-groups");
        let capability = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"];
        command.args(capability).arg(program);
        Ok(command)
    }
}

/// Who runs PostgreSQL instead of root; nobody does for an ordinary user.
fn stand_in() -> Result<Option<User>> {
    if !unistd::geteuid().is_root() {
        return Ok(None);
    }
    let nobody = User::from_name("nobody").context("the users cannot be read")?;
    nobody.map(Some).context("PostgreSQL refuses to run as root, and there is no user `nobody`")
}

fn takes_connections(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200))
        .is_ok_and(|stream| speaks(stream).is_some())
}

/// Asks for TLS, which any running PostgreSQL answers with one byte; while it recovers it does not listen.
fn speaks(mut stream: TcpStream) -> Option<u8> {
    use std::io::{Read, Write};
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(&SSL_REQUEST).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    answer.first().copied()
}
