//! A Telex of a test's own: topic, database, directory, programs. Dropping it kills what still runs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use dev_env::{
    install::Installation,
    kafka::{self, Kafka, Secure, admin},
    ports::Port,
    postgres::{self, DATABASE, Postgres},
    process::{Server, Spec},
    programs::{PARTITIONS, PLACEMENT_PARTITIONS, PLACEMENT_SETTINGS, Programs, Running, TOPIC_SETTINGS},
    workspace::Workspace,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The consumer group of each test is its topic's name; short, so that a dead member is soon missed.
const SESSION: &str = "--session-timeout-ms=6000";

/// However few messages a test sends, they are copied; `history` writes them in both ways.
const COPY: &str = "--copy-records-min=1";

/// Within this time a test expects what takes seconds.
pub const SOON: Duration = Duration::from_secs(60);

pub struct Telex {
    pub programs: Programs,
    pub directory: PathBuf,
    name: String,
    started: u32,
}

/// Servers that a test may take away.
pub struct OwnServers {
    pub kafka: Kafka,
    pub postgres: Postgres,
}

impl Telex {
    /// On the servers that all tests share.
    pub fn new() -> Self {
        let telex = Self::without_placement();
        telex.make_placement();
        telex
    }

    /// As an installation was before processors told ingest APIs anything: without the topic for it.
    pub fn without_placement() -> Self {
        let kafka = variable("TELEX_TEST_KAFKA");
        let database_url = variable("TELEX_TEST_DATABASE_URL");
        let name = format!("telex_test_{}", uuid::Uuid::from_u128(random()).simple());
        admin::create_topic(kafka.parse().unwrap(), &name, PARTITIONS, &TOPIC_SETTINGS).unwrap();
        execute(&database_url, &format!("create database {name}"));
        let (server, _) = database_url.rsplit_once('/').unwrap();
        Self::on(kafka, format!("{server}/{name}"), name)
    }

    /// On servers of its own.
    pub fn with_own_servers() -> (Self, OwnServers) {
        Self::with_own_kafka(None)
    }

    /// On servers of its own; the Kafka may have a second way in.
    pub fn with_own_kafka(secure: Option<Secure>) -> (Self, OwnServers) {
        let name = format!("telex_test_{}", uuid::Uuid::from_u128(random()).simple());
        let workspace = Workspace::find().unwrap();
        let installation = Installation::ensure(&workspace, &|_| {}).unwrap();
        let directory = directory(&name);
        let kafka = kafka::Options { secure, ..kafka::Options::on_free_ports(&directory) };
        let kafka = Kafka::start(&installation, kafka).unwrap();
        let postgres = Postgres::start(&installation, postgres::Options::on_free_port(&directory)).unwrap();
        kafka.create_topic(&name, PARTITIONS, &TOPIC_SETTINGS).unwrap();
        let telex = Self::on(kafka.bootstrap(), postgres.database_url(DATABASE), name);
        telex.make_placement();
        (telex, OwnServers { kafka, postgres })
    }

    fn on(kafka: String, database_url: String, name: String) -> Self {
        let binaries = PathBuf::from(variable("TELEX_BIN_DIR"));
        let programs = Programs { binaries, kafka, database_url, topic: name.clone() };
        programs.require_processor(&["migrate"]).unwrap();
        Self { programs, directory: directory(&name), name, started: 0 }
    }

    /// Makes the topic in which processors tell ingest APIs over how many partitions keys are spread.
    pub fn make_placement(&self) {
        let topic = schemas::placement::topic_of(&self.programs.topic);
        let broker = self.programs.kafka.parse().unwrap();
        admin::create_topic(broker, &topic, PLACEMENT_PARTITIONS, &PLACEMENT_SETTINGS).unwrap();
    }

    pub fn ingest_api(&mut self) -> Running {
        let mut api = self.ingest_api_on(Port::Free, &[]);
        api.wait_until_ready().unwrap();
        api
    }

    /// With an ingest API that is ready.
    pub fn with_api() -> (Self, Running) {
        let mut telex = Self::new();
        let api = telex.ingest_api();
        (telex, api)
    }

    /// The same and a processor that was started.
    pub fn at_work() -> (Self, Running, Running) {
        let (mut telex, api) = Self::with_api();
        let processor = telex.processor();
        (telex, api, processor)
    }

    /// Applies what the topic holds, with a processor that is stopped afterwards.
    #[track_caller]
    pub fn applied(&mut self) {
        let mut processor = self.processor();
        self.assert_clean();
        processor.stop().unwrap();
    }

    /// With a port or settings of its own; it is not waited for.
    pub fn ingest_api_on(&mut self, port: Port, more: &[&str]) -> Running {
        self.started += 1;
        let name = format!("ingest-api-{}", self.started);
        self.programs.ingest_api(&self.directory, &name, port, more).unwrap()
    }

    /// Starts a processor; it is not waited for.
    pub fn processor(&mut self) -> Running {
        self.processor_with(&[])
    }

    /// Starts a processor and waits for it.
    pub fn ready_processor(&mut self) -> Running {
        let mut processor = self.processor();
        processor.wait_until_ready().unwrap();
        processor
    }

    /// As [`Self::processor`], with more settings.
    pub fn processor_with(&mut self, more: &[&str]) -> Running {
        let programs = self.programs.clone();
        self.start_processor(&programs, more)
    }

    /// The same with other addresses.
    pub fn processor_of(&mut self, programs: &Programs) -> Running {
        self.start_processor(programs, &[])
    }

    fn start_processor(&mut self, programs: &Programs, more: &[&str]) -> Running {
        self.started += 1;
        let (name, group) = (format!("processor-{}", self.started), format!("--group={}", self.name));
        programs
            .processor(&self.directory, &name, &[&[group.as_str(), SESSION, COPY][..], more].concat())
            .unwrap()
    }

