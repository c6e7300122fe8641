//! `processor run`: applies the partitions that the consumer group gives it.

use std::{net::SocketAddr, time::Duration};

use clap::builder::TypedValueParser as _;
use service_kit::spans::{SpanConfig, Spans};

use crate::{
    app::{Application, Config},
    consume::{
        dialogs::CacheBudget, lane::LaneConfig, pending::BatchConfig, rounds::AuditConfig,
        watchdog::WatchdogConfig,
    },
    domain::dead_letter::DeadLetterConfig,
    kafka::{
        client::{ConsumerConfig, KafkaConfig},
        topic::TopicProfile,
    },
    store::{Commit, Database},
};

/// How to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address that serves probes and metrics.
    #[arg(long, env = "PROCESSOR_ADMIN_LISTEN", default_value = "127.0.0.1:9102")]
    admin_listen: SocketAddr,
    /// Number of lanes, each with a database connection of its own. About one per core is right.
    #[arg(long, env = "PROCESSOR_LANES", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    lanes: u8,
    /// Maximum number of clients in the cache, in all partitions of this process together. Each partition has the same share.
    #[arg(long, env = "PROCESSOR_CACHE_CLIENTS_MAX", default_value_t = 500_000)]
    cache_clients_max: usize,
    /// When the COMMIT of a batch is answered: when it is on the server's disk, or before. Replayable: a server that crashes loses the last moments of rows and offsets together, and they are applied again from the topic.
    #[arg(long, env = "PROCESSOR_COMMIT", value_enum, default_value = "durable")]
    commit: Commit,
    #[command(flatten)]
    consumer: ConsumerConfig,
    #[command(flatten)]
    batch: BatchConfig,
    #[command(flatten)]
    dead_letters: DeadLetterConfig,
    #[command(flatten)]
    watchdog: WatchdogConfig,
    #[command(flatten)]
    spans: SpanConfig,
    /// Seconds between two audits of the topic's settings, and between two looks whether the ingest APIs have been told
    /// over how many partitions keys are spread.
    #[arg(long = "topic-audit-seconds", env = "PROCESSOR_TOPIC_AUDIT_SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..).map(Duration::from_secs))]
    topic_audit: Duration,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(
    args: Args,
    kafka: KafkaConfig,
    database: Database,
    profile: TopicProfile,
) -> anyhow::Result<()> {
    args.watchdog.validate()?;
    tracing::info!(?args, ?kafka, ?profile, "processor starts");
    let spans = Spans::start(&args.spans, "processor")?;
    let lane = LaneConfig {
        batch: args.batch,
        dead_letters: args.dead_letters,
        cache: CacheBudget::new(args.cache_clients_max),
        commit: args.commit,
        spans: spans.clone(),
    };
    let config = Config {
        kafka,
        consumer: args.consumer,
        database,
        audit: AuditConfig { profile, every: args.topic_audit },
        watchdog: args.watchdog,
        lanes: usize::from(args.lanes),
        lane,
    };
    let application = Application::build(config, args.admin_listen).await?;
    let shutdown = async {
        if let Err(error) = service_kit::lifecycle::stop_requested().await {
            tracing::error!(%error, "signals cannot be received, stopping");
        }
    };
    let result = application.run_until_stopped(shutdown).await;
    tokio::task::spawn_blocking(move || spans.stop()).await?;
    result
}
