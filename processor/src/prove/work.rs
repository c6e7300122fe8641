//! The three steps, one after the other, each on all workers.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use schemas::{Partition, Timestamp};
use service_kit::retry::Backoff;
use tokio::runtime::{Builder, Runtime};

use super::{
    Memory, Options, Proof, Worker,
    clients::Clients,
    conclude::Conclusion,
    entries::Keys,
    log::Log,
    proofs::{self, Kept, LastProof},
    records::Records,
    report::{Report, Scope, Verdict},
    scope::{Proved, Spans, Stretch},
    shown::{Progress, Step},
    snapshot::{PAGE_BYTES, Snapshot},
    tables::{self, TABLES, Table, TableRows},
};
use crate::{
    domain::position::{LogRange, Offset},
    kafka::{
        client::KafkaConfig,
        topic::{InspectError, Inspector, TopicProfile},
    },
    store::{
        Database,
        registry::{Registration, Topic},
    },
};

/// Records in a bucket of clients, about.
const BUCKET_RECORDS: i64 = 65_536;
/// Bytes of a row of `messages`, about: for the progress that is shown.
const ROW_BYTES: i64 = 256;
/// How long leaders are waited for that are being elected, as right after a start of Kafka.
const LEADERS_WITHIN: Duration = Duration::from_secs(20);

/// See [`super::prove`].
pub fn prove(
    database: &Database,
    kafka: &KafkaConfig,
    options: &Options,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let runtime = runtime()?;
    let inspector = Inspector::new(kafka)?;
    let identity = inspector.identity().context("cannot look at the topic")?;
    let mut snapshot = runtime.block_on(Snapshot::take(database, &identity)).context("cannot read tables")?;
    let not_provable = |why: &str| Ok(Report::not_provable(options.scope, why));
    let topic = match snapshot.registration {
        Registration::Known(topic) => topic,
        Registration::Unknown => return not_provable("the topic is not registered: nothing was applied"),
        Registration::Recreated { .. } => {
            return not_provable("the topic was deleted and created again: its records are gone");
        }
    };
    if snapshot.has_others {
        return not_provable("the tables hold records of topics that are not former ones of this");
    }
    let last = match options.scope {
        Scope::Full => None,
        Scope::SinceLast => {
            match runtime.block_on(proofs::last(&mut snapshot.connection, topic.topic_ref))? {
                Some(last) => match still_holds(&last, &snapshot, &inspector)? {
                    Ok(()) => Some(last),
                    Err(why) => return not_provable(&why),
                },
                None => return not_provable("there is no clean proof to go on from: a full proof makes one"),
            }
        }
    };
    // What it says of the topic's safety is the processors' to tell; here it tells of compaction.
    runtime.block_on(inspector.audit(TopicProfile::Development)).or_else(|error| match error {
        InspectError::Unsafe(_) => Ok(()),
        other => Err(other),
    })?;
    let proof = Proof {
        spans: spans(&snapshot, options.scope, last.as_ref(), &inspector)?,
        is_compacted: inspector.is_compacted().load(Ordering::Acquire),
        topic,
        keys: Keys::default(),
        buckets: 1,
        scope: options.scope,
        memory: Memory::of(options.memory_max, options.jobs),
        directory: &options.directory,
        progress,
    };
    let buckets = usize::try_from(proof.spans.places() / BUCKET_RECORDS).unwrap_or_default() + 1;
    let proof = Proof { buckets, ..proof };
    let workers = (0..options.jobs).map(|_| worker(database, kafka, snapshot.id()));
    let mut workers = workers.collect::<anyhow::Result<Vec<Worker>>>()?;
    let pages = runtime.block_on(snapshot.pages(&TABLES.map(Table::as_str)))?;

    let Conclusion { findings, mut compared, proved } = compare(&proof, &mut workers, &pages)?;
    compared.not_applied = count_beyond(&proof, &mut workers)?;
    let since = last.map(|last| last.since);
    let report = findings.into_report(options.scope, since, compared, started.elapsed());
    drop(workers);
    if let Err(error) = runtime.block_on(keep(database, topic, &report, snapshot.at, &proved)) {
        // A reader's account, or a server that cannot be written to: the verdict is none the worse.
        tracing::warn!(
            error = format!("{error:#}"),
            "the proof is not recorded, the next cannot go on from it"
        );
    }
    Ok(report)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn worker(database: &Database, kafka: &KafkaConfig, snapshot: &str) -> anyhow::Result<Worker> {
    let runtime = runtime()?;
    let connection =
        runtime.block_on(Snapshot::join(database, snapshot)).context("a worker cannot connect")?;
    Ok(Worker { runtime, connection, log: Log::new(kafka)? })
}

async fn keep(
    database: &Database,
    topic: Topic,
    report: &Report,
    at: Timestamp,
    proved: &[Proved],
) -> anyhow::Result<()> {
    let mut connection = database.writer().await?;
    // A proof that is not clean moves nothing.
    let proved = if report.verdict == Verdict::Clean { proved } else { &[] };
    Ok(proofs::record(&mut connection, topic.topic_ref, &Kept::of(report, at), proved).await?)
}

/// Whether the tables and the topic are those of the last proof, and further; if not, why not.
fn still_holds(
    last: &LastProof,
    snapshot: &Snapshot,
    inspector: &Inspector,
) -> anyhow::Result<Result<(), String>> {
    let deadline = Instant::now() + LEADERS_WITHIN;
    let mut digests = HashMap::new();
    let mut places = Vec::new();
    for proved in &last.partitions {
        let partition = proved.partition;
        let row =
            snapshot.applied.iter().map(|applied| &applied.progress).find(|row| row.partition == partition);
        if row.is_none_or(|row| row.next_offset < proved.proved_to) {
            return Ok(Err(format!(
                "partition {partition} stands before the place up to which it was proved"
            )));
        }
        let Some(last) = proved.last_digest else { continue };
        let range = log_range(inspector, partition, deadline)?;
        // Retention may have removed the record since: then the topic's id is all that tells.
        if range.start <= last.offset && last.offset < range.end {
            digests.insert(partition, last.digest);
            places.push((partition, last.offset));
        }
    }
    for (partition, record) in inspector.records_at(&places)? {
        if digests.get(&partition).is_some_and(|digest| *digest != record.digest()) {
            return Ok(Err(format!(
                "the record at partition {partition}, offset {} is not the one of the last proof",
                record.offset
            )));
        }
    }
    Ok(Ok(()))
}

fn spans(
    snapshot: &Snapshot,
    scope: Scope,
    last: Option<&LastProof>,
    inspector: &Inspector,
) -> anyhow::Result<Spans> {
    let deadline = Instant::now() + LEADERS_WITHIN;
    let mut ranges = HashMap::new();
    for applied in &snapshot.applied {
        let partition = applied.progress.partition;
        ranges.insert(partition, log_range(inspector, partition, deadline)?);
    }
    let proved = last.map_or(&[][..], |last| &last.partitions);
    let nothing = LogRange { start: Offset(0), end: Offset(0) };
    let of = |partition: Partition| ranges.get(&partition).copied().unwrap_or(nothing);
    let applied = [snapshot.former.clone(), snapshot.applied.clone()].concat();
    Ok(Spans::new(scope, applied, proved, of))
}

/// The range of a partition's log; asked for again while nobody leads the partition.
fn log_range(
    inspector: &Inspector,
    partition: Partition,
    deadline: Instant,
) -> Result<LogRange, InspectError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match inspector.log_range(partition) {
            Err(error @ InspectError::Kafka(_)) if Instant::now() < deadline => {
                tracing::info!(partition = partition.0, %error, "waiting for the partition's leader");
                std::thread::sleep(backoff.next_delay());
            }
            answer => return answer,
        }
    }
}