    /// The consumer group of this test's processors.
    pub fn group(&self) -> &str {
        &self.name
    }

    /// What a command says that must succeed.
    #[track_caller]
    pub fn say(&self, arguments: &[&str]) -> String {
        let output = self.programs.run_processor(arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// What a command says on both streams that must fail.
    #[track_caller]
    pub fn refuse(&self, arguments: &[&str]) -> String {
        let output = self.programs.run_processor(arguments).unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A load generator at work.
    pub fn load(&mut self, api: &Running, messages: u32, rate: u32) -> Server {
        self.started += 1;
        let mut command = Command::new(self.programs.binaries.join("loadtest"));
        command.arg("run").arg(format!("--url=http://{}", api.address.unwrap()));
        command.args([
            format!("--messages={messages}"),
            format!("--rate={rate}"),
            format!("--seed={}", self.started),
        ]);
        let name = format!("loadtest-{}", self.started);
        let spec = Spec { name: &name, directory: &self.directory, command, stop_signal: Signal::SIGINT };
        Server::spawn(spec).unwrap()
    }

    /// Waits until everything in the topic is applied.
    pub fn wait_until_applied(&self) {
        self.programs.require_processor(&["progress", "wait", "--timeout-seconds=90"]).unwrap();
    }

    /// The report of `processor prove`.
    pub fn prove(&self) -> Value {
        self.prove_with(&[])
    }

    /// The same with more settings.
    pub fn prove_with(&self, more: &[&str]) -> Value {
        let output = self.programs.run_processor(&[&["prove", "--json"][..], more].concat()).unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.success(), report["verdict"] == "clean");
        report
    }

    /// Everything is applied, and rightly: so says a full proof, and before it one that goes on from the last,
    /// if there is one.
    #[track_caller]
    pub fn assert_clean(&self) -> Value {
        self.wait_until_applied();
        let since_last = self.prove_with(&["--since-last"]);
        assert_ne!(since_last["verdict"], "differs", "{since_last:#}");
        let report = self.prove();
        assert_eq!(report["verdict"], "clean", "{report:#}");
        report
    }

    /// Runs a statement in a transaction that stays open until the answer is dropped.
    pub fn hold(&self, statement: &str) -> Held {
        let url = self.programs.database_url.clone();
        let statement = statement.to_owned();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (done, held) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            block_on(async {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(format!("begin; {statement}")))
                    .execute(&mut connection)
                    .await
                    .unwrap();
                done.send(()).unwrap();
                // Whoever holds it has dropped it.
                released.recv().ok();
                sqlx::raw_sql("rollback").execute(&mut connection).await.unwrap();
            });
        });
        held.recv().unwrap();
        Held { release: Some(release), thread: Some(thread) }
    }

    pub fn execute(&self, statements: &str) {
        execute(&self.programs.database_url, statements);
    }
}

/// A transaction that stays open. Dropping it ends it.
pub struct Held {
    release: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Telex {
    fn drop(&mut self) {
        // A failed test leaves its logs to be read.
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// The value of a metric; `None` without such a series. `series` is the name with its labels.
pub fn metric(running: &Running, series: &str) -> Option<i64> {
    let metrics = running.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// Whether the processor is ready, or why not.
pub fn readiness(running: &Running) -> (u16, String) {
    dev_env::programs::get(running.admin, "/readyz").unwrap_or_default()
}

/// A message as a producer sends it.
pub fn message(client: &str, id: &str, text: &str) -> Value {
    json!({
        "external_client_id": client,
        "client_phone": "+7 (000) 000-00-00",
        "external_message_id": id,
        "text": text,
    })
}

/// Posts a message; the answer's status and body. Status 0: no answer.
pub fn post(api: SocketAddr, message: &Value) -> (u16, Value) {
    exchange(api, ("/v1/messages", ""), message).unwrap_or((0, Value::Null))
}

/// Closes a client's dialog; the command must be kept.
#[track_caller]
pub fn close_dialog(api: &Running, client_id: &Value) -> Value {
    let path = format!("/v1/clients/{}/dialog/close", client_id.as_str().unwrap());
    let (status, body) = exchange(api.address.unwrap(), (&path, ""), &json!({})).unwrap();
    assert_eq!(status, 202, "{body}");
    body
}

/// Posts a message that must be kept.
#[track_caller]
pub fn keep(api: &Running, message: &Value) -> Value {
    let (status, body) = post(api.address.unwrap(), message);
    assert_eq!(status, 202, "{body}");
    body
}

/// Posts a message of a trace that must be kept.
#[track_caller]
pub fn keep_traced(api: &Running, message: &Value, trace_parent: &str) -> Value {
    let headers = format!("traceparent: {trace_parent}\r\n");
    let (status, body) = exchange(api.address.unwrap(), ("/v1/messages", &headers), message).unwrap();
    assert_eq!(status, 202, "{body}");
    body
}

fn exchange(api: SocketAddr, (path, headers): (&str, &str), body: &Value) -> Option<(u16, Value)> {
    let headers = format!("content-type: application/json\r\n{headers}");
    let (status, answer) = dev_env::programs::post(api, path, &headers, body.to_string())?;
    Some((status, serde_json::from_str(&answer).ok()?))
}

#[track_caller]
pub fn wait_for(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn execute(url: &str, statements: &str) {
    block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    });
}

fn directory(name: &str) -> PathBuf {
    let directory = Workspace::find().unwrap().dev().join("it").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[expect(clippy::disallowed_methods, reason = "the test's configuration")]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by `make test`"))
}

fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(Instant::now()));
    (half() << 64) | half()
}
