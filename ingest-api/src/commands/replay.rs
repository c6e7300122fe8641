//! `ingest-api hooks replay`: items of the quarantine, read again with the description as it is now. Those that
//! are messages are written to the topic with the time and the request at which they came; a message that was
//! replayed before counts once.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use hooks::Item;
use kafka_ffi::Operation;
use rdkafka::{admin::AdminClient, client::DefaultClientContext};
use schemas::{Envelope, ExternalClientId, Others, Quarantined, Timestamp, record};
use service_kit::{confirmation::Confirmation, kafka_settings::KafkaSettings};
use tokio::{sync::mpsc, time::Instant};

use super::quarantine::{self, Found};
use crate::{
    config::KafkaConfig,
    files::Reloaded,
    metrics::Metrics,
    placement,
    producers::{Principal, ProducerHook, ProducersFile},
    publish::{self, Acknowledgement, Destination, KafkaPublisher, Publish as _},
};

/// Items between the reader and the queue to Kafka, and messages in that queue.
const ITEMS_WAITING: usize = 100;
const UNACKNOWLEDGED_MAX: usize = 500;

/// How long the brokers may take to say what may be done.
const RIGHTS_DEADLINE: Duration = Duration::from_secs(10);

/// Reads items of the quarantine again.
#[derive(Debug, Args)]
pub struct Replay {
    /// The hook whose items are read again. The hook of that name reads them as it is now.
    #[arg(long)]
    hook: String,
    /// The producers file.
    #[arg(long, env = "INGEST_PRODUCERS_FILE")]
    producers_file: PathBuf,
    /// Only what was appended to the quarantine at this time (RFC 3339) or later.
    #[arg(long)]
    since: Option<Timestamp>,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    kafka: KafkaConfig,
}

/// What became of the items.
#[derive(Debug, Default)]
struct Counts {
    kept: u64,
    skipped: u64,
    /// By reason.
    still_bad: BTreeMap<&'static str, u64>,
    /// Records of another kind.
    foreign: u64,
    /// Items of a hook of this name that another producer had, or that read another kind of body.
    of_others: u64,
}

impl Replay {
    /// Prints what became of the items.
    ///
    /// # Errors
    /// There is no such hook, its messages may not be written, keys are spread over another number of partitions, or Kafka
    /// does not answer: then it may be run again, and what is kept counts once.
    #[expect(clippy::print_stdout, reason = "it is what the command is for")]
    pub async fn run(self) -> anyhow::Result<()> {
        let metrics = Arc::new(Metrics::new()?);
        let file = ProducersFile::new(self.producers_file.clone(), true, Arc::clone(&metrics));
        let producers = Reloaded::new(file, metrics.ingest_producers_reloads_total.clone())?.current();
        let hook = producers.hook(&self.hook).with_context(|| format!("there is no hook {:?}", self.hook))?;
        require_write(&self.kafka).await?;
        let publisher = open(KafkaPublisher::new(&self.kafka, 0, metrics)?, &self.kafka).await?;
        let (send, items) = mpsc::channel(ITEMS_WAITING);
        let reader = self.reader(send);
        let mut target = Target { publisher, kafka: self.kafka.clone(), waiting: Vec::new() };
        let counts = keep(hook, items, (!self.confirmation.is_dry_run()).then_some(&mut target)).await?;
        reader.await??;
        let Counts { kept, skipped, still_bad, foreign, of_others } = counts;
        let verb = if self.confirmation.is_dry_run() { "would be kept" } else { "are kept" };
        println!("{kept} messages {verb}, {skipped} items are skipped now");
        for (reason, count) in still_bad {
            println!("{count} items still fail: {reason}");
        }
        if of_others > 0 {
            println!("{of_others} items came to another producer's hook of this name, and stay");
        }
        if foreign > 0 {
            println!("{foreign} records are not items of a quarantine");
        }
        Ok(())
    }

    /// Reads on a thread of its own, and waits where the queue is full.
    fn reader(&self, send: mpsc::Sender<Found>) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let (client, topic) = (publish::client(&self.kafka), self.kafka.quarantine_topic.clone());
        let since = self.since;
        tokio::task::spawn_blocking(move || {
            quarantine::read(&client, &topic, since, |found| {
                send.blocking_send(found).context("the replay has ended")
            })
        })
    }
}

