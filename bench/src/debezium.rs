//! Debezium's JDBC sink on Kafka Connect, tuned: two tasks, upserts through its reduction buffer, batches that
//! the driver rewrites into multi-row inserts, large fetches, its table made beforehand. It drains the same
//! topic into one table, at least once; no clients, no dialogs. Warm: only its later part is counted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use dev_env::{
    install,
    ports::Port,
    process::{Server, Spec, log_tail, require},
    workspace::Workspace,
};
use nix::sys::signal::Signal;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::lab::{Lab, Looks};

const DEADLINE: Duration = Duration::from_secs(300);
/// Counting the rows costs something: the rate is taken between two counts, however far apart.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Kafka Connect with the sink, under `.dev/`.
#[derive(Debug)]
pub struct Debezium {
    class_path: String,
}

impl Debezium {
    /// Fetches it with Maven, once, and compiles the converter.
    pub fn install(workspace: &Workspace) -> Result<Self> {
        let (source, target) = (workspace.root().join("bench/debezium"), workspace.dev().join("debezium"));
        let (libs, classes) = (target.join("libs"), target.join("classes"));
        let class_path = format!("{}:{}/*", classes.display(), libs.display());
        let stamp = target.join("installed");
        let wanted = fs::read_to_string(source.join("pom.xml")).context("bench/debezium/pom.xml")?;
        if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
            fs::remove_dir_all(&target).ok();
            fs::create_dir_all(&classes)?;
            let mut maven = Command::new("mvn");
            maven.args(["--quiet", "--batch-mode", "--file"]).arg(source.join("pom.xml"));
            maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
            maven.arg(format!("-DoutputDirectory={}", libs.display()));
            require(&mut maven, "Maven fetches Debezium's sink")?;
            fs::write(&stamp, wanted)?;
        }
        let mut javac = Command::new("javac");
        javac.arg("-cp").arg(&class_path).arg("-d").arg(&classes);
        javac.arg(source.join("telex/bench/MessageConverter.java"));
        require(&mut javac, "the converter takes a JDK, not only a JRE")?;
        Ok(Self { class_path })
    }

    /// Rows a second over the later half of `records`.
    pub fn rate(&self, lab: &Lab, topic: &str, records: u64, database: &str) -> Result<f64> {
        lab.database(database)?;
        let url = lab.database_url(database);
        let mut connection = lab.runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await?;
            connection.execute(TABLE).await?;
            anyhow::Ok(connection)
        })?;
        let mut connect = self.start(lab, topic, database)?;
        let (mut looks, end) = (Looks::default(), Instant::now() + DEADLINE);
        loop {
            let at = Instant::now();
            let count =
                sqlx::query_scalar::<_, i64>("select count(*) from messages").fetch_one(&mut connection);
            let rows = u64::try_from(lab.runtime.block_on(count)?)?;
            looks.add(at, rows);
            if rows >= records {
                break;
            }
            if at >= end || !connect.is_running() {
                bail!(
                    "Debezium's sink has not drained the topic: {rows} of {records}; {}",
                    log_tail(connect.log())
                );
            }
            thread::sleep(COUNT_EVERY.saturating_sub(at.elapsed()));
        }
        connect.kill();
        lab.runtime.block_on(connection.close())?;
        // The last look may have been made long after the end.
        looks.rate_before_last(records / 4).context("too few records to see a rate")
    }

    fn start(&self, lab: &Lab, topic: &str, database: &str) -> Result<Server> {
        let directory = lab.directory.join("connect");
        fs::create_dir_all(&directory)?;
        let (worker, sink) = (directory.join("worker.properties"), directory.join("sink.properties"));
        let offsets: PathBuf = directory.join(database);
        fs::write(&worker, worker_properties(&lab.kafka.bootstrap(), Port::Free.pick()?, &offsets))?;
        let address = lab.postgres.address();
        let url = format!("jdbc:postgresql://{address}/{database}");
        fs::write(&sink, sink_properties(topic, database, &url))?;
        let mut command = Command::new(install::java());
        command.args(["-Xms512m", "-Xmx1g", "-cp", &self.class_path]);
        command.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(worker).arg(sink);
        let directory = &lab.directory;
        Server::spawn(Spec { name: "connect", directory, command, stop_signal: Signal::SIGTERM })
    }
}

/// As the sink itself would make it.
const TABLE: &str = "create table messages (
    external_client_id text not null, client_phone text not null, external_message_id text not null,
    text text not null, sent_at text, primary key (external_client_id, client_phone, external_message_id))";

fn worker_properties(kafka: &str, rest_port: u16, offsets: &Path) -> String {
    format!(
        "bootstrap.servers={kafka}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=telex.bench.MessageConverter\n\
         offset.storage.file.filename={}\n\
         offset.flush.interval.ms=5000\n\
         listeners=http://127.0.0.1:{rest_port}\n\
         consumer.auto.offset.reset=earliest\n\
         consumer.max.poll.records=10000\n\
         consumer.fetch.min.bytes=1000000\n\
         consumer.fetch.max.wait.ms=50\n\
         consumer.max.partition.fetch.bytes=10485760\n",
        offsets.display()
    )
}

fn sink_properties(topic: &str, name: &str, url: &str) -> String {
    format!(
        "name={name}\n\
         connector.class=io.debezium.connector.jdbc.JdbcSinkConnector\n\
         tasks.max=2\n\
         topics={topic}\n\
         connection.url={url}?reWriteBatchedInserts=true\n\
         connection.username=telex\n\
         connection.password=\n\
         insert.mode=upsert\n\
         primary.key.mode=record_value\n\
         primary.key.fields=external_client_id,client_phone,external_message_id\n\
         schema.evolution=none\n\
         use.reduction.buffer=true\n\
         batch.size=2000\n\
         collection.name.format=messages\n"
    )
}
