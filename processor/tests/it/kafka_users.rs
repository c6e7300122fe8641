//! The users that Kubernetes makes at the brokers (k8s/components/strimzi/users.yaml), each with exactly its rights there, on
//! brokers that allow nothing else (S19): the programs do their work, and a person every command, as who they are there.
//! What nobody may have at the most, `make k8s-check` knows.

use std::process::Output;

use dev_env::{
    kafka::{
        Secure,
        admin::{self, Operation, Resource},
    },
    ports::Port,
    programs::{PARTITIONS, Programs, QUARANTINE, Running, TOPIC, create_topics, post},
    typed::Form,
};
use serde_json::Value;

use crate::{
    documented::{Filling, Line, Role, hooks, lines, write_named},
    harness::{OwnServers, SOON, Telex, wait_for},
    placement::said,
    quarantine::{Quarantine, item},
    roles::{in_roles, sqlstate},
    secure_kafka::{PASSWORD, authority, identity, settings_of},
    topic::{Writer, partition_of},
};

const MANIFEST: &str = include_str!("../../../k8s/components/strimzi/users.yaml");

const API: &str = "telex-ingest-api";
const PROCESSOR: &str = "telex-processor";
const OPERATOR: &str = "telex-operator";

/// What a user may do with a topic or a group.
struct Acl {
    user: String,
    is_group: bool,
    name: String,
    operations: Vec<Operation>,
}

impl Acl {
    fn resource(&self) -> Resource<'_> {
        if self.is_group { Resource::Group(&self.name) } else { Resource::Topic(&self.name) }
    }
}

/// Those of the manifest for programs of ours.
fn acls() -> Vec<Acl> {
    let users: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = Vec::new();
    for user in &users {
        let name = text(&user["metadata"]["name"]);
        if ![API, PROCESSOR, OPERATOR].contains(&name.as_str()) {
            continue;
        }
        for acl in user["spec"]["authorization"]["acls"].as_array().unwrap() {
            let is_group = match acl["resource"]["type"].as_str() {
                Some("topic") => false,
                Some("group") => true,
                other => panic!("{name}: rights on {other:?}"),
            };
            assert_eq!(acl["resource"].get("patternType"), None, "{name}: a right on many names");
            let operations = acl["operations"].as_array().unwrap().iter().map(operation).collect();
            found.push(Acl {
                user: name.clone(),
                is_group,
                name: text(&acl["resource"]["name"]),
                operations,
            });
        }
    }
    found
}

fn operation(name: &Value) -> Operation {
    match name.as_str() {
        Some("Read") => Operation::Read,
        Some("Write") => Operation::Write,
        Some("Alter") => Operation::Alter,
        Some("Describe") => Operation::Describe,
        Some("DescribeConfigs") => Operation::DescribeConfigs,
        other => panic!("nobody needs {other:?}"),
    }
}

const DESCRIPTION: &str = r#"
title = "A provider of the test"
body = "json"
items = "/list/*"
source = { from = ["/account"] }
phone = { from = ["/list/*/phone"], digits = true, plus = true }
id = { from = ["/list/*/id"] }
text = { from = ["/list/*/text"] }
signature = { scheme = "secret", at = "header:x-secret" }
"#;

/// What makes a message of an item without a phone.
const MENDED: &str = r#"
[[address]]
scheme = "id"
id = { from = ["/list/*/user"] }
"#;

const SECRET: &str = "a-secret-of-thirty-two-characters";

/// A message, and an item that goes to the quarantine.
const BODY: &str = r#"{"account": "a1", "list": [
    {"id": "m-1", "phone": "447700900123", "text": "first"},
    {"id": "m-2", "user": "u-7", "text": "second"}]}"#;

/// Strimzi's brokers with its topics, and a Telex of three roles beside them.
struct Site {
    servers: OwnServers,
    /// By the brokers' open door, for what a test does itself.
    telex: Telex,
    operator: Programs,
    processor: Programs,
    /// The options with which the ingest API, the processor and the operator come to the brokers.
    options: [String; 3],
}

