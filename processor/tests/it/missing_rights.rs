//! A right at the brokers that a command lacks is named by its dry run as by the command, before anything is done: the one
//! to tell a switch to the ingest APIs, and the one to write what lay in quarantine.

use std::process::Output;

use dev_env::{
    kafka::{
        Secure,
        admin::{self, Operation, Resource},
    },
    programs::{QUARANTINE_PARTITIONS, QUARANTINE_SETTINGS},
};
use schemas::placement::topic_of;

use crate::{
    documented::hooks,
    harness::{OwnServers, SOON, Telex, wait_for},
    secure_kafka::{PASSWORD, authority, identity, settings_of},
};

const USER: &str = "telex";

const DESCRIPTION: &str = r#"
title = "A provider of the test"
body = "json"
source = { from = ["/account"] }
phone = { from = ["/phone"], digits = true, plus = true }
id = { from = ["/id"] }
text = { from = ["/text"] }
signature = { scheme = "secret", at = "header:x-secret" }
"#;

/// Brokers where this user may do everything with a topic on which nobody has a right; the option that lets it in.
fn site() -> (Telex, OwnServers, String) {
    let authority = authority();
    let secure = Secure {
        identity_pem: identity(&authority, "127.0.0.1"),
        users: vec![(USER.to_owned(), PASSWORD.to_owned())],
        is_open: true,
    };
    let (telex, servers) = Telex::with_own_kafka(Some(secure));
    let option = settings_of(&telex, USER, &authority, (USER, PASSWORD));
    (telex, servers, option)
}

fn allow(servers: &OwnServers, topic: &str, operations: &[Operation]) {
    admin::allow(servers.kafka.address(), USER, Resource::Topic(topic), operations).unwrap();
}

/// What is said on both streams.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Without the right to write to this topic, dry run and command are refused alike.
#[track_caller]
fn assert_refused(topic: &str, run: impl Fn(&str) -> Output) {
    let expected = format!("the user {USER} of Kafka lacks Write on topic {topic}; nothing was changed");
    let is_refused =
        |output: &Output| !output.status.success() && said(output).matches(&expected).count() == 1;
    // The brokers take a moment until a right is in force.
    wait_for("the refusal", SOON, || is_refused(&run("--dry-run")));
    let output = run("--yes");
    assert!(is_refused(&output), "{}", said(&output));
}

#[test]
fn a_switch_that_could_not_be_told_is_refused_before_it_changes_anything() {
    let (mut telex, servers, option) = site();
    telex.programs.require_processor(&["partitions", "register", "--count=12", "--yes"]).unwrap();
    telex.programs.require_processor(&["partitions", "grow", "--to=24", "--yes"]).unwrap();
    telex.programs.kafka = servers.kafka.secure_bootstrap().unwrap();
    let placements = topic_of(&telex.programs.topic);
    allow(&servers, &placements, &[Operation::Read, Operation::Describe]);
    let run = |mode: &str| {
        telex.programs.run_processor(&["partitions", "switch", "--to=24", mode, &option]).unwrap()
    };
    assert_refused(&placements, run);
    assert_eq!(telex.number("select count(*) from placements"), 0);
    allow(&servers, &placements, &[Operation::Write]);
    wait_for("the right", SOON, || run("--dry-run").status.success());
    let output = run("--yes");
    assert!(output.status.success() && !said(&output).contains("cannot be told"), "{}", said(&output));
    assert_eq!(telex.number("select count(*) from placements"), 24);
}

#[test]
fn a_replay_of_a_hooks_items_that_could_not_be_written_is_refused_as_a_dry_run_too() {
    let (mut telex, servers, option) = site();
    let topic = telex.programs.topic.clone();
    let quarantine = format!("{topic}.quarantine");
    servers.kafka.create_topic(&quarantine, QUARANTINE_PARTITIONS, &QUARANTINE_SETTINGS).unwrap();
    telex.programs.kafka = servers.kafka.secure_bootstrap().unwrap();
    let producers = "[[producers]]\nname = \"test\"\nall_external_client_ids = true\n[[producers.hooks]]\n\
                     name = \"provider\"\nfile = \"provider.toml\"\n\
                     secrets = [{ secret = \"a-secret-of-thirty-two-characters\" }]\n";
    std::fs::write(telex.directory.join("producers.toml"), producers).unwrap();
    std::fs::write(telex.directory.join("provider.toml"), DESCRIPTION).unwrap();
    allow(&servers, &topic, &[Operation::Read, Operation::Describe, Operation::DescribeConfigs]);
    let run = |mode: &str| {
        let arguments = ["hooks", "replay", "--hook=provider", mode, &option];
        hooks(&telex.programs, &telex.directory, &quarantine, &arguments)
    };
    assert_refused(&topic, run);
    allow(&servers, &topic, &[Operation::Write]);
    wait_for("the right", SOON, || said(&run("--dry-run")).contains("0 messages would be kept"));
}
