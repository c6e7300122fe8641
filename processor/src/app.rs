//! `processor run`, put together: asks the topic and the tables whether they are what they should be,
//! then starts the poll thread, the lanes and the supervisor.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rdkafka::consumer::Consumer as _;
use service_kit::{admin, retry::Backoff};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    consume::{
        attempt::Tools,
        authorities,
        lane::{AttemptClock, Lane, LaneConfig},
        placement::Keeper,
        proved,
        rounds::AuditConfig,
        supervisor::{End, LaneHandle, PollerHandle, Supervisor},
        takeover::Taker,
        watchdog::{Watchdog, WatchdogConfig},
    },
    kafka::{
        client::{self, ConsumerConfig, KafkaConfig},
        context::Context,
        placement::Announcer,
        poller::{CHUNKS_MAX, Poller},
        topic::{InspectError, Inspector},
    },
    metrics::Metrics,
    status::Instruments,
    store::{
        Database, StoreError, migrations,
        registry::{self, RegisteredTopic, Registration},
        schema,
    },
};

/// What a processor needs to know.
pub struct Config {
    pub kafka: KafkaConfig,
    pub consumer: ConsumerConfig,
    pub database: Database,
    /// How safe the topic has to be, and how often that is looked at.
    pub audit: AuditConfig,
    /// When a partition that does not advance is reported, and what is tried then.
    pub watchdog: WatchdogConfig,
    pub lanes: usize,
    /// How each lane works.
    pub lane: LaneConfig,
}

pub struct Application {
    config: Config,
    listener: TcpListener,
    instruments: Instruments,
}

impl Application {
    /// Takes the admin port.
    pub async fn build(config: Config, admin_listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(admin_listen)
            .await
            .with_context(|| format!("cannot listen on --admin-listen {admin_listen}"))?;
        let instruments = Instruments { metrics: Arc::new(Metrics::new()?), status: Arc::default() };
        Ok(Self { config, listener, instruments })
    }

    /// Where the admin port listens.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Works until `shutdown` completes or a part of it fails.
    pub async fn run_until_stopped(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { config, listener, instruments } = self;
        let health = Arc::new(instruments.clone());
        let admin = service_kit::spawn("admin", admin::serve(listener, health, std::future::pending()));
        let inspector = Arc::new(Inspector::new(&config.kafka)?);
        let announcer = Arc::new(Announcer::new(&config.kafka));
        let metrics = Arc::clone(&instruments.metrics);
        let (kafka, postgresql) = (config.kafka.authority_file(), config.database.authority_file());
        let trusted = authorities::watch(kafka, postgresql, metrics);
        let trusted = service_kit::spawn("authorities", trusted);
        let mut watchdog = Watchdog::new(config.watchdog);
        let mut shutdown = std::pin::pin!(shutdown);
        let result = loop {
            let registered = tokio::select! {
                registered = prepare(&config, &inspector) => registered?,
                () = &mut shutdown => break Ok(()),
            };
            let keeper = Keeper {
                database: config.database.clone(),
                inspector: Arc::clone(&inspector),
                registered: registered.clone(),
                announcer: Arc::clone(&announcer),
            };
            let keeper = service_kit::spawn("placement", keeper.run(config.audit.every));
            let parts = Parts { registered, inspector: Arc::clone(&inspector), watchdog: &mut watchdog };
            let ended = work(&config, parts, &instruments, shutdown.as_mut()).await;
            keeper.abort();
            match ended {
                Ok(End::Stopped) => break Ok(()),
                Ok(End::Rebuild(cause)) => {
                    tracing::warn!(cause = cause.as_str(), "rebuilding the consumer");
                    let rebuilds = &instruments.metrics.processor_rebuilds_total;
                    rebuilds.with_label_values(&[cause.as_str()]).inc();
                    instruments.status.unassigned();
                }
                Err(error) => break Err(error),
            }
        };
        trusted.abort();
        admin.abort();
        result
    }
}

/// What stays when the consumer is rebuilt, or was looked up for it.
struct Parts<'a> {
    registered: RegisteredTopic,
    inspector: Arc<Inspector>,
    watchdog: &'a mut Watchdog,
}

