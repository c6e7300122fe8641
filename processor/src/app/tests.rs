//! What ends a processor, without servers.

use std::future::{pending, ready};

use clap::Parser as _;
use rstest::rstest;
use service_kit::spans::Spans;
use tokio::time::timeout;

use super::*;
use crate::{
    consume::{dialogs::CacheBudget, pending::BatchConfig},
    domain::dead_letter::DeadLetterConfig,
    kafka::topic::TopicProfile,
    store::{Commit, session::DatabaseConfig},
};

#[derive(clap::Parser)]
struct Given {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    consumer: ConsumerConfig,
    #[command(flatten)]
    batch: BatchConfig,
    #[command(flatten)]
    dead_letters: DeadLetterConfig,
    #[command(flatten)]
    watchdog: WatchdogConfig,
}

/// With brokers and a PostgreSQL that are not there: it never gets beyond asking them.
async fn application() -> Application {
    let given = Given::parse_from([
        "processor",
        "--kafka-brokers=127.0.0.1:1",
        "--database-url=postgres://telex@127.0.0.1:1/telex",
    ]);
    let config = Config {
        kafka: given.kafka,
        consumer: given.consumer,
        database: Database::new(&given.database).unwrap(),
        audit: AuditConfig { profile: TopicProfile::Development, every: Duration::from_secs(60) },
        watchdog: given.watchdog,
        lanes: 1,
        lane: LaneConfig {
            batch: given.batch,
            dead_letters: given.dead_letters,
            cache: CacheBudget::new(10),
            commit: Commit::Durable,
            spans: Spans::default(),
        },
    };
    Application::build(config, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn break_down<T>() -> T {
    panic!("a test says so")
}

#[rstest]
#[case::admin(
    |it: &mut Application| it.admin = service_kit::spawn("admin", break_down()),
    "the admin port is not served any more"
)]
#[case::authorities(
    |it: &mut Application| it.authorities = service_kit::spawn("authorities", break_down()),
    "authorities are not watched any more"
)]
#[case::authorities_without_a_panic(
    |it: &mut Application| it.authorities = service_kit::spawn("authorities", ready(())),
    "authorities are not watched any more"
)]
#[tokio::test]
async fn the_end_of_what_has_no_end_ends_the_process_with_an_error(
    #[case] plant: fn(&mut Application),
    #[case] error: &str,
) {
    let mut application = application().await;
    plant(&mut application);
    let ended = timeout(Duration::from_secs(20), application.run_until_stopped(pending())).await;
    assert_eq!(ended.unwrap().unwrap_err().to_string(), error);
}

#[rstest]
#[case::placement(
    |it: &mut Beside| it.placement = service_kit::spawn("placement", break_down()),
    "the ingest APIs are not told any more over how many partitions keys are spread"
)]
#[case::proofs(
    |it: &mut Beside| it.proofs = service_kit::spawn("proofs", break_down()),
    "the last proofs are not looked at any more"
)]
#[tokio::test]
async fn the_end_of_what_works_beside_a_consumer_is_told_by_what_is_missing_then(
    #[case] plant: fn(&mut Beside),
    #[case] missing: &str,
) {
    let spawn = |name| service_kit::spawn(name, pending::<()>());
    let mut beside = Beside { placement: spawn("placement"), proofs: spawn("proofs") };
    plant(&mut beside);
    let ended = timeout(Duration::from_secs(20), beside.ended()).await;
    assert_eq!(ended.unwrap(), missing);
}

#[tokio::test]
async fn a_processor_that_is_asked_to_stop_while_its_servers_are_away_stops_without_an_error() {
    let application = application().await;
    let ended = timeout(Duration::from_secs(20), application.run_until_stopped(ready(()))).await;
    ended.unwrap().unwrap();
}