impl Site {
    fn new() -> Self {
        let authority = authority();
        let users = [API, PROCESSOR, OPERATOR];
        let secure = Secure {
            identity_pem: identity(&authority, "127.0.0.1"),
            users: users.map(|user| (user.to_owned(), PASSWORD.to_owned())).to_vec(),
            is_open: false,
        };
        let (mut telex, servers) = Telex::with_own_kafka(Some(secure));
        create_topics(&servers.kafka).unwrap();
        telex.programs.topic = TOPIC.to_owned();
        let (telex, migrator) = in_roles(telex);
        let secured = |programs: &Programs| Programs {
            kafka: servers.kafka.secure_bootstrap().unwrap(),
            ..programs.clone()
        };
        let (operator, processor) = (secured(&migrator), secured(&telex.programs));
        let options = users.map(|user| settings_of(&telex, user, &authority, (user, PASSWORD)));
        let site = Self { servers, telex, operator, processor, options };
        site.describe(DESCRIPTION);
        let producers = format!(
            "[[producers]]\nname = \"test\"\nall_external_client_ids = true\n[[producers.hooks]]\n\
             name = \"provider\"\nfile = \"provider.toml\"\nsecrets = [{{ secret = \"{SECRET}\" }}]\n"
        );
        std::fs::write(site.telex.directory.join("producers.toml"), producers).unwrap();
        site
    }

    /// Describes the hook.
    fn describe(&self, text: &str) {
        std::fs::write(self.telex.directory.join("provider.toml"), text).unwrap();
    }

    /// Gives every right of the manifest that is wanted.
    fn grant(&self, is_wanted: impl Fn(&str, Operation) -> bool) {
        for acl in acls() {
            let is_wanted = |operation: &Operation| is_wanted(&acl.user, *operation);
            let wanted: Vec<Operation> = acl.operations.iter().copied().filter(is_wanted).collect();
            if !wanted.is_empty() {
                admin::allow(self.servers.kafka.address(), &acl.user, acl.resource(), &wanted).unwrap();
            }
        }
    }

    fn run_api(&self) -> Running {
        let producers = format!("--producers-file={}", self.telex.directory.join("producers.toml").display());
        let settings = [self.options[0].as_str(), &producers];
        let mut api = self.processor.ingest_api(&self.telex.directory, "api", Port::Free, &settings).unwrap();
        api.wait_until_ready().unwrap();
        api
    }

    /// In the group that it has by default.
    fn run_processor(&self, name: &str) -> Running {
        let settings = [self.options[1].as_str()];
        let mut processor = self.processor.processor(&self.telex.directory, name, &settings).unwrap();
        processor.wait_until_ready().unwrap();
        processor
    }

    fn operate(&self, arguments: &[&str]) -> Output {
        self.operator.run_processor(&[arguments, &[self.options[2].as_str()]].concat()).unwrap()
    }

    fn operate_hooks(&self, arguments: &[&str]) -> Output {
        let arguments = [arguments, &[self.options[2].as_str()]].concat();
        hooks(&self.operator, &self.telex.directory, QUARANTINE, &arguments)
    }

    /// What a command of the operator says that is done, to its end.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        done(arguments, self.operate(arguments))
    }

    fn as_migrator(&self, statement: &str) {
        assert_eq!(sqlstate(&self.telex.programs, "telex_migrator", statement), None, "{statement}");
    }

    /// Every line of the documents that only looks, as it is typed in Kubernetes.
    fn look(&self) {
        let filling = Filling::of(&self.telex);
        let shown = lines(|form| matches!(form, Form::Operate | Form::Pod));
        let is_wanted = |line: &Line| line.program == "processor" && !line.changes;
        let looks: Vec<_> = shown.into_iter().filter(|(line, _)| is_wanted(line)).collect();
        assert!(looks.len() > 15, "only {} are found: {looks:?}", looks.len());
        for (line, place) in looks {
            let filled = filling.fill(&line);
            let mut arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
            let output = if line.role == Role::Processor {
                arguments.push(&self.options[1]);
                self.processor.run_processor(&arguments).unwrap()
            } else {
                self.operate(&arguments)
            };
            done(&[place.as_str()], output);
        }
    }
}

/// What is said on both streams; nothing of it is about a right.
#[track_caller]
fn done(what: &[&str], output: Output) -> String {
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{what:?}: {said}");
    assert_allowed(&said);
    said
}

