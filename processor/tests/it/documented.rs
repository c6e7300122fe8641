//! Every command line of `processor` and of `ingest-api hooks` that a document shows, run with the role of PostgreSQL that it
//! has where it is typed ([`kafka_users`](crate::kafka_users) has the rights at the brokers). What changes something does its
//! dry run; what looks, looks. A line that no test can run stands in [`NOT_RUN`] with its reason, and one that stands
//! nowhere fails here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use dev_env::{
    markdown,
    programs::{PARTITIONS, Programs},
    typed::{Form, Typed, typed},
    workspace::Workspace,
};

use crate::{
    harness::Telex,
    quarantine::{Quarantine, item},
    rights::Ground,
    topic::{self, Writer, partition_of},
};

/// Why a line is not run that a document needs to speak of a command.
const NAMED: &str = "names a command, which takes arguments";
/// What is not run, and why. Each is shown somewhere.
const NOT_RUN: [(&str, &str); 19] = [
    ("ingest-api hooks check", NAMED),
    ("ingest-api hooks replay", NAMED),
    ("processor dead-letters replay", NAMED),
    ("processor dead-letters show", NAMED),
    ("processor dialog-rules set", NAMED),
    ("processor dialogs show", NAMED),
    ("processor halts resume", NAMED),
    ("processor partitions grow", NAMED),
    ("processor partitions register", NAMED),
    ("processor partitions switch", NAMED),
    ("processor progress set", NAMED),
    ("processor quarantine", NAMED),
    ("processor quarantine list --since", NAMED),
    ("processor quarantine show", NAMED),
    ("processor health", "asks a processor in its own container: .ci/try-compose has one"),
    ("processor run", "goes on until it is told to stop: most tests here have one"),
    ("processor tail", "waits for what comes next: with --no-follow it is run"),
    (
        "ingest-api --producers-file producers.toml --kafka-brokers 127.0.0.1:9092 --partition-count 12 \
         --listen 127.0.0.1:8090 --admin-listen 127.0.0.1:9191",
        "serves until it is told to stop, on ports of the reader's machine: ingest-api/tests/it/webhooks.rs has one",
    ),
    (
        "ingest-api --producers-file examples/producers.toml --kafka-brokers 127.0.0.1:9092 --partition-count 12 \
         --listen 127.0.0.1:8090 --admin-listen 127.0.0.1:9191",
        "the same: ingest-api/tests/it/examples.rs has one",
    ),
];

/// The hook of the lines about one.
const HOOK: &str = "acme";

/// Whose rights a command line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `telex_migrator`, and `telex-operator` at the brokers of Kubernetes.
    Operator,
    /// `telex_processor` and `telex-processor`.
    Processor,
    /// No role: the ingest API's container in compose.
    Api,
}

/// A command line, without the word that confirms it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub role: Role,
    pub program: &'static str,
    /// Whether it confirms something.
    pub changes: bool,
    pub arguments: Vec<String>,
}

impl Line {
    fn of(Typed { form, program, arguments, .. }: Typed, place: &str) -> Self {
        let confirms = |word: &String| matches!(word.as_str(), "--yes" | "--dry-run");
        let changes = arguments.iter().any(confirms);
        let role = match form {
            Form::Operate | Form::ComposeOperator => Role::Operator,
            Form::Pod | Form::ComposeProcessor => Role::Processor,
            Form::ComposeApi => Role::Api,
            // Nothing says as whom: as whoever may.
            Form::Anywhere if changes || arguments[0] == "migrate" => Role::Operator,
            Form::Anywhere => Role::Processor,
            Form::Unknown => {
                panic!("{place} enters a container in another way than the other command lines do")
            }
        };
        let arguments = arguments.into_iter().filter(|word| !confirms(word)).collect();
        Self { role, program, changes, arguments }
    }

    fn text(&self) -> String {
        format!("{} {}", self.program, self.arguments.join(" "))
    }

    fn begins(&self, words: &[&str]) -> bool {
        self.arguments.len() >= words.len()
            && self.arguments.iter().zip(words).all(|(word, begin)| word == begin)
    }

    /// What follows a flag.
    fn after(&self, flag: &str) -> Option<&str> {
        let at = self.arguments.iter().position(|word| word == flag)?;
        self.arguments.get(at + 1).map(String::as_str)
    }
}

