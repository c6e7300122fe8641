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
use service_kit::admin;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    accept,
    admission::Admission,
    config::{Config, KafkaConfig, Limits},
    health::IngestHealth,
    metrics::Metrics,
    publish::KafkaPublisher,
    router::{Shared, router},
};

/// How often the topic is looked at; a question may take as long as [`METADATA_DEADLINE`].
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const METADATA_DEADLINE: Duration = Duration::from_secs(5);

/// An ingest API that has its ports.
pub struct Application {
    listener: TcpListener,
    admin: TcpListener,
    kafka: KafkaConfig,
    limits: Limits,
    shared: Arc<Shared<KafkaPublisher>>,
}

impl Application {
    /// Takes the ports and makes the producer.
    ///
    /// # Errors
    /// A port is taken, or librdkafka refuses a setting.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        tracing::info!(?config, "ingest-api starts");
        if config.insecure_development_mode {
            tracing::warn!("insecure development mode: messages are taken from anybody");
        }
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))
        };
        let metrics = Arc::new(Metrics::new()?);
        let shared = Shared {
            publisher: KafkaPublisher::new(&config.kafka, Arc::clone(&metrics))?,
            topic: config.kafka.topic.clone(),
            partition_count: config.kafka.partition_count,
            admission: Admission::new(&config.limits, &metrics),
            limits: config.limits.clone(),
            metrics,
            draining: AtomicBool::new(false),
        };
        Ok(Self {
            listener: bind(config.listen).await?,
            admin: bind(config.admin_listen).await?,
            kafka: config.kafka,
            limits: config.limits,
            shared: Arc::new(shared),
        })
    }

    /// Where producers send to.
    ///
    /// # Errors
    /// The socket does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the admin port listens.
    ///
    /// # Errors
    /// The socket does not say.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `shutdown` completes, then drains.
    ///
    /// # Errors
    /// The producer is dead: the process has to end.
    pub async fn run_until_stopped(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { listener, admin, kafka, limits, shared } = self;
        let health = Arc::new(IngestHealth::new(Arc::clone(&shared)));
        health.note(Some("the topic has not been seen yet".to_owned()));
        let admin = service_kit::spawn("admin", admin::serve(admin, Arc::clone(&health), std::future::pending()));
        let (stop, stopped) = oneshot::channel::<()>();
        let watcher = watch(&shared, &health, &kafka);
        let server = accept::serve(
            listener,
            router(Arc::clone(&shared)),
            limits.clone(),
            Arc::clone(&shared.metrics),
            // A dropped sender means the same.
            async { stopped.await.unwrap_or_default() },
        );
        let server = service_kit::spawn("server", server);
        let fatal = tokio::select! {
            () = shutdown => None,
            error = watcher => Some(error),
        };
        shared.draining.store(true, Ordering::Release);
        drop(stop);
        server.await.context("the server panicked")?;
        flush(shared).await;
        admin.abort();
        tracing::info!("stopped");
        match fatal {
            None => Ok(()),
            Some(error) => bail!("the kafka producer is dead: {error}"),
        }
    }
}

/// Records whose senders have gone are still on their way.
async fn flush(shared: Arc<Shared<KafkaPublisher>>) {
    let flushed = tokio::task::spawn_blocking(move || shared.publisher.flush(Duration::from_secs(2))).await;
    if !matches!(flushed, Ok(Ok(()))) {
        tracing::warn!("records were left in the queue; their senders got no answer 202");
    }
}

/// Looks at the topic and the producer; completes with the error after which the producer is dead.
async fn watch(shared: &Arc<Shared<KafkaPublisher>>, health: &IngestHealth, kafka: &KafkaConfig) -> String {
    loop {
        if let Some(error) = shared.publisher.fatal_error() {
            return error;
        }
        let asked = Arc::clone(shared);
        let partitions = tokio::task::spawn_blocking(move || asked.publisher.partitions(METADATA_DEADLINE)).await;
        let problem = match partitions {
            Ok(Ok(found)) if i32::try_from(found).is_ok_and(|found| found < kafka.partition_count.get()) => {
                Some(format!("the topic has {found} partitions, --partition-count is {}", kafka.partition_count))
            }
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(format!("the topic cannot be seen: {error}")),
            Err(_) => Some("the look at the topic panicked".to_owned()),
        };
        if health.note(problem.clone()) {
            match problem {
                Some(problem) => tracing::warn!(problem, "not ready"),
                None => tracing::info!("ready"),
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
