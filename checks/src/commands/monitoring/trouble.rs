//! What does not happen by itself and is shown all the same: refused senders, records that are none, a halted
//! partition, a Kafka that hangs, a PostgreSQL that restarts. Each appears in a series that is absent before.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dev_env::commands::environment::Environment;
use dev_env::debian::Unpacked;
use dev_env::interrupt;
use dev_env::ports::Port;
use dev_env::process::require;
use dev_env::programs::{Running, TOPIC, post};

/// Series that none of this brings about, and what would. Expressions with them are checked against the documents
/// and, if they are alerts, by promtool alone.
pub const RARE: [(&str, &str); 7] = [
    ("processor_proof_verdict", "a proof that is not clean"),
    ("processor_authority_expiration_timestamp_seconds", "servers that are reached over TLS"),
    ("processor_partition_waiting", "a partition has no leader"),
    ("processor_differences_total", "the database moves back"),
    ("processor_ambiguous_commits_total", "the answer to a COMMIT is lost"),
    ("processor_rebuilds_total", "the Kafka client hangs for 40 s"),
    ("ingest_tls_reloads_total", "a certificate changes"),
];

const API_KEY: &str = "monitoring-check-of-telex-0123456789";
const PRODUCERS: &str = r#"
[[producers]]
name = "monitoring-check"
api_keys = [{ sha256 = "77d786b029358b8150eb68de42eb70a014230dee1401769ca0a0818c004ad883" }]
all_external_client_ids = true

[[producers.hooks]]
name = "bot"
preset = "telegram"
secrets = [{ secret = "bot-of-the-monitoring-check" }]
"#;
const MESSAGE: &str = r#"{"external_client_id":"monitoring","client_phone":"+70000000000","external_message_id":"1","text":""}"#;
/// A message to a bot, one that does not say who wrote it, and one of a group.
const WEBHOOKS: [&str; 3] = [
    r#"{"message":{"message_id":1,"from":{"id":5},"chat":{"id":5,"type":"private"},"date":1795494900,"text":""}}"#,
    r#"{"message":{"message_id":2,"chat":{"id":5,"type":"private"},"date":1795494900,"text":""}}"#,
    r#"{"message":{"message_id":3,"from":{"id":5},"chat":{"id":6,"type":"group"},"date":1795494900,"text":""}}"#,
];

/// A second ingest API, which knows its producers and gives up soon.
pub fn strict_api(environment: &Environment, directory: &Path) -> Result<Running> {
    let file = directory.join("producers.toml");
    fs::write(&file, PRODUCERS).context("the producers file cannot be written")?;
    let producers = format!("--producers-file={}", file.display());
    let soon = ["--message-timeout-ms=1000", "--socket-timeout-ms=1000", "--ack-deadline-ms=1500"];
    let settings = [[producers.as_str()].as_slice(), &soon].concat();
    let mut api = environment.programs.ingest_api(directory, "ingest-api-2", Port::Free, &settings)?;
    api.wait_until_ready()?;
    Ok(api)
}

/// Makes all of it, one after the other.
pub fn make(
    environment: &mut Environment,
    strict: &Running,
    kcat: &Unpacked,
    directory: &Path,
) -> Result<()> {
    expect(&environment.ingest_api, "/v1/messages/batch", "", &format!("[{MESSAGE},{{}}]"), 207)?;
    // The same id with other words.
    let reused = MESSAGE.replace(r#""text":"""#, r#""text":"other""#);
    expect(&environment.ingest_api, "/v1/messages", "", &reused, 202)?;
    expect(strict, "/v1/messages", "", MESSAGE, 401)?;
    let credential = format!("authorization: Bearer {API_KEY}\r\n");
    expect(strict, "/v1/messages", &credential, MESSAGE, 202)?;

    let credential_of_the_bot = "x-telegram-bot-api-secret-token: bot-of-the-monitoring-check\r\n";
    for webhook in WEBHOOKS {
        expect(strict, "/v1/hooks/bot", credential_of_the_bot, webhook, 200)?;
    }

    environment.kafka.freeze();
    let unknown = expect(strict, "/v1/messages", &credential, MESSAGE, 503);
    // The record's own deadline comes before the answer's; the Kafka client tells of it once a second.
    let waited = interrupt::pause(Duration::from_millis(1_500));
    environment.kafka.thaw();
    unknown?;
    waited?;

    // A few become dead letters; more than `--dead-letters-per-minute-max`, and their partition halts.
    spoil(environment, kcat, directory, "5", 20)?;
    spoil(environment, kcat, directory, "3", 150)?;
    environment.postgres.stop()?;
    environment.postgres.start_again()?;
    environment.programs.require_processor(&["prove"])?;
    // Once more after a scrape: a counter that stands still has no rate. Prometheus takes 5 s to find its targets.
    interrupt::pause(Duration::from_secs(8))?;
    expect(strict, "/v1/messages", &credential, MESSAGE, 202)
}

fn expect(api: &Running, path: &str, headers: &str, body: &str, status: u16) -> Result<()> {
    let address = api.address.context("an ingest API has an address")?;
    let headers = format!("content-type: application/json\r\n{headers}");
    let (got, answer) = post(address, path, &headers, body).context("the ingest API does not answer")?;
    ensure!(got == status, "POST {path} was answered {got} instead of {status}: {answer}");
    Ok(())
}

/// Writes records without headers into a partition.
fn spoil(
    environment: &Environment,
    kcat: &Unpacked,
    directory: &Path,
    partition: &str,
    records: usize,
) -> Result<()> {
    let file = directory.join("spoilt.txt");
    let mut lines = String::new();
    for number in 0..records {
        writeln!(lines, "key:spoilt {number}")?;
    }
    fs::write(&file, lines).context("the records cannot be written down")?;
    let mut command = kcat.command("usr/bin/kcat");
    command.args(["-P", "-q", "-b", &environment.kafka.bootstrap(), "-t", TOPIC, "-p", partition]);
    require(command.args(["-K", ":", "-l"]).arg(&file), "").map(drop)
}