/// The lines that begin in these ways, each with the first place where it is shown.
pub fn lines(begins: impl Fn(Form) -> bool) -> BTreeMap<Line, String> {
    let root = Workspace::find().unwrap().root().to_owned();
    let mut found = BTreeMap::new();
    for document in markdown::documents(&root).unwrap() {
        let text = std::fs::read_to_string(root.join(&document)).unwrap();
        for shown in typed(&text) {
            // A load generator has no rights anywhere.
            if shown.program != "loadtest" && begins(shown.form) {
                let place = format!("{document}:{}", shown.line);
                found.entry(Line::of(shown, &place)).or_insert(place);
            }
        }
    }
    found
}

/// What documents put in the place of numbers, ids and files, as a Telex has it.
pub struct Filling {
    partition: i32,
    next_offset: i64,
    letter: String,
    topic_id: String,
    directory: PathBuf,
}

impl Filling {
    /// Of a Telex with [`write_named`], all applied, with a dead letter and an item at 0/0 of the quarantine.
    pub fn of(telex: &Telex) -> Self {
        let partition = partition_of("client");
        Self {
            partition,
            next_offset: telex.next_offset(partition),
            letter: telex.text("select partition || '/' || record_offset from dead_letters limit 1"),
            topic_id: String::new(),
            directory: telex.directory.clone(),
        }
    }

    /// The arguments of a line.
    pub fn fill(&self, line: &Line) -> Vec<String> {
        let of_quarantine = line.begins(&["quarantine"]);
        let path = |name: &str| self.directory.join(name).display().to_string();
        let filled = |word: &String| match word.as_str() {
            "P" | "PARTITION" | "OFFSET" if of_quarantine => "0".to_owned(),
            "P" => self.partition.to_string(),
            "NEXT_OFFSET" | "OFFSET" | "LOG_END_OF_THE_HALT" => self.next_offset.to_string(),
            "LOG_START" => "0".to_owned(),
            "P/OFFSET" => self.letter.clone(),
            "N" => (2 * PARTITIONS).to_string(),
            "NEW_ID" => self.topic_id.clone(),
            "REASON" => "wrong_partition".to_owned(),
            "NAME" => HOOK.to_owned(),
            "SOURCE" => "client".to_owned(),
            "COMMAND" => "check".to_owned(),
            "FILE" | "acme.toml" => path("acme.toml"),
            "acme.json" | "document.json" | "sample.json" => path("acme.json"),
            "copy.dsn" => path("copy.dsn"),
            _ => word.clone(),
        };
        line.arguments.iter().map(filled).collect()
    }
}

/// Messages of the clients that lines name.
pub fn write_named(writer: &Writer) {
    for client in ["client", "client00000000000000000000000000", "tg"] {
        writer.messages(client, 0..3);
    }
}

/// Runs a command about hooks, with what its container sets.
pub fn hooks(programs: &Programs, directory: &Path, quarantine: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(programs.binaries.join("ingest-api"));
    command.current_dir(Workspace::find().unwrap().root()).args(arguments);
    command
        .env("INGEST_PRODUCERS_FILE", directory.join("producers.toml"))
        .env("INGEST_KAFKA_BROKERS", &programs.kafka)
        .env("INGEST_TOPIC", &programs.topic)
        .env("INGEST_QUARANTINE_TOPIC", quarantine)
        .env("INGEST_PARTITION_COUNT", PARTITIONS.to_string());
    command.output().unwrap()
}

/// The files that lines name: the hook and the sample of docs/hooks.md, and the address of a copy.
fn lay_down(telex: &Telex) {
    let page = std::fs::read_to_string(Workspace::find().unwrap().root().join("docs/hooks.md")).unwrap();
    let block = |begins: &str| {
        let (_, rest) = page.split_once(begins).unwrap();
        format!("{begins}{}", rest.split_once("```").unwrap().0)
    };
    let producers = format!(
        "[[producers]]\nname = \"test\"\nall_external_client_ids = true\n[[producers.hooks]]\nname = \"{HOOK}\"\n\
         file = \"acme.toml\"\nsecrets = [{{ secret = \"a-secret-of-thirty-two-characters\" }}]\n"
    );
    for (name, text) in [
        ("acme.toml", block("title = \"Acme\"")),
        ("acme.json", block("{ \"account\": \"a1\"")),
        ("producers.toml", producers),
        ("copy.dsn", telex.programs.database_url.clone()),
    ] {
        std::fs::write(telex.directory.join(name), text).unwrap();
    }
}