/// How many records the log holds beyond the next offsets, as of a moment after that of the tables.
fn count_beyond(proof: &Proof<'_>, workers: &mut [Worker]) -> anyhow::Result<i64> {
    let beyond: Vec<Stretch> = proof.spans.spans.iter().flat_map(|span| span.beyond.cut()).collect();
    let offsets = beyond.iter().map(|stretch| stretch.to.0 - stretch.from.0).sum();
    proof.progress.begin(Step::Beyond, offsets, beyond.len());
    let counts = on_all(proof, workers, &beyond, |worker, stretches| {
        let mut count = 0;
        for stretch in stretches {
            worker.log.read(*stretch, |_| {
                count += 1;
                proof.advance(1);
                Ok(())
            })?;
        }
        Ok(count)
    })?;
    Ok(counts.into_iter().sum())
}

/// The three steps, then the rows of the partitions.
fn compare(proof: &Proof<'_>, workers: &mut [Worker], pages: &[i64]) -> anyhow::Result<Conclusion> {
    let pieces: Vec<_> = TABLES
        .into_iter()
        .zip(pages)
        .filter(|(table, _)| {
            proof.scope == Scope::Full || matches!(table, Table::Messages | Table::DeadLetters)
        })
        .flat_map(|(table, pages)| tables::pieces(table, *pages))
        .collect();
    let rows = pages.iter().sum::<i64>() * PAGE_BYTES / ROW_BYTES;
    proof.progress.begin(Step::Rows, rows, pieces.len());
    let tables = on_all(proof, workers, &pieces, |worker, pieces| {
        let mut rows = TableRows::new(proof);
        for piece in pieces {
            rows.read(proof, worker, *piece)?;
        }
        Ok(rows)
    })?;

    let runs = proof.spans.runs(workers.len());
    proof.progress.begin(Step::Records, proof.spans.records(), runs.len());
    let records = on_all(proof, workers, &runs, |worker, runs| {
        let mut records = Records::new(proof);
        for (slice, stretch) in runs.flatten() {
            records.compare(proof, worker, &tables, *slice, *stretch)?;
        }
        Ok(records)
    })?;

    let buckets: Vec<usize> = (0..proof.buckets).collect();
    proof.progress.begin(Step::Clients, proof.spans.records(), buckets.len());
    let clients = on_all(proof, workers, &buckets, |worker, buckets| {
        let mut clients = Clients::new(proof);
        for bucket in buckets {
            clients.compare(proof, worker, &tables, &records, *bucket)?;
        }
        Ok(clients)
    })?;
    Ok(Conclusion::draw(proof, tables, records, clients))
}

/// Gives the units of a step to whoever is free, until one fails.
fn on_all<U: Sync, T: Send>(
    proof: &Proof<'_>,
    workers: &mut [Worker],
    units: &[U],
    work: impl Fn(&mut Worker, &mut dyn Iterator<Item = &U>) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (next, has_failed, work) = (&next, &has_failed, &work);
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                scope.spawn(move || {
                    let mut is_first = true;
                    let mut units = std::iter::from_fn(|| {
                        if !std::mem::replace(&mut is_first, false) {
                            proof.progress.part_done();
                        }
                        let unit = units.get(next.fetch_add(1, Ordering::Relaxed));
                        unit.filter(|_| !has_failed.load(Ordering::Relaxed))
                    });
                    let result = work(worker, &mut units);
                    has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        results.into_iter().map(|result| result.map_err(|_| anyhow!("a worker panicked"))?).collect()
    })
}
