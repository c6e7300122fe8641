//! How Kafka's brokers are reached and trusted: librdkafka's own settings, from a properties file, so that
//! both services take them in the same way. Only settings of the connection are taken. What correctness
//! rests on is set by the services themselves, and a certificate that is not checked is no certificate.
//!
//! ```text
//! security.protocol=sasl_ssl
//! ssl.ca.location=/etc/telex/kafka-ca.pem
//! sasl.mechanism=SCRAM-SHA-512
//! sasl.username=ingest-api
//! sasl.password.file=/run/secrets/kafka-password
//! ```
//!
//! A name that ends in `.file` takes its value from that file. Lines that begin with `#` are comments.

use std::path::Path;

use crate::{Problems, Secret, files};

/// A file of settings is small; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the file may hold.
const ALLOWED: [&str; 31] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.crl.location",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "broker.address.family",
    "broker.address.ttl",
    "client.rack",
    "connections.max.idle.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.connection.setup.timeout.ms",
    "topic.metadata.refresh.interval.ms",
];

/// Settings of the connection to Kafka, in the order of the file. Debug prints the names only.
#[derive(Debug, Clone, Default)]
pub struct KafkaSettings(Vec<(String, Secret)>);

impl KafkaSettings {
    /// Reads the file at this path; as clap's `value_parser` it is read with the command line.
    pub fn load(path: &str) -> Result<Self, Problems> {
        Self::parse(&read(path)?, read)
    }

    /// Reads settings from the text of a file; `file` reads another one. Problems name the setting and the rule, and
    /// no value.
    pub fn parse(text: &str, file: impl Fn(&str) -> Result<String, String>) -> Result<Self, Problems> {
        let (mut settings, mut problems) = (Self::default(), Problems::default());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match setting(line, &file) {
                Ok((name, _)) if settings.get(&name).is_some() => {
                    problems.push(format!("line {}: {name} appears twice", number + 1));
                }
                Ok(setting) => settings.0.push(setting),
                Err(problem) => problems.push(format!("line {}: {problem}", number + 1)),
            }
        }
        settings.check(&mut problems);
        problems.or(settings)
    }

    /// Whom the brokers take a client with these settings for, for people: a name is known where there is a password.
    pub fn user(settings: Option<&Self>) -> String {
        let named = settings.and_then(|settings| settings.get("sasl.username"));
        named.map_or_else(|| "this user of Kafka".to_owned(), |user| format!("the user {user} of Kafka"))
    }

    /// The settings, for librdkafka.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(each, _)| *each == name).map(|(_, value)| value)
    }

    /// What settings together must be.
    fn check(&self, problems: &mut Problems) {
        let is =
            |name: &str, value: &str| self.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        let has_prefix = |prefix: &str| self.iter().any(|(name, _)| name.starts_with(prefix));
        let verification = self.get("enable.ssl.certificate.verification");
        problems.require(
            verification.is_none_or(|value| value.eq_ignore_ascii_case("true")),
            "enable.ssl.certificate.verification must be true: the brokers' certificates are always checked",
        );
        let identification = self.get("ssl.endpoint.identification.algorithm");
        problems.require(
            identification.is_none_or(|value| value.eq_ignore_ascii_case("https")),
            "ssl.endpoint.identification.algorithm must be https: the brokers' names are always checked",
        );
        let is_sasl = is("security.protocol", "sasl_ssl") || is("security.protocol", "sasl_plaintext");
        let is_ssl = is("security.protocol", "sasl_ssl") || is("security.protocol", "ssl");
        problems.require(is_sasl || !has_prefix("sasl."), "sasl.* needs security.protocol=sasl_ssl");
        problems.require(is_ssl || !has_prefix("ssl."), "ssl.* needs security.protocol=ssl or sasl_ssl");
        let is_plain = is("sasl.mechanism", "plain") || is("sasl.mechanisms", "plain");
        problems.require(
            !(is("security.protocol", "sasl_plaintext") && is_plain),
            "sasl.mechanism=PLAIN needs security.protocol=sasl_ssl: the password would be sent unencrypted",
        );
    }
}

fn setting(line: &str, file: impl Fn(&str) -> Result<String, String>) -> Result<(String, Secret), String> {
    let (name, value) = line.split_once('=').ok_or("must be name=value")?;
    let (name, value) = (name.trim(), value.trim());
    let (name, value) = match name.strip_suffix(".file") {
        Some(name) => (name, file(value)?.trim().to_owned()),
        None => (name, value.to_owned()),
    };
    if !ALLOWED.contains(&name) {
        return Err(format!(
            "{name} cannot be set here: this file says how brokers are reached and trusted, nothing else"
        ));
    }
    Ok((name.to_owned(), Secret::from(value)))
}

fn read(path: &str) -> Result<String, String> {
    files::read(Path::new(path), FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KafkaSettings, Problems> {
        KafkaSettings::parse(text, |file| match file {
            "/run/secrets/password" => Ok("hunter2\n".to_owned()),
            other => Err(format!("{other} cannot be read")),
        })
    }

    #[test]
    fn settings_keep_their_order_and_secrets_come_from_files_of_their_own() {
        let settings = parse(
            "# brokers\n\nsecurity.protocol = SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.username=telex\nsasl.password.file=/run/secrets/password\n",
        )
        .unwrap();
        assert_eq!(
            settings.iter().collect::<Vec<_>>(),
            [
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", "telex"),
                ("sasl.password", "hunter2"),
            ]
        );
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn certificate_checks_cannot_be_switched_off() {
        for line in [
            "enable.ssl.certificate.verification=false",
            "enable.ssl.certificate.verification=0",
            "enable.ssl.certificate.verification=",
            "ssl.endpoint.identification.algorithm=none",
            "ssl.endpoint.identification.algorithm=",
        ] {
            let error = parse(&format!("security.protocol=ssl\n{line}")).unwrap_err();
            let name = line.split_once('=').unwrap().0;
            assert!(error.0.iter().any(|problem| problem.starts_with(&format!("{name} must be"))), "{error}");
        }
        assert!(parse("security.protocol=ssl\nenable.ssl.certificate.verification=true").is_ok());
    }

    #[test]
    fn what_correctness_rests_on_is_not_set_here() {
        for name in [
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "bootstrap.servers",
            "metadata.broker.list",
            "auto.offset.reset",
            "enable.auto.commit",
            "partitioner",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "group.instance.id",
            "check.crcs",
            "plugin.library.paths",
            "sasl.kerberos.kinit.cmd",
        ] {
            let error = parse(&format!("{name}=x")).unwrap_err();
            assert!(error.0[0].contains(&format!("{name} cannot be set here")), "{error}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once_and_no_value() {
        let error = parse(
            "sasl.password=hunter2\nhunter2\nclient.rack=a\nclient.rack=hunter2\nsasl.username.file=/absent\n",
        );
        assert_eq!(
            error.unwrap_err().0,
            [
                "line 2: must be name=value",
                "line 4: client.rack appears twice",
                "line 5: /absent cannot be read",
                "sasl.* needs security.protocol=sasl_ssl",
            ]
        );
        let plain = parse("security.protocol=sasl_plaintext\nsasl.mechanism=PLAIN").unwrap_err();
        assert!(plain.0[0].contains("PLAIN"), "{plain}");
    }
}