/// The client's words for a refusal, and ours for what goes on without a right.
#[track_caller]
fn assert_allowed(said: &str) {
    for refusal in ["authorization failed", "do not let this user", "cannot be told", "lacks"] {
        assert!(!said.contains(refusal), "{said}");
    }
}

/// Stops a program, in whose log is nothing about a right.
#[track_caller]
fn stop(mut running: Running) {
    running.stop().unwrap();
    assert_allowed(&running.server.log_text());
}

#[test]
fn the_rights_of_the_manifest_are_enough_for_each_program_and_for_an_operators_commands() {
    let site = Site::new();
    // All but one.
    site.grant(|user, operation| (user, operation) != (OPERATOR, Operation::Alter));
    let register = ["partitions", "register", "--count=12"];
    wait_for("the rights", SOON, || site.operate(&[&register[..], &["--dry-run"]].concat()).status.success());
    site.done(&[&register[..], &["--yes"]].concat());

    let (api, processor) = (site.run_api(), site.run_processor("processor"));
    let secret = format!("x-secret: {SECRET}\r\n");
    let answer = post(api.address.unwrap(), "/v1/hooks/provider", &secret, BODY).unwrap();
    assert_eq!(answer, (200, String::new()));
    let writer = Writer::new(&site.telex);
    write_named(&writer);
    writer.message_in((partition_of("client") + 1) % PARTITIONS, "client", "astray", "Hello");
    writer.flush();
    let quarantine = Quarantine::named(&site.telex, QUARANTINE.to_owned());
    quarantine.write(0, item("acme", "no_address", None, b"{}"));
    let wait = ["progress", "wait", "--timeout-seconds=60"];
    site.done(&wait);
    assert_eq!(site.telex.number("select count(*) from dead_letters"), 1);
    site.look();

    site.done(&["dead-letters", "replay", "--reason=wrong_partition", "--yes"]);
    site.describe(&format!("{DESCRIPTION}{MENDED}"));
    let replay = ["hooks", "replay", "--hook=provider", "--yes"];
    let replayed = done(&replay, site.operate_hooks(&replay));
    assert!(replayed.contains("1 messages are kept"), "{replayed}");
    site.done(&wait);
    // Of the hook, two; of each of three clients, three; and the one that went astray.
    assert_eq!(site.telex.messages(), 12);
    site.done(&["prove"]);
    stop(processor);
    stop(api);

    let grow = ["partitions", "grow", "--to=24"];
    let expected = format!("the user {OPERATOR} of Kafka lacks Alter on topic {TOPIC}; nothing was");
    for mode in ["--dry-run", "--yes"] {
        let output = site.operate(&[&grow[..], &[mode]].concat());
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.matches(&expected).count() == 1, "{mode}: {said}");
    }
    site.grant(|user, operation| (user, operation) == (OPERATOR, Operation::Alter));
    wait_for("the last right", SOON, || site.operate(&[&grow[..], &["--dry-run"]].concat()).status.success());
    site.done(&[&grow[..], &["--yes"]].concat());

    let partition = partition_of("client");
    let at = site.telex.next_offset(partition).to_string();
    let numbered = partition.to_string();
    let place = ["--partition", &numbered, "--from", &at, "--to", &at, "--yes"];
    site.done(&[&["progress", "set"][..], &place].concat());
    site.as_migrator(&format!(
        "insert into halts (topic_ref, partition, reason, numbers, detail, owner)
         values (1, {partition}, 'not_conserved', '{{}}', 'as the test says', 'test')"
    ));
    site.done(&[&["halts", "resume", "--reason-code=not_conserved"][..], &place].concat());
    site.done(&["dialog-rules", "set", "--idle-gap=24h", "--yes"]);
    site.done(&["partitions", "switch", "--to=24", "--yes"]);
    site.done(&["prove"]);
    site.done(&["prove", "--baseline", "--yes"]);

    // Whoever comes after a switch says it as well.
    let told = || said(&site.telex).iter().map(|word| word.partition_count.get()).collect::<Vec<_>>();
    assert_eq!(told(), [12, 24]);
    let processor = site.run_processor("after-the-switch");
    wait_for("the processor's word", SOON, || told() == [12, 24, 24]);
    stop(processor);
}
