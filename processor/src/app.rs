//! `processor run`, put together: asks the topic and the tables whether they are what they should be,
//! then starts the poll thread, the lanes and the supervisor.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rdkafka::consumer::Consumer as _;
use service_kit::{admin, retry::Backoff};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

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
        poller::{CHUNKS_MAX, Names, Poller},
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
    instruments: Instruments,
    /// Answers on the admin port.
    admin: JoinHandle<std::io::Result<()>>,
    /// Shows when authorities expire.
    authorities: JoinHandle<()>,
}

impl Application {
    /// Takes the admin port.
    pub async fn build(config: Config, admin_listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(admin_listen)
            .await
            .with_context(|| format!("cannot listen on --admin-listen {admin_listen}"))?;
        let instruments = Instruments { metrics: Arc::new(Metrics::new()?), status: Arc::default() };
        let admin = admin::serve(listener, Arc::new(instruments.clone()), std::future::pending());
        let (kafka, postgresql) = (config.kafka.authority_file(), config.database.authority_file());
        let authorities = authorities::watch(kafka, postgresql, Arc::clone(&instruments.metrics));
        Ok(Self {
            config,
            instruments,
            admin: service_kit::spawn("admin", admin),
            authorities: service_kit::spawn("authorities", authorities),
        })
    }

    /// Works until `shutdown` completes or a part of it fails.
    ///
    /// # Errors
    /// What failed, or what has no end has ended: the process has to end, too.
    pub async fn run_until_stopped(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { config, instruments, mut admin, mut authorities } = self;
        let stop = async {
            tokio::select! {
                () = shutdown => None,
                // Nobody could ask how the process is.
                _ended = &mut admin => Some("the admin port is not served any more"),
                // Their gauge would go on showing what was true before.
                _ended = &mut authorities => Some("authorities are not watched any more"),
            }
        };
        let result = serve(&config, &instruments, stop).await;
        authorities.abort();
        admin.abort();
        result
    }
}

/// Works with one consumer after the other until `stop` completes: with what is not done any more, if that is why.
async fn serve(
    config: &Config,
    instruments: &Instruments,
    stop: impl Future<Output = Option<&'static str>>,
) -> anyhow::Result<()> {
    let inspector = Arc::new(Inspector::new(&config.kafka)?);
    let announcer = Arc::new(Announcer::new(&config.kafka));
    let mut watchdog = Watchdog::new(config.watchdog);
    let mut stop = std::pin::pin!(stop);
    loop {
        let registered = tokio::select! {
            registered = prepare(config, &inspector) => registered?,
            missing = &mut stop => return end(missing),
        };
        let keeper = Keeper {
            database: config.database.clone(),
            inspector: Arc::clone(&inspector),
            registered: registered.clone(),
            announcer: Arc::clone(&announcer),
        };
        let (database, metrics) = (config.database.clone(), Arc::clone(&instruments.metrics));
        let proofs = proved::watch(database, registered.topic.topic_ref, metrics);
        let beside = Beside {
            placement: service_kit::spawn("placement", keeper.run(config.audit.every)),
            proofs: service_kit::spawn("proofs", proofs),
        };
        let inspector = Arc::clone(&inspector);
        let parts = Parts { registered, inspector, beside, watchdog: &mut watchdog };
        match work(config, parts, instruments, stop.as_mut()).await? {
            End::Stopped => return Ok(()),
            End::Rebuild(cause) => {
                tracing::warn!(cause = cause.as_str(), "rebuilding the consumer");
                instruments.metrics.processor_rebuilds_total.with_label_values(&[cause.as_str()]).inc();
                instruments.status.unassigned();
            }
        }
    }
}

/// Why the process ends: something is not done any more, or it was asked to.
fn end(missing: Option<&'static str>) -> anyhow::Result<()> {
    match missing {
        None => Ok(()),
        Some(missing) => bail!(missing),
    }
}

/// What works beside a consumer, without an end of its own, until that one is rebuilt.
struct Beside {
    placement: JoinHandle<()>,
    proofs: JoinHandle<()>,
}

impl Beside {
    /// Completes if one of them has ended nevertheless, with what is not done any more.
    async fn ended(&mut self) -> &'static str {
        tokio::select! {
            // An API with the former count would go on after a switch that could not tell it.
            _ended = &mut self.placement => {
                "the ingest APIs are not told any more over how many partitions keys are spread"
            }
            // Their gauges would go on showing what was found before.
            _ended = &mut self.proofs => "the last proofs are not looked at any more",
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.placement.abort();
        self.proofs.abort();
    }
}

/// What stays when the consumer is rebuilt, or was looked up for it.
struct Parts<'a> {
    registered: RegisteredTopic,
    inspector: Arc<Inspector>,
    beside: Beside,
    watchdog: &'a mut Watchdog,
}

/// Makes the lanes, the poll thread and the supervisor, and works until one of them or what works beside them ends, or
/// `stop` completes.
async fn work(
    config: &Config,
    Parts { registered, inspector, mut beside, watchdog }: Parts<'_>,
    instruments: &Instruments,
    stop: impl Future<Output = Option<&'static str>>,
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
    let names = Names {
        topic: config.kafka.topic.clone(),
        group: config.consumer.group.clone(),
        user: config.kafka.user(),
    };
    let poller = Poller::new(consumer, names, orders_rx, reports, outlets, instruments.clone());
    let thread = std::thread::Builder::new().name("poller".to_owned()).spawn(move || poller.run())?;
    let owner = format!("{}:{}", hostname(), std::process::id());
    let taker =
        Taker { database: config.database.clone(), inspector, registered: Arc::new(registered), owner };
    let poller = PollerHandle { orders, thread };
    let supervisor = Supervisor::new(taker, config.audit, watchdog, poller, lanes, instruments.clone());
    let mut missing = None;
    let shutdown = async {
        missing = tokio::select! {
            missing = stop => missing,
            missing = beside.ended() => Some(missing),
        };
    };
    let ended = supervisor.run(reports_rx, lane_reports_rx, shutdown).await;
    if let (Some(_), Err(error)) = (missing, &ended) {
        tracing::error!(%error, "the consumer did not end well either");
    }
    end(missing)?;
    Ok(ended?)
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

#[cfg(test)]
mod tests;
