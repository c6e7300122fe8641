//! The two ways to the brokers: plain, as in the environment of `make up`, and over TLS with a user's password, as readers
//! come in a cluster (examples/readers/README.md, "Over TLS").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use dev_env::kafka::{Kafka, Secure};
use dev_env::process::require;

/// The user of other teams in Kubernetes.
pub const USER: &str = "telex-data";
const PASSWORD: &str = "correct-horse-battery-staple";

/// What a reader is told of one of the ways.
pub struct Access {
    pub brokers: String,
    /// A group for each: what one has read, the other has not.
    pub group: &'static str,
    pub files: Option<Files>,
}

/// As the Secrets of a cluster hold them.
pub struct Files {
    pub ca: PathBuf,
    pub password: PathBuf,
}

/// A listener whose certificate is its own authority, and the files for its readers.
pub fn listener(directory: &Path) -> Result<(Secure, Files)> {
    fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let files = Files { ca: directory.join("ca.crt"), password: directory.join("password") };
    let key = directory.join("tls.key");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&files.ca);
    require(&mut openssl, "apt-get install openssl")?;
    fs::write(&files.password, format!("{PASSWORD}\n")).context("the password cannot be written down")?;
    let identity_pem = fs::read_to_string(&key)? + &fs::read_to_string(&files.ca)?;
    let users = vec![(USER.to_owned(), PASSWORD.to_owned())];
    Ok((Secure { identity_pem, users, is_open: true }, files))
}

/// Has kcat take the client library of Python's package: that of Debian 12 is too old to log in (`kcat.sh`).
pub fn lend_newer_library(kcat: &mut Command, python: &Path, files: &Files) -> Result<()> {
    let environment = python.parent().and_then(Path::parent).context("Python lies nowhere")?;
    let mut found = None;
    for version in fs::read_dir(environment.join("lib"))? {
        let libraries = version?.path().join("site-packages/confluent_kafka.libs");
        for entry in fs::read_dir(libraries).into_iter().flatten() {
            let path = entry?.path();
            if path.display().to_string().contains("librdkafka") {
                found = Some(path);
            }
        }
    }
    let own = files.ca.with_file_name("librdkafka");
    fs::create_dir_all(&own).with_context(|| format!("{} cannot be made", own.display()))?;
    let link = own.join("librdkafka.so.1");
    fs::remove_file(&link).ok();
    std::os::unix::fs::symlink(found.context("confluent-kafka brings no library")?, link)?;
    let before = kcat.get_envs().find(|(name, _)| *name == "LD_LIBRARY_PATH").and_then(|(_, value)| value);
    let mut libraries = own.into_os_string();
    libraries.push(":");
    libraries.push(before.unwrap_or_default());
    kcat.env("LD_LIBRARY_PATH", libraries);
    Ok(())
}

impl Access {
    pub fn plain(kafka: &Kafka) -> Self {
        Self { brokers: kafka.bootstrap(), group: "contract-check", files: None }
    }

    pub fn over_tls(kafka: &Kafka, files: Files) -> Result<Self> {
        let brokers = kafka.secure_bootstrap().context("the brokers have no listener with TLS")?;
        Ok(Self { brokers, group: "data-team.contract-check", files: Some(files) })
    }
}