async fn keep(
    hook: &ProducerHook,
    mut items: mpsc::Receiver<Found>,
    mut target: Option<&mut Target>,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    while let Some(Found { partition, offset, item }) = items.recv().await {
        let item = match item {
            Ok(item) if item.hook == hook.name && is_of(hook, &item) => item,
            Ok(item) if item.hook == hook.name => {
                counts.of_others += 1;
                continue;
            }
            Ok(_) => continue,
            Err(foreign) => {
                tracing::debug!(partition, offset, %foreign, "not an item of a quarantine");
                counts.foreign += 1;
                continue;
            }
        };
        for record in read_again(hook, &item, &mut counts) {
            if let Some(target) = &mut target {
                target
                    .send(record)
                    .await
                    .with_context(|| format!("partition {partition}, offset {offset}"))?;
            }
            counts.kept += 1;
        }
    }
    if let Some(target) = target {
        target.wait().await?;
    }
    Ok(counts)
}

/// Whether the item came to this very hook, and not to one of another producer that had its name.
fn is_of(hook: &ProducerHook, item: &Quarantined) -> bool {
    item.producer == hook.producer.name && item.content_type == hook.hook.kind().media_type()
}

/// The records of an item, which is one message as a rule.
fn read_again(
    hook: &ProducerHook,
    item: &Quarantined,
    counts: &mut Counts,
) -> Vec<(schemas::ClientId, schemas::EncodedRecord)> {
    let principal = Principal::Producer(Arc::clone(&hook.producer));
    let may_write = |source: &ExternalClientId| principal.may_write(source).is_ok();
    let Ok(reading) = hook.hook.read_document(&item.document, item.received_at, &may_write) else {
        *counts.still_bad.entry("webhook_not_readable").or_default() += 1;
        return Vec::new();
    };
    counts.skipped += reading.skipped.values().sum::<u64>();
    let envelope = Envelope {
        received_at: item.received_at,
        request_id: Some(item.request_id.clone()),
        trace_parent: None,
    };
    let mut records = Vec::new();
    for item in reading.items {
        match item {
            Item::Message { message, .. } => {
                let record = record::encode_message(&message, &Others::default(), &envelope);
                records.push((message.client_id(), record));
            }
            Item::Bad(bad) => *counts.still_bad.entry(bad.reason.as_str()).or_default() += 1,
        }
    }
    records
}

/// Refuses a user that may not write what is read again: the dry run is refused by what refuses the replay itself.
async fn require_write(kafka: &KafkaConfig) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = publish::client(kafka).create()?;
    let topic = kafka.topic.clone();
    let question =
        move || kafka_ffi::lacking_operations(admin.inner(), &topic, &[Operation::Write], RIGHTS_DEADLINE);
    let lacking = tokio::task::spawn_blocking(question).await?;
    let lacking = lacking.with_context(|| format!("cannot ask for the rights on topic {}", kafka.topic))?;
    ensure!(
        lacking.is_empty(),
        "not allowed: {} lacks {} on topic {}; nothing was changed. What changes something is typed as an operator: \
         `k8s/operate hooks …`, or with credentials that may write there",
        KafkaSettings::user(kafka.connection.as_ref()),
        Operation::Write.as_str(),
        kafka.topic
    );
    Ok(())
}

/// The publisher, once it is known that nobody spreads keys over another number of partitions.
async fn open(publisher: KafkaPublisher, kafka: &KafkaConfig) -> anyhow::Result<KafkaPublisher> {
    let (kafka, partition_count) = (kafka.clone(), kafka.partition_count);
    let question = move || {
        let heard = placement::listen(&publisher, &kafka);
        (publisher, heard)
    };
    let (publisher, heard) = tokio::task::spawn_blocking(question).await?;
    let heard = heard.context("over how many partitions the processors spread keys is not known")?;
    if let Some(objection) = heard.objection(partition_count) {
        bail!(objection);
    }
    publisher.open();
    Ok(publisher)
}

/// Where messages go.
struct Target {
    publisher: KafkaPublisher,
    kafka: KafkaConfig,
    waiting: Vec<Acknowledgement>,
}

impl Target {
    async fn send(
        &mut self,
        (client_id, record): (schemas::ClientId, schemas::EncodedRecord),
    ) -> anyhow::Result<()> {
        if self.waiting.len() >= UNACKNOWLEDGED_MAX {
            self.wait().await?;
        }
        let to = Destination::Messages(client_id.partition(self.kafka.partition_count));
        self.waiting.push(self.publisher.enqueue(record, to, None)?);
        Ok(())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.kafka.message_timeout + Duration::from_secs(1);
        for acknowledgement in self.waiting.drain(..) {
            publish::acknowledged(acknowledgement, deadline).await?;
        }
        Ok(())
    }
}