/// Makes the lanes, the poll thread and the supervisor, and works until one of them ends.
async fn work(
    config: &Config,
    Parts { registered, inspector, watchdog }: Parts<'_>,
    instruments: &Instruments,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<End> {
    let (lane_reports, lane_reports_rx) = mpsc::channel(4_096);
    let (mut lanes, mut outlets) = (Vec::new(), Vec::new());
    for _ in 0..config.lanes {
        let (control, control_rx) = mpsc::channel(4_096);
        let (chunks, chunks_rx) = mpsc::channel(CHUNKS_MAX);
        let clock = Arc::new(AttemptClock::new(Instant::now()));
        let (database, topic) = (config.database.clone(), registered.topic);
        let tools = Tools { database, topic, metrics: Arc::clone(&instruments.metrics) };
        let lane = Lane::new(tools, config.lane.clone(), Arc::clone(&clock), lane_reports.clone());
        let task = service_kit::spawn("lane", lane.run(control_rx, chunks_rx));
        lanes.push(LaneHandle { control, task, clock });
        outlets.push(chunks);
    }
    drop(lane_reports);
    let context = Context::new(registered.topic.topic_id, inspector.is_compacted());
    let consumer = client::group_consumer(&config.kafka, &config.consumer, context)?;
    consumer.subscribe(&[&config.kafka.topic])?;
    let (reports, reports_rx) = mpsc::channel(1_024);
    let (orders, orders_rx) = std::sync::mpsc::sync_channel(4_096);
    let topic = config.kafka.topic.clone();
    let poller = Poller::new(consumer, topic, orders_rx, reports, outlets, instruments.clone());
    let thread = std::thread::Builder::new().name("poller".to_owned()).spawn(move || poller.run())?;
    let owner = format!("{}:{}", hostname(), std::process::id());
    let proofs = service_kit::spawn(
        "proofs",
        proved::watch(config.database.clone(), registered.topic.topic_ref, Arc::clone(&instruments.metrics)),
    );
    let taker =
        Taker { database: config.database.clone(), inspector, registered: Arc::new(registered), owner };
    let poller = PollerHandle { orders, thread };
    let supervisor = Supervisor::new(taker, config.audit, watchdog, poller, lanes, instruments.clone());
    let end = supervisor.run(reports_rx, lane_reports_rx, shutdown).await;
    proofs.abort();
    Ok(end?)
}

/// A broker may name the defaults as the settings of a topic that was just created: they are believed unsafe only
/// after this time.
const SETTINGS_SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Waits until Kafka and PostgreSQL answer and are what they should be.
async fn prepare(config: &Config, inspector: &Arc<Inspector>) -> anyhow::Result<RegisteredTopic> {
    let since = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let error = match try_prepare(config, inspector).await {
            Ok(registered) => return Ok(registered),
            Err(error @ PrepareError::Inspect(InspectError::Unsafe(_)))
                if since.elapsed() < SETTINGS_SETTLED_AFTER =>
            {
                error
            }
            Err(
                error @ (PrepareError::Migrations(_)
                | PrepareError::Encoding(_)
                | PrepareError::Schema(_)
                | PrepareError::Inspect(InspectError::Unsafe(_))
                | PrepareError::Store(StoreError::Pooled)),
            ) => return Err(error.into()),
            Err(error) => error,
        };
        let delay = backoff.next_delay();
        tracing::warn!(%error, delay_ms = delay.as_millis(), "not ready to start, trying again");
        tokio::time::sleep(delay).await;
    }
}

#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("the database lacks migration {0}: run `processor migrate`")]
    Migrations(i64),
    #[error(transparent)]
    Encoding(#[from] schema::Encoding),
    #[error(transparent)]
    Schema(#[from] schema::Mismatch),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the topic is not registered yet")]
    NotRegistered,
}

async fn try_prepare(config: &Config, inspector: &Arc<Inspector>) -> Result<RegisteredTopic, PrepareError> {
    inspector.audit(config.audit.profile).await?;
    let identity = inspector.ask(Inspector::identity).await?;
    let mut connection = config.database.writer().await?;
    schema::encoding(&mut connection).await??;
    if let Some(missing) = migrations::first_missing(&mut connection).await? {
        return Err(PrepareError::Migrations(missing));
    }
    schema::compare(&mut connection).await??;
    if registry::find(&mut connection, &identity).await? == Registration::Unknown {
        let count = identity.partition_count.get();
        let ranges = inspector.ask(move |inspector| inspector.all_ranges(0..count)).await?;
        let starts: Vec<_> = ranges.into_iter().map(|(partition, range)| (partition, range.start)).collect();
        registry::register(&mut connection, &identity, &starts).await?;
    }
    let topic = match registry::find(&mut connection, &identity).await? {
        // Another topic goes on as the one that the rows belong to: each partition halts and says why.
        Registration::Known(topic) | Registration::Recreated { registered: topic } => topic,
        Registration::Unknown => return Err(PrepareError::NotRegistered),
    };
    let cluster_id = registry::cluster_of(&mut connection, topic.topic_ref).await?;
    Ok(RegisteredTopic { topic, cluster_id })
}

fn hostname() -> String {
    std::fs::read_to_string("/etc/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
