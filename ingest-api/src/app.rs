//! The ingest API, put together.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use service_kit::{Problems, admin, spans::Spans};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::{
    accept,
    access_log::AccessLog,
    admission::Admission,
    config::{Config, KafkaConfig},
    files::{self, Refresh, Reloaded},
    health::IngestHealth,
    lingering::LINGERING_MAX,
    metrics::Metrics,
    producers::ProducersFile,
    publish::KafkaPublisher,
    router::{messages_accepted, router},
    shards::Shards,
    state::Shared,
    tls::Certificates,
    watch::watch,
};

/// Files besides connections: those to Kafka and the admin port's, files in the proper sense, and connections that
/// are refused.
const OTHER_FILES: u64 = 256 + LINGERING_MAX as u64;
/// A runtime's own: what it polls, and what wakes it.
const FILES_OF_A_SHARD: u64 = 4;

/// How long, after the drain, the last records may take to leave.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// An ingest API that has its ports.
pub struct Application {
    listener: TcpListener,
    kafka: KafkaConfig,
    certificates: Option<Arc<Certificates>>,
    shards: Arc<Shards>,
    shared: Arc<Shared<KafkaPublisher>>,
    health: Arc<IngestHealth>,
    /// Answers on the admin port.
    admin: JoinHandle<std::io::Result<()>>,
    /// Looks whether files have changed.
    files: JoinHandle<()>,
}

impl Application {
    /// Takes the ports, makes the producer and starts the shards.
    ///
    /// # Errors
    /// [`Problems`] of the settings; a port is taken, librdkafka refuses a setting, or there is no thread to be had.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new()?);
        let FromFiles { producers, certificates } = FromFiles::read(&config, &metrics)?;
        tracing::info!(?config, "ingest-api starts");
        let shards = config.shards();
        raise_file_limit(config.limits.connections_max, shards);
        if config.insecure_development_mode {
            tracing::warn!("insecure development mode: messages are accepted from anyone");
        }
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let shared = Shared {
            publisher: KafkaPublisher::new(&config.kafka, shards, Arc::clone(&metrics))?,
            topic: config.kafka.topic.clone(),
            public_url: config.public_url.clone(),
            partition_count: config.kafka.partition_count,
            producers,
            admission: Admission::new(&config.limits, &metrics),
            limits: config.limits,
            access_log: AccessLog::new(config.access_log, Arc::clone(&metrics)),
            messages_accepted: messages_accepted(&metrics),
            metrics,
            spans: Spans::start(&config.spans, "ingest-api")?,
            draining: AtomicBool::new(false),
        };
        let (listener, admin) = (bind(config.listen).await?, bind(config.admin_listen).await?);
        let shards = Arc::new(Shards::start(shards, config.coalesce).context("cannot start a shard")?);
        let shared = Arc::new(shared);
        let health = Arc::new(IngestHealth::new(Arc::clone(&shared)));
        let admin = admin::serve(admin, Arc::clone(&health), std::future::pending());
        let files = files::watch(refreshed(&shared, certificates.as_ref()));
        Ok(Self {
            listener,
            kafka: config.kafka,
            certificates,
            shards,
            shared,
            health,
            admin: service_kit::spawn("admin", admin),
            files: service_kit::spawn("files", files),
        })
    }

    /// Address that producers send webhooks to.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes, then drains.
    ///
    /// # Errors
    /// The producer is dead, keys are spread over another number of partitions, or what has no end has ended: the process
    /// has to end, too.
    pub async fn run_until_stopped(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { listener, kafka, certificates, shards, shared, health, mut admin, mut files } = self;
        let mut attendants = shards.on_each(|shard| {
            let shared = Arc::clone(&shared);
            async move { shared.publisher.attend(shard).await }
        });
        let (mut stop, stopped) = oneshot::channel::<()>();
        let watcher = watch(&shared, &health, &kafka);
        let server = accept::Server {
            router: router(Arc::clone(&shared)),
            certificates,
            limits: shared.limits.clone(),
            metrics: Arc::clone(&shared.metrics),
        };
        let connections = TaskTracker::new();
        // A dropped sender means the same.
        let stopped = async { stopped.await.unwrap_or_default() };
        let server = server.run(listener, Arc::clone(&shards), connections.clone(), stopped);
        let server = service_kit::spawn("server", server);
        let fatal = tokio::select! {
            () = shutdown => None,
            error = watcher => Some(error),
            // They have no end: without one, nobody on its shard would get a delivery report.
            _ended = attendants.join_next() => Some("a shard is not attended any more".to_owned()),
            // The server has what this closes, and has ended without being asked to.
            () = stop.closed() => Some("connections are not accepted any more".to_owned()),
            // Certificates and secrets would grow old.
            _ended = &mut files => Some("files are not watched any more".to_owned()),
            // Nobody could ask how the process is.
            _ended = &mut admin => Some("the admin port is not served any more".to_owned()),
        };
        shared.draining.store(true, Ordering::Release);
        drop(stop);
        let served = server.await;
        // Also after a panic of the server: what it has accepted is answered.
        accept::drain(&connections, shared.limits.drain_deadline).await;
        flush(shared).await;
        // Not before: who is answered late is answered as long as records are still on their way.
        shards.end();
        files.abort();
        admin.abort();
        tracing::info!("stopped");
        served.context("the server panicked")?;
        match fatal {
            None => Ok(()),
            Some(error) => bail!(error),
        }
    }
}

