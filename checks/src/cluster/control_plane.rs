//! An API server and its etcd on loopback ports, for as long as a check asks them. There is no controller, scheduler or
//! node: what is applied here never runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dev_env::interrupt;
use dev_env::ports::Port;
use dev_env::process::{Server, Spec, log_tail, require};
use nix::sys::signal::Signal;
use serde_json::json;

use super::binaries::Binaries;

const READY_WITHIN: Duration = Duration::from_secs(90);
const DEFINED_TRIES: u32 = 20;
/// Anybody on this machine may ask it, and it holds nothing.
const TOKEN: &str = "telex-check";
const CONFIG: &str = "kubeconfig";

/// Dropping it kills both.
#[derive(Debug)]
pub struct ControlPlane {
    // Ends before what it stores in.
    api: Server,
    etcd: Server,
    directory: PathBuf,
    kubectl: PathBuf,
}

impl ControlPlane {
    /// Starts both, empty, with everything they write in this directory.
    pub fn start(binaries: &Binaries, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        let client = format!("http://127.0.0.1:{}", Port::Free.pick()?);
        let etcd = start_etcd(binaries, directory, &client)?;
        let port = Port::Free.pick()?;
        let api = start_api_server(binaries, directory, &client, port)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "check",
            "clusters": [{"name": "check", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority": directory.join("pki/apiserver.crt"),
            }}],
            "users": [{"name": "check", "user": {"token": TOKEN}}],
            "contexts": [{"name": "check", "context": {"cluster": "check", "user": "check"}}],
        });
        fs::write(directory.join(CONFIG), config.to_string()).context("kubeconfig cannot be written")?;
        let mut plane = Self { api, etcd, directory: directory.to_owned(), kubectl: binaries.kubectl() };
        let etcd = &plane.etcd;
        plane.api.wait_until_ready(READY_WITHIN, |_| {
            let mut question = kubectl(&plane.kubectl, directory);
            question.args(["get", "--raw", "/readyz", "--request-timeout=2s"]);
            !etcd.is_running() || question.output().is_ok_and(|output| output.status.success())
        })?;
        if !plane.etcd.is_running() {
            bail!("etcd ended instead of starting; {}", log_tail(plane.etcd.log()));
        }
        Ok(plane)
    }

    /// What kubectl, or the server, has against a text; nothing if it takes it.
    pub fn refusal(&self, arguments: &[&str], text: &str) -> Result<Option<String>> {
        let file = self.directory.join("asked.yaml");
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        let mut ask = kubectl(&self.kubectl, &self.directory);
        ask.args(arguments).arg("--filename").arg(&file);
        let output = ask.output().context("kubectl cannot be run")?;
        if output.status.success() {
            return Ok(None);
        }
        if !self.api.is_running() {
            bail!("the API server has ended; {}", log_tail(self.api.log()));
        }
        Ok(Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Takes definitions up, for good.
    pub fn define(&self, files: &[PathBuf]) -> Result<()> {
        let mut apply = kubectl(&self.kubectl, &self.directory);
        apply.args(["apply", "--server-side", "--force-conflicts"]);
        for file in files {
            apply.arg("--filename").arg(file);
        }
        require(&mut apply, "it was built just now")?;
        let mut wait = kubectl(&self.kubectl, &self.directory);
        let established = "--for=condition=Established";
        wait.args(["wait", established, "customresourcedefinition", "--all", "--timeout=60s"]);
        // Of one that has no condition yet, kubectl says an error instead of waiting.
        for _ in 1..DEFINED_TRIES {
            if wait.output().is_ok_and(|output| output.status.success()) {
                return Ok(());
            }
            interrupt::pause(Duration::from_millis(500))?;
        }
        require(&mut wait, "it was built just now").map(drop)
    }
}

fn start_etcd(binaries: &Binaries, directory: &Path, client: &str) -> Result<Server> {
    let peer = format!("http://127.0.0.1:{}", Port::Free.pick()?);
    let mut command = Command::new(binaries.etcd());
    command.arg("--data-dir").arg(directory.join("etcd")).args(etcd_arguments(client, &peer));
    Server::spawn(Spec { name: "etcd", directory, command, stop_signal: Signal::SIGTERM })
}

/// An etcd by itself, whose data is of no use when the machine has lost its power.
pub fn etcd_arguments(client: &str, peer: &str) -> [String; 7] {
    [
        "--name=check".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=check={peer}"),
    ]
}

/// It makes the key and the certificate of its port itself, and signs with the same key what it has to sign.
fn start_api_server(binaries: &Binaries, directory: &Path, etcd: &str, port: u16) -> Result<Server> {
    let (certificates, tokens) = (directory.join("pki"), directory.join("tokens.csv"));
    fs::write(&tokens, format!("{TOKEN},check,check,\"system:masters\"\n"))
        .with_context(|| format!("{} cannot be written", tokens.display()))?;
    let key = certificates.join("apiserver.key");
    let mut command = Command::new(binaries.api_server());
    command.arg(format!("--etcd-servers={etcd}"));
    // Without the second it asks the machine for a way out.
    command.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
    command.arg(format!("--secure-port={port}"));
    command.args(["--service-cluster-ip-range=10.96.0.0/24", "--endpoint-reconciler-type=none"]);
    command.arg("--authorization-mode=RBAC").arg("--token-auth-file").arg(tokens);
    command.arg("--cert-dir").arg(certificates);
    command.arg("--service-account-issuer=https://kubernetes.default.svc");
    command.arg("--service-account-key-file").arg(&key).arg("--service-account-signing-key-file").arg(&key);
    Server::spawn(Spec { name: "kube-apiserver", directory, command, stop_signal: Signal::SIGTERM })
}

/// With a configuration and a memory of what servers know of its own: those of the person who runs the check are of others.
fn kubectl(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("KUBECONFIG", directory.join(CONFIG)).env("KUBECACHEDIR", directory.join("cache"));
    command.stdin(Stdio::null());
    command
}
