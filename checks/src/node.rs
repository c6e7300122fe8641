//! A node of Kubernetes and its control plane on this machine, from packages alone, for as long as a command runs: pods that
//! run, volumes that bind, names that resolve and network policies that are enforced.
//!
//! Invariant: it is a guest. Its network, mounts and processes are its own (`space`), its pods' control groups too
//! ([`cgroups`]), and what it writes is in one directory. When it is dropped, or its start fails, all of that is gone.

pub mod cgroups;
pub mod images;
pub mod page;
pub mod programs;
mod settings;
mod space;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dev_env::process::{Server, Spec, log_tail, require};
use dev_env::workspace::Workspace;
use nix::sys::signal::Signal;

use self::cgroups::Cgroups;
use self::programs::Programs;
use self::settings::{IDENTITIES, NODE_NAME, PROXY};
use self::space::Space;

const READY_WITHIN: Duration = Duration::from_secs(180);
/// checks/cluster/node.yaml claims them.
const VOLUMES: [&str; 2] = ["1", "2"];

/// Dropping it ends everything that it has started.
#[derive(Debug)]
pub struct Node {
    space: Space,
    servers: Vec<Server>,
    // After the processes in them.
    cgroups: Cgroups,
    programs: Programs,
    directory: PathBuf,
    root: PathBuf,
}

impl Node {
    /// An empty cluster of one node: what it writes goes into this directory.
    pub fn start(workspace: &Workspace, programs: Programs, directory: &Path) -> Result<Self> {
        let cgroups = Cgroups::make()?;
        let root = workspace.root().to_owned();
        let space = Space::open(directory, &root)?;
        let mut node =
            Self { space, servers: Vec::new(), cgroups, programs, directory: directory.to_owned(), root };
        node.write_settings()?;
        node.certify_proxy()?;
        node.start_control_plane()?;
        Ok(node)
    }

    /// Takes an archive of images in, then takes pods.
    pub fn join(&mut self, images: &Path) -> Result<()> {
        let containerd = self.space.command("containerd");
        self.spawn("containerd", with(containerd, &["--config".to_owned(), self.file("containerd.toml")]))?;
        let mut version = self.space.command("ctr");
        version.arg("version");
        self.until("containerd", &mut version)?;
        let mut import = self.space.command("ctr");
        import.args(["--namespace", "k8s.io", "images", "import"]).arg(images);
        require(&mut import, "")?;
        let directory = self.directory.clone();
        for (name, arguments) in [
            ("kubelet", settings::kubelet(&directory)),
            ("kube-proxy", settings::proxy(&directory)),
            ("kube-controller-manager", settings::controller_manager(&directory)),
            ("kube-scheduler", settings::scheduler(&directory)),
        ] {
            self.spawn(name, with(self.space.command(self.programs.of_node(name)), &arguments))?;
        }
        self.furnish()?;
        // One that has ended would leave a node without network policies.
        let ended = self.servers.iter().find(|server| !server.is_running());
        ended.map_or(Ok(()), |server| bail!("a part of the node has ended; {}", log_tail(server.log())))
    }

