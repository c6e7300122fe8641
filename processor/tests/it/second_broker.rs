//! A second broker for a Kafka of a test's own, so that some partitions can be without a leader.

use std::{fs, path::Path, process::Command, time::Duration};

use dev_env::{
    install::{self, Installation},
    ports::Port,
    process::{Server, Spec},
    workspace::Workspace,
};
use nix::sys::signal::Signal;

/// The second broker. Dropping it kills it.
pub struct SecondBroker {
    server: Option<Server>,
    directory: std::path::PathBuf,
    class_path: std::path::PathBuf,
}

impl SecondBroker {
    /// Beside the broker whose data is under `first`; it has no part in the quorum of controllers.
    pub fn start(first: &Path) -> Self {
        let installation = Installation::ensure(&Workspace::find().unwrap(), &|_| {}).unwrap();
        let (home, directory) = (first.join("kafka"), first.join("second"));
        fs::create_dir_all(directory.join("data")).unwrap();
        let port = Port::Free.pick().unwrap();
        let properties: Vec<String> = fs::read_to_string(home.join("server.properties"))
            .unwrap()
            .lines()
            .map(|line| match line.split_once('=') {
                Some(("process.roles", _)) => "process.roles=broker".to_owned(),
                Some(("node.id", _)) => "node.id=2".to_owned(),
                Some(("listeners", _)) => format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
                Some(("log.dirs", _)) => format!("log.dirs={}", directory.join("data").display()),
                _ => line.to_owned(),
            })
            .collect();
        fs::write(directory.join("server.properties"), properties.join("\n") + "\n").unwrap();
        fs::copy(home.join("log4j2.properties"), directory.join("log4j2.properties")).unwrap();
        let mut second = Self { server: None, directory, class_path: installation.kafka_class_path() };
        let meta = fs::read_to_string(home.join("data/meta.properties")).unwrap();
        let cluster_id = meta.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
        let mut format = second.java();
        format.args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"]);
        assert!(format.arg(second.directory.join("server.properties")).output().unwrap().status.success());
        second.start_again();
        second
    }

    pub fn start_again(&mut self) {
        let mut command = self.java();
        command.args(["-Xmx384m", "kafka.Kafka"]).arg(self.directory.join("server.properties"));
        let spec = Spec { name: "second", directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        let mut server = Server::spawn(spec).unwrap();
        let is_up = |server: &Server| server.log_text().contains("Kafka Server started");
        server.wait_until_ready(Duration::from_secs(90), is_up).unwrap();
        self.server = Some(server);
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        drop(self.server.take());
    }

    fn java(&self) -> Command {
        let mut logging = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        logging.push(self.directory.join("log4j2.properties"));
        let mut command = Command::new(install::java());
        command.arg(logging).arg("-XX:TieredStopAtLevel=1").arg("-cp").arg(&self.class_path);
        command
    }
}