/// Where the lines are typed.
struct Desk {
    ground: Ground,
    quarantine: Quarantine,
    filling: Filling,
}

impl Desk {
    /// Runs those lines that are wanted now, and takes them out.
    fn run(&self, lines: &mut BTreeMap<Line, String>, is_wanted: impl Fn(&Line) -> bool) {
        for (line, place) in lines.extract_if(.., |line, _| is_wanted(line)) {
            let halted = line.after("--reason-code").filter(|_| line.after("--topic-id").is_none());
            if let Some(reason) = halted {
                self.ground.halt(self.filling.partition, reason);
            }
            let before = line.changes.then(|| self.ground.state());
            let output = self.type_in(&line);
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "{place}: {line:?}: {said}");
            assert_eq!(line.changes.then(|| self.ground.state()), before, "{place}: {line:?}");
            if halted.is_some() {
                self.ground.as_migrator("delete from halts");
            }
        }
    }

    fn type_in(&self, line: &Line) -> Output {
        let filled = self.filling.fill(line);
        let mut arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
        if line.changes {
            arguments.push("--dry-run");
        }
        // As the container sets it.
        if line.begins(&["quarantine"]) {
            arguments.extend(["--quarantine-topic", &self.quarantine.topic]);
        }
        let telex = &self.ground.telex;
        match (line.program, line.role) {
            ("processor", Role::Operator) => self.ground.migrator.run_processor(&arguments).unwrap(),
            ("processor", _) => telex.programs.run_processor(&arguments).unwrap(),
            _ => hooks(&telex.programs, &telex.directory, &self.quarantine.topic, &arguments),
        }
    }
}

/// Leaves out what is not run; each of that must be shown somewhere.
fn without_not_run(mut lines: BTreeMap<Line, String>) -> BTreeMap<Line, String> {
    for (text, reason) in NOT_RUN {
        let before = lines.len();
        lines.retain(|line, _| line.text() != text);
        assert_ne!(lines.len(), before, "{text} is shown nowhere any more ({reason})");
    }
    lines
}

#[test]
fn every_command_line_of_the_documents_runs_with_the_role_it_has_there() {
    let ground = Ground::new();
    let mut lines = without_not_run(lines(|_| true));
    assert!(lines.len() > 65, "only {} are found: {lines:?}", lines.len());
    lay_down(&ground.telex);
    write_named(&Writer::new(&ground.telex));
    let quarantine = Quarantine::of(&ground.telex);
    quarantine.write(0, item(HOOK, "no_address", None, b"{}"));

    // In an empty database, before the first processor.
    let filling = Filling {
        partition: 0,
        next_offset: 0,
        letter: String::new(),
        topic_id: String::new(),
        directory: ground.telex.directory.clone(),
    };
    let mut desk = Desk { ground, quarantine, filling };
    desk.run(&mut lines, |line| line.begins(&["partitions", "register"]));

    desk.ground.fill();
    desk.filling = Filling::of(&desk.ground.telex);
    let is_later = |line: &Line| line.begins(&["partitions", "switch"]) || line.after("--topic-id").is_some();
    desk.run(&mut lines, |line| !is_later(line));

    let grow = ["partitions", "grow", "--to=24", "--yes"];
    desk.ground.migrator.require_processor(&grow).unwrap();
    desk.run(&mut lines, |line| line.begins(&["partitions", "switch"]));

    topic::recreate(&desk.ground.telex);
    desk.filling.topic_id = desk.ground.id_of_another_topic();
    desk.run(&mut lines, |line| line.after("--reason-code") == Some("topic_recreated"));
    desk.ground.as_migrator("update topics set cluster_id = 'another'");
    desk.run(&mut lines, |line| line.after("--reason-code") == Some("other_cluster"));
    assert!(lines.is_empty(), "nothing runs {lines:?}");
}