    /// A command beside the node: its network, its processes, and `kubectl` as somebody who may do everything.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.space.command(program);
        command.env("KUBECONFIG", self.file("admin")).env("KUBECACHEDIR", self.file("cache"));
        command.env("TELEX_NODE", &self.directory);
        let kubectl = self.programs.control.kubectl();
        let ours = kubectl.parent().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Ok(path) = std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&path))) {
            command.env("PATH", path);
        }
        command
    }

    fn write_settings(&self) -> Result<()> {
        let certificate = self.directory.join("pki/apiserver.crt");
        let mut files: Vec<(&str, String)> =
            IDENTITIES.iter().map(|(name, ..)| (*name, settings::kubeconfig(name, &certificate))).collect();
        files.extend([
            ("tokens.csv", settings::tokens()),
            ("containerd.toml", settings::containerd(&self.directory)),
            ("kubelet.json", settings::kubelet_file(&self.cgroups.root()).to_string()),
            ("cni/10-node.conflist", settings::network().to_string()),
        ]);
        fs::create_dir_all(self.directory.join("cni")).context("cni/ cannot be made")?;
        for (name, text) in files {
            fs::write(self.directory.join(name), text)
                .with_context(|| format!("{name} cannot be written"))?;
        }
        for volume in VOLUMES {
            let directory = self.directory.join("volumes").join(volume);
            fs::create_dir_all(&directory)
                .with_context(|| format!("{} cannot be made", directory.display()))?;
        }
        Ok(())
    }

    /// What the API server shows to a server behind it.
    fn certify_proxy(&self) -> Result<()> {
        let pki = self.directory.join("pki");
        fs::create_dir_all(&pki).context("pki/ cannot be made")?;
        let [authority, client] = PROXY;
        require(&mut certificate(&pki, authority), "")?;
        let mut signed = certificate(&pki, client);
        signed.arg("-CA").arg(pki.join(format!("{authority}.crt")));
        signed.arg("-CAkey").arg(pki.join(format!("{authority}.key")));
        signed.args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "extendedKeyUsage=clientAuth",
        ]);
        require(&mut signed, "it takes OpenSSL 3").map(drop)
    }

    fn start_control_plane(&mut self) -> Result<()> {
        let mut etcd = self.space.command(self.programs.control.etcd());
        etcd.arg("--data-dir").arg(self.directory.join("etcd"));
        self.spawn("etcd", with(etcd, &settings::etcd()))?;
        let api_server = self.space.command(self.programs.control.api_server());
        self.spawn("kube-apiserver", with(api_server, &settings::api_server(&self.directory)))?;
        let mut ready = self.kubectl(&["get", "--raw", "/readyz", "--request-timeout=2s"]);
        self.until("kube-apiserver", &mut ready)
    }

    /// Names, volumes and policies; returns when a pod could ask for them.
    fn furnish(&mut self) -> Result<()> {
        let manifest = self.root.join("checks/cluster/node.yaml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("{} cannot be read", manifest.display()))?
            .replace("DIRECTORY", &self.directory.display().to_string());
        let file = self.directory.join("node.yaml");
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        require(self.kubectl(&["apply", "--filename"]).arg(&file), "")?;
        let node = format!("node/{NODE_NAME}");
        let mut ready = self.kubectl(&["wait", "--for=condition=Ready", &node, "--timeout=2s"]);
        self.until("kubelet", &mut ready)?;
        // It ends if its node is not there yet.
        let router = with(self.space.command(self.programs.router()), &settings::policies(&self.directory));
        self.spawn("kube-router", router)?;
        let rollout = ["rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout=2s"];
        let mut named = self.kubectl(&rollout);
        self.until("kubelet", &mut named)
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.programs.control.kubectl());
        command.args(arguments);
        command
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn spawn(&mut self, name: &str, command: Command) -> Result<()> {
        let spec = Spec { name, directory: &self.directory, command, stop_signal: Signal::SIGTERM };
        self.servers.push(Server::spawn(spec)?);
        Ok(())
    }

    /// Waits until a question succeeds, as long as this server runs.
    fn until(&mut self, server: &str, question: &mut Command) -> Result<()> {
        let log = Path::new("logs").join(format!("{server}.log"));
        let server = self.servers.iter_mut().find(|it| it.log().ends_with(&log));
        let server = server.context("it was started just now")?;
        server
            .wait_until_ready(READY_WITHIN, |_| question.output().is_ok_and(|output| output.status.success()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // With it the kernel ends the others, and what they have started.
        self.space.close();
    }
}

/// Makes a key and a certificate of this name, signed by itself if by nobody else.
fn certificate(pki: &Path, name: &str) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "30", "-subj"]).arg(format!("/CN={name}"));
    openssl.arg("-keyout").arg(pki.join(format!("{name}.key")));
    openssl.arg("-out").arg(pki.join(format!("{name}.crt")));
    openssl
}

fn with(mut command: Command, arguments: &[String]) -> Command {
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_identity_has_a_file_and_a_token() {
        for (name, user, _) in IDENTITIES {
            let config: Value = serde_json::from_str(&settings::kubeconfig(name, Path::new("/pki"))).unwrap();
            let token = config.pointer("/users/0/user/token").and_then(Value::as_str).unwrap();
            assert!(settings::tokens().lines().any(|line| line.starts_with(&format!("{token},{user},"))));
        }
    }
}