/// What is made of files.
struct FromFiles {
    producers: Option<Arc<Reloaded<ProducersFile>>>,
    certificates: Option<Arc<Certificates>>,
}

impl FromFiles {
    /// Everything that is wrong with the settings and with the files that they name is reported at once.
    fn read(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, Problems> {
        let mut problems = config.problems();
        let producers = config.producers_file.clone().map(|path| {
            let file = ProducersFile::new(path, config.public_url.is_some(), Arc::clone(metrics));
            Reloaded::new(file, metrics.ingest_producers_reloads_total.clone()).map(Arc::new)
        });
        let certificates = config
            .tls
            .files()
            .map(|files| Reloaded::new(files, metrics.ingest_tls_reloads_total.clone()).map(Arc::new));
        let producers = producers.transpose().map_err(|more| problems.0.extend(more.0));
        let certificates = certificates.transpose().map_err(|more| problems.0.extend(more.0));
        match (producers, certificates) {
            (Ok(producers), Ok(certificates)) => problems.or(Self { producers, certificates }),
            _ => Err(problems),
        }
    }
}

/// A connection is a file, and many systems allow 1024 of them until a process asks for more.
fn raise_file_limit(connections_max: u32, shards: u8) {
    let needed = u64::from(connections_max) + FILES_OF_A_SHARD * u64::from(shards) + OTHER_FILES;
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let limit = needed.min(hard).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).map(|()| limit)
    });
    match limit {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => tracing::warn!(limit, needed, "--connections-max is above the limit of open files"),
        Err(error) => tracing::warn!(%error, needed, "the limit of open files is not known"),
    }
}

/// What is read again when its files change.
fn refreshed(
    shared: &Shared<KafkaPublisher>,
    certificates: Option<&Arc<Certificates>>,
) -> Vec<Arc<dyn Refresh>> {
    let producers = shared.producers.iter().map(|it| Arc::clone(it) as Arc<dyn Refresh>);
    producers.chain(certificates.map(|it| Arc::clone(it) as Arc<dyn Refresh>)).collect()
}

/// Records whose senders have gone are still on their way.
async fn flush(shared: Arc<Shared<KafkaPublisher>>) {
    let flushed = tokio::task::spawn_blocking(move || {
        let flushed = shared.publisher.flush(FLUSH_DEADLINE);
        shared.spans.stop();
        flushed
    })
    .await;
    if !matches!(flushed, Ok(Ok(()))) {
        tracing::warn!("records were left in the queue, their producers got no 202");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use clap::Parser as _;
    use rstest::rstest;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::{sleep, timeout},
    };

    use super::*;

    /// A request that is asked for its body before it is refused: nothing of it needs a Kafka.
    const HEAD: &[u8] = b"POST /v1/messages HTTP/1.1\r\nhost: telex\r\ncontent-type: application/json\r\n\
        expect: 100-continue\r\ncontent-length: 1\r\n\r\n";
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

    /// With one shard, and brokers that are not there.
    async fn application() -> Application {
        let config = Config::parse_from([
            "ingest-api",
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            "--kafka-brokers=127.0.0.1:1",
            "--partition-count=12",
            "--insecure-development-mode",
            "--shards=1",
        ]);
        Application::build(config).await.unwrap()
    }

    async fn break_down<T>() -> T {
        panic!("a test says so")
    }

    #[rstest]
    #[case::files(
        |application: &mut Application| application.files = service_kit::spawn("files", break_down()),
        "files are not watched any more"
    )]
    #[case::admin(
        |application: &mut Application| application.admin = service_kit::spawn("admin", break_down()),
        "the admin port is not served any more"
    )]
    #[tokio::test]
    async fn a_panic_of_what_has_no_end_ends_the_process_with_an_error(
        #[case] plant: fn(&mut Application),
        #[case] error: &str,
    ) {
        let mut application = application().await;
        plant(&mut application);
        let ended = timeout(Duration::from_secs(20), application.run_until_stopped(pending())).await;
        assert_eq!(ended.unwrap().unwrap_err().to_string(), error);
    }

    #[tokio::test]
    async fn a_panic_of_the_accept_loop_ends_the_process_with_an_error_once_open_requests_are_answered() {
        let application = application().await;
        let (address, shards) = (application.local_addr().unwrap(), Arc::clone(&application.shards));
        let request = async move {
            let mut open = TcpStream::connect(address).await.unwrap();
            open.write_all(HEAD).await.unwrap();
            let mut is_read = [0; CONTINUE.len()];
            open.read_exact(&mut is_read).await.unwrap();
            assert_eq!(is_read, CONTINUE);
            shards.break_down();
            drop(shards);
            while TcpStream::connect(address).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            // Longer than a stop takes that waits for nobody.
            sleep(Duration::from_millis(500)).await;
            open.write_all(b"{").await.unwrap();
            let mut answer = String::new();
            open.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let running = application.run_until_stopped(pending());
        let both = async { tokio::join!(running, request) };
        let (ended, answer) = timeout(Duration::from_secs(20), both).await.unwrap();
        assert_eq!(ended.unwrap_err().to_string(), "the server panicked");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}
